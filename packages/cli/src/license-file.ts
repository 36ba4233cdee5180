import { readFileSync, statSync } from "node:fs";
import { LICENSE_BYTES_MAX } from "@quorate/core";
import { parsePublicKey } from "@quorate/protocol";
import { readPublicKey } from "@quorate/server/keys";
import { EXIT } from "./exit-codes.ts";
import { Failure } from "./failure.ts";

/** The text of a license file that a person named. */
export function readLicenseFile(file: string): string {
  try {
    if (statSync(file).size <= LICENSE_BYTES_MAX) return readFileSync(file, "utf8");
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : "unreadable";
    throw new Failure(`cannot read ${file} (${reason})`);
  }
  throw new Failure(`${file} is larger than ${LICENSE_BYTES_MAX} bytes`, EXIT.licenseInvalid);
}

/**
 * The vendor's public key from the flag or `QUORATE_VENDOR_KEY`: a file, or the key itself. Null when neither
 * is given.
 */
export function vendorKeyFrom(flag: string | undefined): string | null {
  const given = flag ?? process.env["QUORATE_VENDOR_KEY"];
  if (given === undefined || given === "") return null;
  return parsePublicKey(given) === null ? readPublicKey(given) : given;
}
