/** The real executable as a child process, for tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../bin/quorate.js", import.meta.url));
const LOOK_MS = 50;
/** Below the time of a test, so that what was waited for is told. */
const WAIT_MS_MAX = 25_000;

export class TestCommand {
  readonly child: ChildProcess;
  /** Resolves with the exit code; null when a signal ended it. */
  readonly done: Promise<number | null>;
  stdout = "";
  stderr = "";

  constructor(words: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(process.execPath, [BIN, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    this.child.stdout?.on("data", (text) => (this.stdout += String(text)));
    this.child.stderr?.on("data", (text) => (this.stderr += String(text)));
    this.done = new Promise((resolve) => {
      // Not "exit": what is still in the pipes belongs to the result. A program left behind keeps them open.
      this.child.once("exit", (code) => setImmediate(() => resolve(code)));
    });
  }

  async says(what: RegExp): Promise<RegExpExecArray> {
    return until(
      () => what.exec(this.stdout + this.stderr),
      () => `${String(what)} in:\n${this.stdout}\n${this.stderr}`,
    );
  }
}

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function runCommand(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Run> {
  const command = new TestCommand(words, env);
  await new Promise((resolve) => command.child.once("close", resolve));
  const { stdout, stderr } = command;
  return { code: await command.done, stdout, stderr };
}

/** Looks again and again until there is something. */
export async function until<Found>(
  look: () => Promise<Found | null> | Found | null,
  what: () => string,
): Promise<Found> {
  const untilMs = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (performance.now() > untilMs) throw new Error(`waited in vain for ${what()}`);
    await delay(LOOK_MS);
  }
}
