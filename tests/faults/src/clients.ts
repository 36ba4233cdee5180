/**
 * Programs at work, each with an SDK of its own. Two thirds hold a seat all the time; the others want theirs
 * in waves, when there are half as many free seats as they are: half of the time every seat is taken and
 * people wait, half of the time some are free.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type Authorization, httpWire, nodeClient, nodeTransport } from "@quorate/client/node";
import type { QuorateClient } from "@quorate/client/node";
import { heartbeatMs } from "@quorate/core";
import { nowMs, waitFor } from "@quorate/e2e/wait";
import { LIFE_MS } from "./pool.ts";
import { Recorder } from "./recorder.ts";

const WAVE_MS = 8_000;
const WAIT_FOR_SEAT_MS = 120_000;
const STEADY_WAIT_MS = 60_000;

export function seatsFor(clients: number): number {
  return steadyOf(clients) + Math.floor((clients - steadyOf(clients)) / 2);
}

function steadyOf(clients: number): number {
  return Math.floor((clients * 2) / 3);
}

export class Clients {
  readonly recorder: Recorder;
  /** What checkouts rejected with; none should. */
  readonly failures: string[] = [];
  readonly #clients: QuorateClient[];
  readonly #steady: number;
  readonly #held: Authorization[] = [];
  readonly #waves: Promise<void>[] = [];
  readonly #stop = new AbortController();

  constructor(count: number, seats: number, servers: readonly string[], vendorKey: string) {
    this.recorder = new Recorder("cad", seats);
    this.#steady = seats === count ? count : steadyOf(count);
    this.#clients = Array.from({ length: count }, (_, index) =>
      nodeClient({
        // Each begins at another server and knows them all.
        servers: servers.map((_each, i) => servers[(index + i) % servers.length]!),
        vendorKey,
        releaseOnExit: false,
        holder: { user: `user-${index}`, host: "clients" },
        wire: this.recorder.listen(index, httpWire(nodeTransport())),
      }),
    );
  }

  get steady(): readonly number[] {
    return Array.from({ length: this.#steady }, (_, index) => index);
  }

  async start(): Promise<void> {
    await Promise.all(
      this.#clients.slice(0, this.#steady).map(async (client, index) => {
        // Evenly over a heartbeat's interval: whenever the fault comes, some are about to ask.
        await delay((index / this.#steady) * heartbeatMs(LIFE_MS));
        const options = { feature: "cad", waitMs: STEADY_WAIT_MS };
        const authorization = await client.checkout(options);
        this.recorder.watch(index, authorization);
        this.#held.push(authorization);
      }),
    );
    for (let index = this.#steady; index < this.#clients.length; index += 1) {
      this.#waves.push(this.#comeAndGo(index));
    }
  }

  get heldNow(): number {
    return this.#held.filter(({ held }) => held).length;
  }

  /** Every steady client was served since then and holds its seat. */
  async servedSince(sinceMs: number, timeoutMs: number): Promise<void> {
    await waitFor(
      "every client is served",
      () => {
        const waiting = this.recorder.unserved(this.steady, sinceMs);
        return waiting.length === 0 && this.heldNow === this.#steady;
      },
      timeoutMs,
    );
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#clients.map((client) => client.close()));
    await Promise.all(this.#waves);
  }

  async #comeAndGo(index: number): Promise<void> {
    const client = this.#clients[index]!;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#untilWave(true);
      if (signal.aborted) return;
      try {
        const options = { feature: "cad", waitMs: WAIT_FOR_SEAT_MS, signal };
        const authorization = await client.checkout(options);
        this.recorder.watch(index, authorization);
        await this.#untilWave(false);
        this.recorder.end(authorization);
        await authorization.release();
        this.recorder.rest(index);
      } catch (error) {
        if (!signal.aborted) this.failures.push(String(error));
      }
    }
  }

  async #untilWave(high: boolean): Promise<void> {
    const isHigh = (): boolean => Math.floor(nowMs() / WAVE_MS) % 2 === 0;
    await waitFor("the wave", () => this.#stop.signal.aborted || isHigh() === high, 4 * WAVE_MS);
  }
}
