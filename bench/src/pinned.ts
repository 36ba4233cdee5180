/**
 * Child processes on a core of their own: whoever is measured on one, whoever measures on the other, so
 * that neither takes time from the other. Where there is no `taskset`, the system decides and the run says so.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { tell } from "./figures.ts";

export const SERVER_CORE = 0;
export const LOAD_CORE = 1;

const STOP_MS_MAX = 10_000;
const QUIET = "--disable-warning=ExperimentalWarning";

const canPin = ((): boolean => {
  const works = spawnSync("taskset", ["-c", String(LOAD_CORE), "true"]).status === 0;
  if (!works) tell("taskset does not work here: nothing is pinned, figures are worth less");
  return works;
})();

const running = new Set<ChildProcess>();

/** Starts Node with `args` on `core`. stdin and stdout are pipes; messages go both ways. */
export function spawnPinned(core: number, args: readonly string[]): ChildProcess {
  const node = [process.execPath, QUIET, ...args];
  const [command = process.execPath, ...rest] = canPin
    ? ["taskset", "-c", String(core), ...node]
    : node;
  const child = spawn(command, rest, { stdio: ["ignore", "pipe", "inherit", "ipc"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** The path of a program of this folder, for `spawnPinned`. */
export function programPath(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** One question, one answer. Rejects when the child ends instead. */
export async function ask<Answer>(child: ChildProcess, question: object): Promise<Answer> {
  const ended = new AbortController();
  const gone = once(child, "exit", { signal: ended.signal }).then(() => {
    throw new Error("a process of the bench ended before it answered");
  });
  const answered = once(child, "message", { signal: ended.signal });
  child.send(question);
  try {
    const [answer] = await Promise.race([answered, gone]);
    return answer as Answer;
  } finally {
    ended.abort();
    // The one that lost the race is rejected by the abort, and nobody waits for it.
    await Promise.allSettled([answered, gone]);
  }
}

/** SIGTERM, then SIGKILL when that takes too long. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
  await exited;
  clearTimeout(late);
}

/** Whatever ends the bench ends what it started. */
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
