/** A load generator on its core and an echo on the server's: what both throughput measurements need. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { tell } from "./figures.ts";
import type { LoadAnswer, LoadTask } from "./load-generator.ts";
import { ask, LOAD_CORE, programPath, SERVER_CORE, spawnPinned, stopProcess } from "./pinned.ts";

export class LoadGenerator implements AsyncDisposable {
  readonly #child: ChildProcess = spawnPinned(LOAD_CORE, [programPath("load-generator.ts")]);

  /** Answers a second. Refusals are told: a rate with many of them means nothing. */
  async rate(task: LoadTask): Promise<number> {
    const { answers, seconds, refusals } = await ask<LoadAnswer>(this.#child, task);
    for (const [status, times] of refusals) tell(`${task.task}: ${times} answers were ${status}`);
    return answers / seconds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopProcess(this.#child);
  }
}

export class Echo implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(): Promise<Echo> {
    const child = spawnPinned(SERVER_CORE, [programPath("echo-server.ts")]);
    const [port] = (await once(child, "message")) as [number];
    return new Echo(child, port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopProcess(this.#child);
  }
}
