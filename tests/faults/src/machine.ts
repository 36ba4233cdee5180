/** One machine of a pool: an etcd member and a license server, real processes in one network namespace. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NODE, Program } from "@quorate/e2e/server-process";
import { waitFor } from "@quorate/e2e/wait";
import { fileURLToPath } from "node:url";
import type { Place } from "./network.ts";

export const QUORATE = fileURLToPath(new URL("../../../packages/cli/src/main.ts", import.meta.url));
const READY_MS_MAX = 60_000;

export type Part = "quorate" | "etcd";

export interface MachineOptions {
  readonly id: string;
  readonly place: Place;
  readonly url: string;
  readonly folder: string;
  readonly etcdArgs: readonly string[];
  readonly serveArgs: readonly string[];
  /** Of the license server: a false clock, for example. */
  readonly env?: NodeJS.ProcessEnv;
  /** Missing: this checkout. */
  readonly build?: string;
}

export class Machine {
  readonly id: string;
  readonly place: Place;
  /** What clients and the other license servers call. */
  readonly url: string;
  readonly folder: string;
  /** What its license server runs from its next start on: a `main.ts`. */
  build: string;
  readonly #options: MachineOptions;
  readonly #programs = new Map<Part, Program>();
  readonly #said: string[] = [];

  constructor(options: MachineOptions) {
    this.id = options.id;
    this.place = options.place;
    this.url = options.url;
    this.folder = options.folder;
    this.build = options.build ?? QUORATE;
    this.#options = options;
    mkdirSync(this.folder, { recursive: true });
  }

  start(part: Part, more: readonly string[] = []): void {
    const before = this.#programs.get(part);
    if (before !== undefined) this.#said.push(`${part} before: ${before.stderr}`);
    const { etcdArgs, serveArgs, env } = this.#options;
    this.#programs.set(
      part,
      part === "etcd"
        ? this.run("etcd", etcdArgs)
        : this.run(NODE, [...NODE_FLAGS, this.build, "serve", ...serveArgs, ...more], env),
    );
  }

  run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
    return new Program("ip", ["netns", "exec", this.place.namespace, command, ...args], env);
  }

  cli(args: readonly string[], env: NodeJS.ProcessEnv): Program {
    return this.run(NODE, [...NODE_FLAGS, this.build, ...args], env);
  }

  program(part: Part): Program {
    const program = this.#programs.get(part);
    if (program === undefined) throw new Error(`${part} of ${this.id} was never started`);
    return program;
  }

  /** The license server said that it grants; fails at once when it ended instead. */
  async ready(): Promise<void> {
    const program = this.program("quorate");
    const how = await waitFor(
      `${this.id} grants`,
      () => (program.stdout.includes('"ready":true') ? "ready" : program.runs ? null : "ended"),
      READY_MS_MAX,
    );
    if (how === "ready") return;
    throw new Error(`${this.id} ended with ${program.exitCode}: ${program.stderr}`);
  }

  kill(part: Part): Promise<void> {
    return this.program(part).kill();
  }

  signal(part: Part, name: NodeJS.Signals): void {
    this.program(part).signal(name);
  }

  /** SIGTERM; resolves with the exit code. */
  stop(part: Part, timeoutMs?: number): Promise<number> {
    this.signal(part, "SIGTERM");
    return this.program(part).ended(timeoutMs);
  }

  /** What its processes said, for the files of a failed row. */
  writeLogs(folder: string): void {
    for (const [part, program] of this.#programs) {
      const how = program.runs ? "runs" : `ended with ${program.exitCode}`;
      const before = this.#said.filter((text) => text.startsWith(part)).join("\n");
      writeFileSync(
        join(folder, `${this.id}-${part}.log`),
        `${before}\n${how}\n${program.stdout}${program.stderr}`,
      );
    }
  }

  async end(): Promise<void> {
    await Promise.all([...this.#programs.values()].map((program) => program.kill()));
  }
}

const NODE_FLAGS = ["--disable-warning=ExperimentalWarning"];
