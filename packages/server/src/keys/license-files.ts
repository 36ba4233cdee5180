/**
 * The member's own copy of the license, `<data>/license.json`, and the check of any license text.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { LICENSE_BYTES_MAX } from "@quorate/core";
import { otherVendor, type ParsedLicense, parseLicense, SIGNATURE_BROKEN } from "@quorate/protocol";
import type { Licenses } from "../member/ports.ts";
import { readFileIfThere, writeFileDurably } from "./durable-file.ts";
import { verify } from "./node-keys.ts";

/** Own licenses are small; a file that grew beyond this is not read into memory to say so. */
const LICENSE_FILE_BYTES_MAX = 2 * LICENSE_BYTES_MAX;
const LICENSE_FILE_MODE = 0o644;
const HASH_CHARACTERS = 8;

export interface LicenseFiles extends Licenses {
  check(text: string): ParsedLicense | string;
}

/** `vendorKey` is `ed25519:…`. Whether the license names this pool is the member's business. */
export function createLicenseFiles(options: {
  readonly dataFolder: string;
  readonly vendorKey: string;
}): LicenseFiles {
  const { dataFolder, vendorKey } = options;
  return {
    check: (text) => checkLicense(text, vendorKey),
    readOwn: async () => readOwnLicense(dataFolder),
    writeOwn: async (text, backup) => {
      // The backup is on disk BEFORE its original is replaced.
      if (backup) backUp(dataFolder);
      writeFileDurably(ownFile(dataFolder), text, { mode: LICENSE_FILE_MODE, overwrite: true });
    },
  };
}

/** The license when its shape and the vendor's signature hold, else a sentence that says what is wrong. */
export function checkLicense(text: string, vendorKey: string): ParsedLicense | string {
  const parsed = parseLicense(text);
  if ("invalid" in parsed) return parsed.invalid;
  const { key, value } = parsed.license.signature;
  if (key !== vendorKey) return otherVendor(key, vendorKey);
  return verify(vendorKey, parsed.signed, value) ? parsed : SIGNATURE_BROKEN;
}

/** Null when the member has no copy yet. Throws `ForPeople` when it can't be read. */
export function readOwnLicense(dataFolder: string): string | null {
  return readFileIfThere(ownFile(dataFolder), LICENSE_FILE_BYTES_MAX);
}

/** Keeps the own copy as `license-<sequence>.backup.json`; another text under that name is kept, too. */
function backUp(dataFolder: string): void {
  const own = readOwnLicense(dataFolder);
  if (own === null) return;
  const parsed = parseLicense(own);
  const name = "invalid" in parsed ? "unreadable" : String(parsed.license.sequence);
  const file = join(dataFolder, `license-${name}.backup.json`);
  const there = readFileIfThere(file, LICENSE_FILE_BYTES_MAX);
  if (there === own) return;
  const hash = createHash("sha256").update(own).digest("hex").slice(0, HASH_CHARACTERS);
  const free = there === null ? file : join(dataFolder, `license-${name}-${hash}.backup.json`);
  writeFileDurably(free, own, { mode: LICENSE_FILE_MODE, overwrite: true });
}

function ownFile(dataFolder: string): string {
  return join(dataFolder, "license.json");
}
