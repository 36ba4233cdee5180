/**
 * Who a member is, on its disk: `<data>/member.key`, and `<data>/member.json` with id, public key and certificate.
 */
import type { KeyObject } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { NAME_CHARACTERS_MAX, NAME_PATTERN } from "@quorate/core";
import { type MemberCertificate, parseCertificate } from "@quorate/protocol";
import { readFileIfThere, writeFileDurably } from "./durable-file.ts";
import { fileTrouble, ForPeople } from "./for-people.ts";
import { readPrivateKey, writePrivateKey } from "./key-files.ts";
import { generatePrivateKey } from "./node-keys.ts";

const MEMBER_FILE_BYTES_MAX = 16 * 1024;
const NAME = new RegExp(NAME_PATTERN);

export interface MemberFolder {
  readonly folder: string;
  readonly id: string;
  readonly privateKey: KeyObject;
  /** `ed25519:…` */
  readonly publicKey: string;
  readonly certificate: MemberCertificate | null;
  /** True when this call made the member. */
  readonly created: boolean;
  /** Sentences that an administrator should read. */
  readonly warnings: readonly string[];
}

/**
 * Reads the member in `folder`, or makes one with a new key. `id` is required of an existing member and
 * given to a new one; null takes what is there, and `newId` for a new one. Throws `ForPeople`.
 */
export function openMemberFolder(folder: string, id: string | null, newId: string): MemberFolder {
  const stored = readMemberFile(folder);
  if (stored !== null) {
    if (id !== null && id !== stored.id) {
      throw new ForPeople(
        `${folder} belongs to member ${stored.id}, not ${id}; choose another data folder`,
      );
    }
    return { folder, ...stored, created: false };
  }
  const given = id ?? newId;
  if (given.length > NAME_CHARACTERS_MAX || !NAME.test(given)) {
    throw new ForPeople(
      `"${given}" can't be a member id; use letters, digits, ".", "_" and "-", first a letter or digit`,
    );
  }
  return { folder, ...createMember(folder, given), created: true };
}

/** Puts the certificate into the folder and returns the member with it. */
export function storeCertificate(
  member: MemberFolder,
  certificate: MemberCertificate,
): MemberFolder {
  writeMemberFile(member.folder, { ...member, certificate }, true);
  return { ...member, certificate };
}

type StoredMember = Omit<MemberFolder, "folder" | "created">;

function createMember(folder: string, id: string): StoredMember {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fileTrouble("make the folder", folder, error);
  }
  const keyFile = join(folder, "member.key");
  // The key comes first: a crash in between leaves a key without a member, which the next call takes up.
  if (!existsSync(keyFile)) writePrivateKey(keyFile, generatePrivateKey());
  const { privateKey, publicKey, warning } = readPrivateKey(keyFile);
  const member = { id, privateKey, publicKey, certificate: null, warnings: listOf(warning) };
  writeMemberFile(folder, member, false);
  return member;
}

function writeMemberFile(
  folder: string,
  member: Pick<StoredMember, "id" | "publicKey" | "certificate">,
  overwrite: boolean,
): void {
  const { id, publicKey, certificate } = member;
  const content = { id, publicKey, ...(certificate === null ? {} : { certificate }) };
  writeFileDurably(join(folder, "member.json"), `${JSON.stringify(content, null, 2)}\n`, {
    mode: 0o644,
    overwrite,
  });
}

function readMemberFile(folder: string): StoredMember | null {
  const file = join(folder, "member.json");
  const text = readFileIfThere(file, MEMBER_FILE_BYTES_MAX);
  if (text === null) return null;
  const content = parse(file, text);
  const { privateKey, publicKey, warning } = readPrivateKey(join(folder, "member.key"));
  if (content.publicKey !== publicKey) {
    throw new ForPeople(`${file} names another key than ${join(folder, "member.key")} holds`);
  }
  return {
    id: content.id,
    privateKey,
    publicKey,
    certificate: content.certificate,
    warnings: listOf(warning),
  };
}

function parse(
  file: string,
  text: string,
): { id: string; publicKey: string; certificate: MemberCertificate | null } {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new ForPeople(`${file} is not JSON; restore it from a backup`, { cause: error });
  }
  if (typeof content === "object" && content !== null && "id" in content) {
    const { id } = content;
    const publicKey = "publicKey" in content ? content.publicKey : null;
    const written = "certificate" in content ? content.certificate : null;
    const certificate = written === null ? null : parseCertificate(written);
    const fits = (written === null) === (certificate === null);
    if (typeof id === "string" && NAME.test(id) && typeof publicKey === "string" && fits) {
      return { id, publicKey, certificate };
    }
  }
  throw new ForPeople(`${file} does not describe a member; restore it from a backup`);
}

function listOf(warning: string | null): readonly string[] {
  return warning === null ? [] : [warning];
}
