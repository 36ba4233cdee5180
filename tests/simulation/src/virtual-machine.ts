/**
 * A machine with clocks of its own, and the processes on it.
 *
 *   running --pause--> paused (everything is deferred) --resume--> running --crash--> dead (nothing fires)
 *
 * The clocks run up to the drift bound too fast or too slow. While the machine is suspended its monotonic
 * clock stands still, its boot clock (if it has one) and its wall clock go on. A hidden pause stops all of
 * them: no program can notice it.
 */
import type { Clocks } from "@quorate/core";
import type { Runtime } from "./server-parts.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

export class VirtualMachine {
  readonly name: string;
  readonly hasBootClock: boolean;
  readonly #scheduler: Scheduler;
  readonly #rate: number;
  readonly #processes = new Set<VirtualProcess>();
  readonly #startMs: number;
  #wallOffsetMs: number;
  #suspendedMs = 0;
  #hiddenMs = 0;
  #stopped: { readonly kind: "suspend" | "hidden"; readonly sinceMs: number } | null = null;

  constructor(
    name: string,
    scheduler: Scheduler,
    options: {
      readonly rate: number;
      readonly wallOffsetMs: number;
      readonly upMs: number;
      readonly hasBootClock: boolean;
    },
  ) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#rate = options.rate;
    this.#wallOffsetMs = WALL_START_MS + options.wallOffsetMs;
    this.#startMs = scheduler.nowMs() - options.upMs;
    this.hasBootClock = options.hasBootClock;
  }

  clocks(): Clocks {
    const nowMs = this.#scheduler.nowMs();
    const stoppedMs = this.#stopped === null ? 0 : nowMs - this.#stopped.sinceMs;
    const hiddenMs = this.#hiddenMs + (this.#stopped?.kind === "hidden" ? stoppedMs : 0);
    const suspendedMs = this.#suspendedMs + (this.#stopped?.kind === "suspend" ? stoppedMs : 0);
    const upMs = (nowMs - this.#startMs - hiddenMs) * this.#rate;
    const monotonicMs = upMs - suspendedMs * this.#rate;
    return {
      monotonicMs,
      bootMs: this.hasBootClock ? upMs : monotonicMs,
      wallMs: this.#wallOffsetMs + upMs,
    };
  }

  /** For the world around; no program may know it. */
  trueMs(): number {
    return this.#scheduler.nowMs();
  }

  rate(): number {
    return this.#rate;
  }

  setWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Stops every process for `ms` of true time. False if the machine is stopped already. */
  stop(kind: "suspend" | "hidden", ms: number): boolean {
    if (this.#stopped !== null) return false;
    this.#stopped = { kind, sinceMs: this.#scheduler.nowMs() };
    this.#scheduler.after(ms, () => this.#goOn());
    return true;
  }

  isStopped(): boolean {
    return this.#stopped !== null;
  }

  start(name: string, random: Random): VirtualProcess {
    const process = new VirtualProcess(name, this, this.#scheduler, random);
    this.#processes.add(process);
    process.onEnd(() => this.#processes.delete(process));
    return process;
  }

  #goOn(): void {
    const stopped = this.#stopped;
    if (stopped === null) return;
    const ms = this.#scheduler.nowMs() - stopped.sinceMs;
    if (stopped.kind === "hidden") this.#hiddenMs += ms;
    else this.#suspendedMs += ms;
    this.#stopped = null;
    for (const process of this.#processes) process.catchUp();
  }
}

const WALL_START_MS = Date.UTC(2026, 0, 5);

/** One run of a program: what was asked for by it reaches nobody after its end. */
export class VirtualProcess {
  readonly name: string;
  readonly machine: VirtualMachine;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #endListeners: (() => void)[] = [];
  readonly #deferred: { readonly callback: () => void; readonly mayOvertake: boolean }[] = [];
  #alive = true;
  #paused = false;

  constructor(name: string, machine: VirtualMachine, scheduler: Scheduler, random: Random) {
    this.name = name;
    this.machine = machine;
    this.#scheduler = scheduler;
    this.#random = random;
  }

  isAlive(): boolean {
    return this.#alive;
  }

  /** Alive and neither itself nor its machine is stopped. */
  isRunning(): boolean {
    return this.#alive && !this.#paused && !this.machine.isStopped();
  }

  crash(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#deferred.length = 0;
    for (const listener of this.#endListeners) listener();
  }

  /** For parts of the world that act for this process and must stop with it. */
  onEnd(listener: () => void): void {
    this.#endListeners.push(listener);
  }

  /** SIGSTOP: nothing runs, all clocks go on. False if it is stopped or dead already. */
  pause(ms: number): boolean {
    if (!this.#alive || this.#paused) return false;
    this.#paused = true;
    this.#scheduler.after(ms, () => {
      this.#paused = false;
      this.catchUp();
    });
    return true;
  }

  /**
   * Runs `callback` inside this process after `delayMs` of true time: when it is stopped, later; when it
   * is dead, never. What `mayOvertake` (messages) can come in another order after a stop.
   */
  deliver(delayMs: number, callback: () => void, mayOvertake = false): () => void {
    const event = this.#scheduler.after(delayMs, () => this.#arrive(callback, mayOvertake));
    return () => event.cancel();
  }

  runtime(): Runtime {
    return {
      clocks: () => this.machine.clocks(),
      after: (ms, callback) => this.#timer(ms, callback),
      random: () => this.#random.next(),
      nonce: () => this.#random.text(),
    };
  }

  catchUp(): void {
    if (!this.isRunning()) return;
    for (const { callback, mayOvertake } of this.#deferred.splice(0)) {
      const laterMs = mayOvertake ? this.#random.between(0, OVERTAKE_MS_MAX) : 0;
      this.#scheduler.after(laterMs, () => this.#arrive(callback, mayOvertake));
    }
  }

  #arrive(callback: () => void, mayOvertake: boolean): void {
    if (!this.#alive) return;
    if (this.isRunning()) callback();
    else this.#deferred.push({ callback, mayOvertake });
  }

  /** A timer of Node: on the monotonic clock, never early, a little late. */
  #timer(ms: number, callback: () => void): () => void {
    if (!this.#alive) return () => {};
    const dueMs = this.machine.clocks().monotonicMs + Math.max(ms, TIMER_MS_MIN);
    let cancelled = false;
    let cancelDelivery = (): void => {};
    const wait = (): void => {
      const leftMs = dueMs - this.machine.clocks().monotonicMs;
      const lateMs = this.#random.between(0, TIMER_LATE_MS_MAX);
      cancelDelivery = this.deliver(leftMs / this.machine.rate() + lateMs, () => {
        if (cancelled) return;
        if (this.machine.clocks().monotonicMs < dueMs) wait();
        else callback();
      });
    };
    wait();
    return () => {
      cancelled = true;
      cancelDelivery();
    };
  }
}

const OVERTAKE_MS_MAX = 2;
const TIMER_MS_MIN = 1;
const TIMER_LATE_MS_MAX = 3;
