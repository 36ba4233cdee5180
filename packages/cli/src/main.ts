/**
 * The executable: argv, environment, signals, real clocks. Every command is a file in `commands/` that adds
 * itself to the program.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { EXIT, exitCodesHelp } from "./exit-codes.ts";
import { tellFailure } from "./failure.ts";
import { trustOptions } from "./trust.ts";

type AddCommand = (program: Command) => void;

/**
 * In the order of the help. A file is loaded when its command is used: what `serve` needs takes ten times longer to
 * load than `status` takes to answer.
 */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  demo: async () => (await import("./commands/demo.ts")).demoCommand,
  serve: async () => (await import("./commands/serve.ts")).serveCommand,
  status: async () => (await import("./commands/status.ts")).statusCommand,
  checkout: async () => (await import("./commands/checkout.ts")).checkoutCommand,
  release: async () => (await import("./commands/release.ts")).releaseCommand,
  report: async () => (await import("./commands/report.ts")).reportCommand,
  run: async () => (await import("./commands/run.ts")).runCommand,
  pool: async () => (await import("./commands/pool.ts")).poolCommand,
  member: async () => (await import("./commands/member.ts")).memberCommand,
  token: async () => (await import("./commands/token.ts")).tokenCommand,
  audit: async () => (await import("./commands/audit.ts")).auditCommand,
  license: async () => (await import("./commands/license.ts")).licenseCommand,
  vendor: async () => (await import("./commands/vendor.ts")).vendorCommand,
};

// `quorate … | head` closes the pipe early: that is no failure, and nobody is left to print for.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(EXIT.ok);
});

process.exitCode = await main(process.argv.slice(2));

async function main(words: readonly string[]): Promise<number> {
  try {
    const quorate = await program(words[0] ?? "");
    await quorate.parseAsync(words, { from: "user" });
    // A command that ends well with a code of its own (the wrapped program's) has set it.
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    // Commander has told the person already: help asked for (0) or a wrong command line.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return tellFailure(error);
  }
}

async function program(word: string): Promise<Command> {
  const quorate = new Command("quorate")
    .description("A pool of license servers: no single machine is needed, no seat is used twice")
    .version(version(), "--version", "print the version")
    .exitOverride()
    // What follows a wrapped program's name is the program's business.
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .addHelpText("after", exitCodesHelp())
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, "quorate: ")),
    });
  // A command inherits its parent's settings at the moment it is added, so the commands come last.
  const named = Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
  const loads = named === undefined ? Object.values(COMMANDS) : [named];
  for (const add of await Promise.all(loads.map((load) => load()))) add(quorate);
  trustOptions(quorate);
  return quorate;
}

function version(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  const manifest: unknown = JSON.parse(text);
  const found = typeof manifest === "object" && manifest !== null && "version" in manifest;
  return found ? String(manifest.version) : "unknown";
}
