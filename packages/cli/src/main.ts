/**
 * The executable: argv, environment, signals, real clocks. Every command is a file in `commands/` that adds
 * itself to the program.
 */
import { Command, CommanderError } from "commander";
import { licenseCommand } from "./commands/license.ts";
import { memberCommand } from "./commands/member.ts";
import { poolCommand } from "./commands/pool.ts";
import { serveCommand } from "./commands/serve.ts";
import { vendorCommand } from "./commands/vendor.ts";
import { EXIT, exitCodesHelp } from "./exit-codes.ts";
import { tellFailure } from "./failure.ts";

const COMMANDS = [serveCommand, vendorCommand, licenseCommand, poolCommand, memberCommand];

// `quorate … | head` closes the pipe early: that is no failure, and nobody is left to print for.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(EXIT.ok);
});

process.exitCode = await main(process.argv.slice(2));

async function main(words: readonly string[]): Promise<number> {
  try {
    await program().parseAsync(words, { from: "user" });
    // A command that ends well with a code of its own (the wrapped program's) has set it.
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    // Commander has told the person already: help asked for (0) or a wrong command line.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return tellFailure(error);
  }
}

function program(): Command {
  const quorate = new Command("quorate")
    .description("A pool of license servers: no single machine is needed, no seat is used twice")
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText("after", exitCodesHelp())
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, "quorate: ")),
    });
  // A command inherits its parent's settings at the moment it is added, so the commands come last.
  for (const add of COMMANDS) add(quorate);
  return quorate;
}
