/**
 * What every command that asks servers takes: `--ca FILE`, else `QUORATE_CA`, else the system, for servers with https;
 * and `--token-file FILE`, else `QUORATE_TOKEN_FILE`, for pools that let in only who has a token.
 */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { EXIT } from "./exit-codes.ts";
import { Failure } from "./failure.ts";
import { useTokenFile } from "./own-token.ts";

/** Adds them, and takes them in before the command runs. */
export function trustOptions(program: Command): void {
  for (const command of leavesOf(program)) {
    if (!asksServers(command)) continue;
    command
      .option("--ca <file>", "who signs the servers' certificates, PEM (default: QUORATE_CA)")
      .option("--token-file <file>", "a token to show to the servers (default: QUORATE_TOKEN_FILE)")
      .hook("preAction", async (_command, action) => {
        const file = action.getOptionValue("ca") ?? process.env["QUORATE_CA"] ?? "";
        const tokenFile =
          action.getOptionValue("tokenFile") ?? process.env["QUORATE_TOKEN_FILE"] ?? "";
        if (typeof tokenFile === "string" && tokenFile !== "") useTokenFile(tokenFile);
        if (typeof file === "string" && file !== "") await trustOnly(file);
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
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    throw new Failure(`cannot read ${file}`, EXIT.usage);
  }
  try {
    tls.setDefaultCACertificates([text]);
  } catch {
    throw new Failure(`${file} holds no certificate in PEM`, EXIT.usage);
  }
}

function leavesOf(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}

function asksServers(command: Command): boolean {
  return command.options.some(({ long }) => long === "--servers" || long === "--server");
}
