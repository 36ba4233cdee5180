/** A load generator on its core and an echo on the server's: what both throughput measurements need. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { tell } from "./figures.ts";
import type { LoadAnswer, LoadTask } from "./load-generator.ts";
import { ask, LOAD_CORE, programPath, SERVER_CORE, spawnPinned, stopProcess } from "./pinned.ts";

export class LoadGenerator implements AsyncDisposable {
  readonly #child: ChildProcess = spawnPinned(LOAD_CORE, [programPath("load-generator.ts")]);

  /** Refusals are told: a rate with many of them means nothing. */
  async run(task: LoadTask): Promise<LoadAnswer> {
    const answer = await ask<LoadAnswer>(this.#child, task);
    for (const [status, times] of answer.refusals) {
      tell(`${task.task}: ${times} answers were ${status}`);
    }
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopProcess(this.#child);
  }
}

export class Echo implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.process = child;
    this.port = port;
  }

  static async start(): Promise<Echo> {
    const child = spawnPinned(SERVER_CORE, [programPath("echo-server.ts")]);
    const [port] = (await once(child, "message")) as [number];
    return new Echo(child, port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopProcess(this.process);
  }
}
