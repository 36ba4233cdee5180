/**
 * Installs a license into the data folder of a stopped member. At its start the member brings it to the pool
 * (design section 4.7), so the rule of the higher sequence is checked against the own copy only.
 *
 * The member's audit log gets its lines, and only one process may write to that: the member's has the folder locked
 * while it lives, and takes no license from there anyway.
 */
import { hash } from "node:crypto";
import { existsSync } from "node:fs";
import { userInfo } from "node:os";
import { sequenceVerdict } from "@quorate/core";
import { parseLicense } from "@quorate/protocol";
import { openAuditLog } from "@quorate/server/audit";
import {
  checkLicense,
  createLicenseFiles,
  readOwnLicense,
  withFolderLocked,
} from "@quorate/server/keys";
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
      await audited(dataFolder, { sha256: hash("sha256", text), sequence: license.sequence }, () =>
        createLicenseFiles({ dataFolder, vendorKey: key }).writeOwn(text, true),
      );
  }
  tellWarnings(warnings);
  if (vendorKey === null && own === null) {
    tellWarnings([
      `no vendor key was given, so only ${key} itself vouches for the license; the server verifies it at start`,
    ]);
  }
  say(`installed sequence ${license.sequence} for pool ${license.pool.name}`);
}

/** With a line before and one after, as the member itself would do. */
async function audited(
  dataFolder: string,
  details: Readonly<Record<string, unknown>>,
  install: () => Promise<void>,
): Promise<void> {
  const fact = { who: userOfMachine(), role: "local", from: "", what: "license-install", details };
  const done = await withFolderLocked(dataFolder, async () => {
    const audit = await openAuditLog(dataFolder);
    try {
      await audit.append({ ...fact, outcome: "begun" });
      await install();
      await audit.append({ ...fact, outcome: "done" });
    } finally {
      await audit.close();
    }
  });
  if (done !== null) return;
  throw new Failure(
    `the server of ${dataFolder} is running; install the license through it: quorate license install FILE --server URL`,
    EXIT.memberLives,
  );
}

function userOfMachine(): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user may have no entry in the password file.
    return `uid ${process.getuid?.() ?? "unknown"}`;
  }
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
