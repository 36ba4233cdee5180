/**
 * Time that only moves when a test moves it. One timer runs at a time, and every promise it settles has run
 * to its end before the next: the same test gives the same story.
 */
import type { Clocks } from "@quorate/core";
import type { Runtime } from "./ports.ts";

const WALL_START_MS = Date.UTC(2026, 0, 5);
const STEPS_MAX = 1_000_000;

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
}

export class VirtualTime {
  private timers: Timer[] = [];
  private order = 0;
  nowMs = 1_000;

  after(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.nowMs + Math.max(0, ms), order: (this.order += 1), callback };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((each) => each !== timer);
    };
  }

  /** What one process sees of it. Nonces bear its name, so that a failing test can be read. */
  runtime(name: string): Runtime {
    let nonces = 0;
    return {
      clocks: (): Clocks => ({
        monotonicMs: this.nowMs,
        bootMs: this.nowMs,
        wallMs: WALL_START_MS + this.nowMs,
      }),
      after: (ms, callback) => this.after(ms, callback),
      random: () => 0.5,
      nonce: () => `${name}-${(nonces += 1)}`,
    };
  }

  /** Lets everything run that waits for no time. */
  settle(): Promise<void> {
    // A tick that was asked for by a microtask runs when no promise is left to settle.
    return new Promise((resolve) => {
      queueMicrotask(() => {
        process.nextTick(resolve);
      });
    });
  }

  async pass(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    await this.settle();
    while (await this.step(untilMs));
    this.nowMs = untilMs;
  }

  /** Until the condition holds; throws if it does not within `ms`. */
  async until(what: string, condition: () => boolean, ms = 60_000): Promise<void> {
    const untilMs = this.nowMs + ms;
    await this.settle();
    while (!condition()) {
      if (!(await this.step(untilMs))) throw new Error(`not within ${ms} ms: ${what}`);
    }
  }

  /** Until the promise is settled, which it must be within `ms`. */
  async outcome<T>(promise: Promise<T> | T, ms = 60_000): Promise<T> {
    let settled = false;
    const watched = Promise.resolve(promise).finally(() => {
      settled = true;
    });
    watched.catch(() => undefined);
    await this.until("the promise settles", () => settled, ms);
    return watched;
  }

  private async step(untilMs: number): Promise<boolean> {
    let next: Timer | undefined;
    for (const timer of this.timers) {
      if (
        next === undefined ||
        timer.atMs < next.atMs ||
        (timer.atMs === next.atMs && timer.order < next.order)
      ) {
        next = timer;
      }
    }
    if (next === undefined || next.atMs > untilMs) return false;
    if (next.order > STEPS_MAX) throw new Error("the story does not end");
    this.timers = this.timers.filter((each) => each !== next);
    this.nowMs = Math.max(this.nowMs, next.atMs);
    next.callback();
    await this.settle();
    return true;
  }
}
