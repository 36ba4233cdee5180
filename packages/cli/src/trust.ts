/**
 * What every command that asks servers takes: `--ca FILE`, else `QUORATE_CA`, else the system, for servers with https;
 * `--cert FILE --key FILE`, else `QUORATE_CLIENT_CERT` and `QUORATE_CLIENT_KEY`, for servers that ask for a certificate;
 * and `--token-file FILE`, else `QUORATE_TOKEN_FILE`, for pools that let in only who has a token.
 */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { EXIT } from "./exit-codes.ts";
import { Failure } from "./failure.ts";
import { useCertificate } from "./own-fetch.ts";
import { useTokenFile } from "./own-token.ts";

/** Adds them, and takes them in before the command runs. */
export function trustOptions(program: Command): void {
  for (const command of leavesOf(program)) {
    if (!asksServers(command)) continue;
    command
      .option("--ca <file>", "who signs the servers' certificates, PEM (default: QUORATE_CA)")
      .option("--cert <file>", "a certificate to show to the servers, PEM (QUORATE_CLIENT_CERT)")
      .option("--key <file>", "its private key, PEM (QUORATE_CLIENT_KEY)")
      .option("--token-file <file>", "a token to show to the servers (default: QUORATE_TOKEN_FILE)")
      .hook("preAction", async (_command, action) => {
        const fileOf = (option: string, variable: string): string | null => {
          const file: unknown = action.getOptionValue(option) ?? process.env[variable];
          return typeof file === "string" && file !== "" ? file : null;
        };
        const file = fileOf("ca", "QUORATE_CA");
        const tokenFile = fileOf("tokenFile", "QUORATE_TOKEN_FILE");
        const cert = fileOf("cert", "QUORATE_CLIENT_CERT");
        const key = fileOf("key", "QUORATE_CLIENT_KEY");
        if (tokenFile !== null) useTokenFile(tokenFile);
        if (file !== null) await trustOnly(file);
        if (cert !== null || key !== null) await show(cert, key);
      });
  }
}

/** Replaces the list of trusted signers of this process, for `fetch` and everything else. */
async function trustOnly(file: string): Promise<void> {
  // Loaded here because most calls go without it.
  const tls = await import("node:tls");
  if (typeof tls.setDefaultCACertificates !== "function") {
    throw new Failure(
      "this Node.js cannot take --ca; use Node 24.5 or newer, or NODE_EXTRA_CA_CERTS",
      EXIT.usage,
    );
  }
  const text = textOf(file);
  try {
    tls.setDefaultCACertificates([text]);
  } catch {
    throw new Failure(`${file} holds no certificate in PEM`, EXIT.usage);
  }
}

async function show(cert: string | null, key: string | null): Promise<void> {
  if (cert === null || key === null) {
    throw new Failure("--cert and --key go together", EXIT.usage);
  }
  const [certText, keyText] = [textOf(cert), textOf(key)];
  try {
    await useCertificate(certText, keyText);
  } catch {
    // OpenSSL's own words speak of its routines.
    throw new Failure(`${cert} and ${key} are no certificate and its key in PEM`, EXIT.usage);
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    throw new Failure(`cannot read ${file}`, EXIT.usage);
  }
}

function leavesOf(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}

function asksServers(command: Command): boolean {
  return command.options.some(({ long }) => long === "--servers" || long === "--server");
}
