/**
 * Keys as files: PKCS #8 PEM for the private half (what openssl reads), one line of text for the public half.
 * An existing key is never overwritten: what it signed would be orphaned for good.
 */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { statSync } from "node:fs";
import { parsePublicKey } from "@quorate/protocol";
import { readFileIfThere, writeFileDurably } from "./durable-file.ts";
import { fileTrouble, ForPeople } from "./for-people.ts";
import { publicKeyOf } from "./node-keys.ts";

const KEY_FILE_BYTES_MAX = 16 * 1024;
const OTHERS_MAY_READ = 0o077;

export interface StoredPrivateKey {
  readonly privateKey: KeyObject;
  /** `ed25519:…` */
  readonly publicKey: string;
  /** A sentence when others than the owner may read the file; it is used all the same, because secrets
   * mounted into containers often have such modes. */
  readonly warning: string | null;
}

/** Mode 0600. Throws `ForPeople` when the file exists. */
export function writePrivateKey(path: string, privateKey: KeyObject): void {
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  writeFileDurably(path, pem, { mode: 0o600, overwrite: false });
}

/** Throws `ForPeople` when there is no Ed25519 private key in the file. */
export function readPrivateKey(path: string): StoredPrivateKey {
  const privateKey = parsePem(path, readKeyFile(path));
  if (privateKey.asymmetricKeyType !== "ed25519") {
    throw new ForPeople(`${path} holds a key of another kind; an Ed25519 private key is needed`);
  }
  return { privateKey, publicKey: publicKeyOf(privateKey), warning: modeWarning(path) };
}

/** One line, `ed25519:…`. Throws `ForPeople` when the file exists. */
export function writePublicKey(path: string, publicKey: string): void {
  writeFileDurably(path, `${publicKey}\n`, { mode: 0o644, overwrite: false });
}

/** Throws `ForPeople` when the file holds anything but one public key. */
export function readPublicKey(path: string): string {
  const text = readKeyFile(path).trim();
  if (text.includes("PRIVATE KEY")) {
    throw new ForPeople(`${path} is a private key; the public key (.pub) is needed here`);
  }
  if (parsePublicKey(text) !== null) return text;
  throw new ForPeople(`${path} is no public key; it should be one line "ed25519:…"`);
}

function readKeyFile(path: string): string {
  const text = readFileIfThere(path, KEY_FILE_BYTES_MAX);
  if (text === null) throw new ForPeople(`there is no key file ${path}`);
  return text;
}

function parsePem(path: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new ForPeople(`${path} is no private key in PEM form (PKCS #8)`, { cause: error });
  }
}

function modeWarning(path: string): string | null {
  // Windows has no such modes: who may read is in the access list.
  if (process.platform === "win32") return null;
  try {
    const { mode } = statSync(path);
    if ((mode & OTHERS_MAY_READ) === 0) return null;
    return `others than its owner may read ${path}; run: chmod 600 ${path}`;
  } catch (error) {
    throw fileTrouble("read", path, error);
  }
}
