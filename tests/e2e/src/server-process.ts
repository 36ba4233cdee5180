/** One `quorate serve` as a real process, controlled by its pid. */
import { type ChildProcess, spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitFor } from "./wait.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
export const NODE = `${ROOT}/node_modules/.bin/node`;
const MAIN = `${ROOT}/packages/cli/src/main.ts`;

const READY_MS_MAX = 40_000;
const OUTPUT_CHARACTERS_MAX = 200_000;
/** Compiled once for all the processes of all runs: a start costs a third of the time. */
const COMPILE_CACHE = join(tmpdir(), "quorate-e2e-compile-cache");

/** Pids to end with this process, should a test not come to its own clean-up. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Any command of the CLI, or another program, with its output kept. */
export class Program {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  /** Null while it runs; -1 after a signal. */
  exitCode: number | null = null;

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", NODE_COMPILE_CACHE: COMPILE_CACHE, ...env },
    });
    running.add(this.child);
    this.child.stdout?.on("data", (chunk: Buffer) => {
      this.stdout = (this.stdout + chunk.toString()).slice(-OUTPUT_CHARACTERS_MAX);
    });
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk.toString()).slice(-OUTPUT_CHARACTERS_MAX);
    });
    this.child.on("close", (code) => {
      running.delete(this.child);
      this.exitCode = code ?? -1;
    });
  }

  get pid(): number {
    const { pid } = this.child;
    if (pid === undefined) throw new Error("the program did not start");
    return pid;
  }

  get runs(): boolean {
    return this.exitCode === null;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** Resolves with the exit code when it has ended by itself or by a signal. */
  ended(timeoutMs?: number): Promise<number> {
    return waitFor(`end of pid ${this.pid}`, () => this.exitCode, timeoutMs);
  }

  async kill(): Promise<void> {
    if (!this.runs) return;
    this.signal("SIGKILL");
    // Not its output's end: a program that it started may still hold that.
    await waitFor(`end of pid ${this.pid}`, () => this.child.signalCode ?? this.child.exitCode);
  }
}

export function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
  return new Program(NODE, ["--disable-warning=ExperimentalWarning", MAIN, ...args], env);
}

export class ServerProcess {
  readonly program: Program;
  readonly id: string;

  constructor(id: string, flags: readonly string[]) {
    this.id = id;
    this.program = cli(["serve", ...flags]);
  }

  /** The URL of the ready line; fails at once when the process ends before. */
  async ready(): Promise<string> {
    return waitFor(
      `ready line of ${this.id}`,
      () => {
        const line = /^\{"ready":true.*\}$/m.exec(this.program.stdout)?.[0];
        if (line !== undefined) return (JSON.parse(line) as { url: string }).url;
        return this.program.runs ? null : `ended`;
      },
      READY_MS_MAX,
    ).then((url) => {
      if (url !== "ended") return url;
      throw new Error(
        `${this.id} ended with ${this.program.exitCode} before it was ready:\n${this.program.stderr}`,
      );
    });
  }
}
