/**
 * `quorate run`: holds seats while any program runs. The program needs to know nothing of Quorate.
 *
 * If this process is killed with -9, nothing renews the session: the seat is free one life later, and the program
 * runs on without one.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { SEATS_MAX } from "@quorate/core";
import { type Command, Option } from "commander";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { parseWait, whole } from "../option-values.ts";
import { serversFrom } from "../servers.ts";
import { type Taken, takeSeats } from "../take-seats.ts";

/** What a shell answers when a program can't be found or can't be started. */
const EXIT_NOT_FOUND = 127;
const EXIT_NOT_STARTED = 126;
const SIGNAL_EXIT_BASE = 128;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;
/** While there is no program yet, these end the wait for a seat. */
const ENDING_SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];

interface RunFlags {
  readonly feature: string;
  readonly servers?: string;
  readonly seats: number;
  readonly version?: string;
  readonly wait: number;
  readonly onLost: "continue" | "terminate";
}

export function runCommand(program: Command): void {
  program
    .command("run")
    .description("hold seats of a feature while a program runs")
    .usage("--feature <name> [options] -- <command> [words…]")
    .argument("<command...>", "the program and its words, after --")
    .requiredOption("--feature <name>", "the feature")
    .option("--servers <urls>", "servers of the pool, with commas (default: QUORATE_SERVERS)")
    .option("--seats <n>", "how many seats", whole(1, SEATS_MAX), 1)
    .option("--version <version>", "the program's version, if the license has a ceiling")
    .option("--wait <duration>", "wait so long for a seat: 500ms, 30s, 5m", parseWait, 0)
    .addOption(
      new Option("--on-lost <what>", "when no server can be reached for a whole life")
        .choices(["continue", "terminate"])
        .default("continue"),
    )
    .passThroughOptions()
    .addHelpText(
      "after",
      "\nThe exit code is the program's (128 + the signal if one ended it), 3 if the seats were denied and\n" +
        "4 if no server answered; then the program was not started.\n" +
        "\nExample:\n  quorate run --feature cad --wait 5m -- my-cad drawing.dwg",
    )
    .action(run);
}

async function run(words: readonly string[], flags: RunFlags): Promise<void> {
  const servers = serversFrom(flags.servers);
  const taken = await takeUnlessInterrupted(servers, flags);
  tellChanges(taken, flags);
  const [command = "", ...rest] = words;
  const child = spawn(command, rest, { stdio: "inherit" });
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to the program too; a second one would mean "at once" to many.
      const fromTerminal = process.stdin.isTTY && (signal === "SIGINT" || signal === "SIGQUIT");
      if (!fromTerminal) child.kill(signal);
    });
  }
  if (flags.onLost === "terminate") {
    taken.authorization.on("lost", () => {
      console.error(`quorate: ending ${command}`);
      child.kill("SIGTERM");
    });
  }
  const code = await endOf(child, command);
  await taken.client.close();
  process.exit(code);
}

async function takeUnlessInterrupted(servers: readonly string[], flags: RunFlags): Promise<Taken> {
  const interruption = new AbortController();
  let interrupted: NodeJS.Signals | null = null;
  const interrupt = (signal: NodeJS.Signals): void => {
    interrupted = signal;
    interruption.abort(new Failure("interrupted before a seat was there"));
  };
  for (const signal of ENDING_SIGNALS) process.on(signal, interrupt);
  try {
    return await takeSeats(
      {
        servers,
        feature: flags.feature,
        seats: flags.seats,
        version: flags.version,
        waitMs: flags.wait,
      },
      interruption.signal,
    );
  } catch (error) {
    if (interrupted === null) throw error;
    return process.exit(SIGNAL_EXIT_BASE + constants.signals[interrupted]);
  } finally {
    for (const signal of ENDING_SIGNALS) process.off(signal, interrupt);
  }
}

function tellChanges({ authorization }: Taken, flags: RunFlags): void {
  const what = `the authorization for ${flags.feature}`;
  authorization.on("lost", ({ reason, retrying }) => {
    const next = retrying ? "; asking for a new one" : "";
    console.error(`quorate: warning: ${what} is lost (${reason})${next}`);
  });
  authorization.on("regained", ({ member }) => {
    console.error(`quorate: ${what} is held again, from ${member}`);
  });
  authorization.on("revoked", ({ reason }) => {
    console.error(`quorate: warning: ${what} was revoked: ${reason}`);
  });
}

function endOf(child: ChildProcess, command: string): Promise<number> {
  return new Promise((resolve) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      const missing = error.code === "ENOENT";
      console.error(`quorate: cannot start ${command}: ${missing ? "not found" : error.message}`);
      resolve(missing ? EXIT_NOT_FOUND : EXIT_NOT_STARTED);
    });
    child.once("exit", (code, signal) => {
      resolve(
        signal === null ? (code ?? EXIT.failure) : SIGNAL_EXIT_BASE + constants.signals[signal],
      );
    });
  });
}
