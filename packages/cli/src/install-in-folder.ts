/**
 * Installs a license into the data folder of a stopped member. At its start the member brings it to the pool
 * (design section 4.7), so the rule of the higher sequence is checked against the own copy only.
 */
import { existsSync } from "node:fs";
import { sequenceVerdict } from "@quorate/core";
import { parseLicense } from "@quorate/protocol";
import { checkLicense, createLicenseFiles, readOwnLicense } from "@quorate/server/keys";
import { EXIT } from "./exit-codes.ts";
import { Failure, tellWarnings } from "./failure.ts";

export async function installInFolder(
  file: string,
  text: string,
  dataFolder: string,
  vendorKey: string | null,
  say: (sentence: string) => void = console.log,
): Promise<void> {
  if (!existsSync(dataFolder)) {
    throw new Failure(
      `there is no folder ${dataFolder}; make the member first: quorate member id --data ${dataFolder}`,
    );
  }
  const own = ownLicense(dataFolder);
  const parsed = parseLicense(text);
  if ("invalid" in parsed) throw invalid(file, parsed.invalid);
  const key = vendorKey ?? own?.vendorKey ?? parsed.license.signature.key;
  const checked = checkLicense(text, key);
  if (typeof checked === "string") throw invalid(file, checked);
  const { license, canonical, warnings } = checked;
  switch (sequenceVerdict({ sequence: license.sequence, canonical }, own)) {
    case "older":
      throw new Failure(
        `${file} has sequence ${license.sequence}, but the member already has ${own?.sequence}; nothing changed`,
        EXIT.licenseOlder,
        "license-older",
      );
    case "conflict":
      throw new Failure(
        `${file} differs from the member's license with the same sequence ${license.sequence}; nothing changed. ` +
          "Ask the vendor for one with a higher sequence",
        EXIT.licenseConflict,
        "license-conflict",
      );
    case "same":
      say(`sequence ${license.sequence} is installed already`);
      return;
    case "newer":
      await createLicenseFiles({ dataFolder, vendorKey: key }).writeOwn(text, true);
  }
  tellWarnings(warnings);
  if (vendorKey === null && own === null) {
    tellWarnings([
      `no vendor key was given, so only ${key} itself vouches for the license; the server verifies it at start`,
    ]);
  }
  say(`installed sequence ${license.sequence} for pool ${license.pool.name}`);
}

/** The member's copy; null when there is none or it is no license any more (it is kept as a backup). */
function ownLicense(
  dataFolder: string,
): { sequence: number; canonical: string; vendorKey: string } | null {
  const text = readOwnLicense(dataFolder);
  if (text === null) return null;
  const parsed = parseLicense(text);
  if ("invalid" in parsed) {
    tellWarnings([`the member's present license is not readable: ${parsed.invalid}`]);
    return null;
  }
  const { license, canonical } = parsed;
  return { sequence: license.sequence, canonical, vendorKey: license.signature.key };
}

function invalid(file: string, sentence: string): Failure {
  return new Failure(`${file}: ${sentence}`, EXIT.licenseInvalid, "license-invalid");
}
