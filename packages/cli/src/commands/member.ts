/** `quorate member`: who a member of the pool is, on its own machine. */
import { hostname } from "node:os";
import { NAME_CHARACTERS_MAX } from "@quorate/core";
import { certificateBytes } from "@quorate/protocol";
import {
  type MemberFolder,
  openMemberFolder,
  readPrivateKey,
  sign,
  storeCertificate,
} from "@quorate/server/keys";
import type { Command } from "commander";
import { tellWarnings } from "../failure.ts";
import { printFields } from "../print.ts";

interface IdOptions {
  readonly data: string;
  readonly id?: string;
  readonly poolKey?: string;
  readonly json?: boolean;
}

export function memberCommand(program: Command): void {
  const member = program.command("member").description("one member of the pool (administrator)");
  member
    .command("id")
    .description("show who the member in a data folder is; makes it on first use")
    .requiredOption("--data <dir>", "the member's data folder")
    .option("--id <name>", "id of a new member (default: from the host name)")
    .option("--pool-key <file>", "certify the member with the pool's private key, pool.key")
    .option("--json", "print JSON")
    .action((options: IdOptions) => {
      const opened = openMemberFolder(options.data, options.id ?? null, idOfHost(hostname()));
      const shown = options.poolKey === undefined ? opened : certify(opened, options.poolKey);
      tellWarnings(shown.warnings);
      printFields(
        {
          id: shown.id,
          publicKey: shown.publicKey,
          certifiedBy: shown.certificate?.signature.key ?? null,
        },
        options.json === true,
      );
    });
}

/** A host name as a member id: what a name may not hold becomes "-". */
export function idOfHost(host: string): string {
  const id = host
    .replaceAll(/[^A-Za-z0-9._-]/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, NAME_CHARACTERS_MAX);
  return id === "" ? "member" : id;
}

/** Idempotent: a certificate by the same pool key for the same member stays as it is. */
export function certify(member: MemberFolder, keyFile: string): MemberFolder {
  const { privateKey, publicKey, warning } = readPrivateKey(keyFile);
  const warnings = [...member.warnings, ...(warning === null ? [] : [warning])];
  const old = member.certificate;
  if (old?.signature.key === publicKey && old.key === member.publicKey) {
    return { ...member, warnings };
  }
  const content = {
    quorate: 1,
    member: member.id,
    key: member.publicKey,
    issued: new Date().toISOString(),
  } as const;
  const value = sign(privateKey, certificateBytes(content));
  const certified = storeCertificate(member, {
    ...content,
    signature: { key: publicKey, value },
  });
  return { ...certified, warnings };
}
