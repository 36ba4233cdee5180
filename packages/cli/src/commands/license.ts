/** `quorate license`: look at a license, verify it, install it. */
import type { License } from "@quorate/core";
import { parseLicense } from "@quorate/protocol";
import { checkLicense } from "@quorate/server/keys";
import type { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import { Failure, tellWarnings } from "../failure.ts";
import { installInFolder } from "../install-in-folder.ts";
import { installOverHttp } from "../install-over-http.ts";
import { readLicenseFile, vendorKeyFrom } from "../license-file.ts";
import { printFields, printJson, printTable } from "../print.ts";

interface LookOptions {
  readonly vendorKey?: string;
  readonly json?: boolean;
}

interface InstallOptions {
  readonly data?: string;
  readonly server?: string;
  readonly adminTokenFile?: string;
}

export function licenseCommand(program: Command): void {
  const license = program.command("license").description("show, verify and install a license");
  license
    .command("show")
    .description("print what a license says; with a vendor key, also whether it is genuine")
    .argument("<file>", "the license")
    .option("--vendor-key <file>", "the vendor's public key (default: QUORATE_VENDOR_KEY)")
    .option("--json", "print JSON")
    .action((file: string, options: LookOptions) => {
      show(file, vendorKeyFrom(options.vendorKey), options.json === true);
    });
  license
    .command("verify")
    .description("exit with 0 only if the vendor signed exactly this license")
    .argument("<file>", "the license")
    .option("--vendor-key <file>", "the vendor's public key (default: QUORATE_VENDOR_KEY)")
    .option("--json", "print JSON")
    .action((file: string, options: LookOptions) => {
      verify(file, vendorKeyFrom(options.vendorKey), options.json === true);
    });
  license
    .command("install")
    .description("install a newer license on a stopped member or in a running pool")
    .argument("<file>", "the license")
    .option("--data <dir>", "data folder of a stopped member")
    .option("--server <url>", "any server of the running pool (default: QUORATE_SERVERS)")
    .option(
      "--admin-token-file <file>",
      "file with the administrator's token (default: QUORATE_ADMIN_TOKEN_FILE)",
    )
    .action(async (file: string, options: InstallOptions) => {
      const text = readLicenseFile(file);
      if (options.data !== undefined && options.server !== undefined) {
        throw new Failure("give either --data or --server, not both", EXIT.usage);
      }
      if (options.data === undefined) {
        await installOverHttp(file, text, options.server, options.adminTokenFile);
      } else {
        await installInFolder(file, text, options.data, vendorKeyFrom(undefined));
      }
    });
}

function show(file: string, vendorKey: string | null, asJson: boolean): void {
  const text = readLicenseFile(file);
  const parsed = parseLicense(text);
  if ("invalid" in parsed) {
    throw new Failure(`${file}: ${parsed.invalid}`, EXIT.licenseInvalid, "license-invalid");
  }
  const { license, warnings } = parsed;
  const signature = signatureVerdict(text, vendorKey);
  if (asJson) {
    printJson({ license, signature, warnings });
    return;
  }
  tellWarnings(warnings);
  const { id, vendor, customer, sequence, issued, pool } = license;
  const { name, size, key } = pool;
  printFields(
    { id, vendor, customer, sequence, issued, pool: name, size, poolKey: key, signature },
    false,
  );
  console.log("");
  printFeatures(license);
}

function signatureVerdict(text: string, vendorKey: string | null): string {
  if (vendorKey === null) return "not verified: no vendor key given";
  const checked = checkLicense(text, vendorKey);
  return typeof checked === "string" ? `NOT VALID: ${checked}` : "valid";
}

function printFeatures(license: License): void {
  printTable(
    ["FEATURE", "VERSION", "SEATS", "OVERDRAFT", "STARTS", "EXPIRES"],
    license.features.map((feature) => [
      feature.name,
      feature.version,
      feature.seats,
      feature.overdraft ?? 0,
      feature.starts ?? "–",
      feature.expires ?? "never",
    ]),
  );
}

function verify(file: string, vendorKey: string | null, asJson: boolean): void {
  if (vendorKey === null) {
    throw new Failure("give the vendor's key: --vendor-key or QUORATE_VENDOR_KEY", EXIT.usage);
  }
  const checked = checkLicense(readLicenseFile(file), vendorKey);
  if (typeof checked === "string") {
    if (asJson) printJson({ valid: false, reason: checked });
    throw new Failure(`${file}: ${checked}`, EXIT.licenseInvalid, "license-invalid");
  }
  const { license, warnings } = checked;
  if (asJson) {
    printJson({ valid: true, sequence: license.sequence, pool: license.pool.name, warnings });
    return;
  }
  tellWarnings(warnings);
  console.log(`${file}: valid, sequence ${license.sequence}, pool ${license.pool.name}`);
}
