/** `quorate vendor`: what the maker of a program does, on its own machine, without any server. */
import { resolve } from "node:path";
import { parseLicense, parseUnsignedLicense, signedBytes } from "@quorate/protocol";
import { readPrivateKey, sign, writeFileDurably } from "@quorate/server/keys";
import type { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import { Failure, tellWarnings } from "../failure.ts";
import { makeKeyPair } from "../key-pair.ts";
import { readLicenseFile } from "../license-file.ts";

export function vendorCommand(program: Command): void {
  const vendor = program.command("vendor").description("make keys and sign licenses (vendor)");
  vendor
    .command("keygen")
    .description("make vendor.key (keep it secret) and vendor.pub (goes into your program)")
    .requiredOption("--out <dir>", "folder for the two files")
    .action((options: { out: string }) => {
      const { publicKey, publicFile } = makeKeyPair(options.out, "vendor");
      console.log(`${publicFile}: ${publicKey}`);
    });
  vendor
    .command("sign")
    .description("check a license document and sign it")
    .argument("<file>", "the license as JSON, without signature")
    .requiredOption("--key <file>", "the vendor's private key, vendor.key")
    .requiredOption("--out <file>", "where the signed license goes")
    .action((file: string, options: { key: string; out: string }) => {
      signLicense(file, options.key, options.out);
    });
}

function signLicense(file: string, keyFile: string, out: string): void {
  const { text, sequence, publicKey, warnings } = signedLicense(
    file,
    readLicenseFile(file),
    keyFile,
  );
  writeFileDurably(resolve(out), text, { mode: 0o644, overwrite: true });
  tellWarnings(warnings);
  console.log(`${out}: sequence ${sequence}, signed by ${publicKey}`);
}

/** The text of the signed license. Refuses what no pool would accept; `file` is only for the words. */
export function signedLicense(
  file: string,
  unsigned: string,
  keyFile: string,
): {
  readonly text: string;
  readonly sequence: number;
  readonly publicKey: string;
  readonly warnings: readonly string[];
} {
  const now = new Date();
  const parsed = parseUnsignedLicense(unsigned, now.toISOString());
  if ("invalid" in parsed) throw new Failure(`${file}: ${parsed.invalid}`, EXIT.licenseInvalid);
  const { document } = parsed;
  for (const feature of document.features) {
    if (feature.expires !== undefined && Date.parse(feature.expires) <= now.getTime()) {
      throw new Failure(
        `${file}: feature ${feature.name} has expired already, on ${feature.expires}`,
        EXIT.licenseInvalid,
      );
    }
    const spread = Object.keys(feature.spread ?? {}).length;
    if (spread > document.pool.size) {
      throw new Failure(
        `${file}: feature ${feature.name} is spread over ${spread} members, the pool has ${document.pool.size}`,
        EXIT.licenseInvalid,
      );
    }
  }
  const { privateKey, publicKey, warning } = readPrivateKey(keyFile);
  if (document.pool.key === publicKey) {
    throw new Failure(`${file}: pool.key is the vendor's own key; put the customer's there`);
  }
  const signed = signedBytes(document);
  if (signed === null) throw new Error("a document that was checked has a canonical form");
  const signature = { key: publicKey, value: sign(privateKey, signed) };
  const text = `${JSON.stringify({ ...document, signature }, null, 2)}\n`;
  const check = parseLicense(text);
  if ("invalid" in check) throw new Error(`the signed license is refused: ${check.invalid}`);
  const warnings = [...parsed.warnings, ...(warning === null ? [] : [warning])];
  return { text, sequence: document.sequence, publicKey, warnings };
}
