/**
 * Delivers calls between clients and members, and the trips to the store.
 *
 * A call is a request and an answer, each with a delay of its own, and each can be lost: when the answer is
 * lost the request was still handled. Requests can come twice and overtake each other. A partition is one
 * way. When the deadline of the caller passes on its own clock, it gets null.
 */
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { VirtualProcess } from "./virtual-machine.ts";

/** A program that answers calls. */
export interface Host<Api> {
  /** Null while nothing listens at the address. */
  listening(): { readonly process: VirtualProcess; readonly api: Api } | null;
  readonly machine: string;
}

export interface Weather {
  lossShare: number;
  duplicateShare: number;
  /** How much later than the first the second copy is sent, at most. */
  duplicateLateMsMax: number;
  slowShare: number;
  slowMsMax: number;
}

export const FAIR_WEATHER: Readonly<Weather> = {
  lossShare: 0,
  duplicateShare: 0,
  duplicateLateMsMax: 0,
  slowShare: 0,
  slowMsMax: 0,
};

export class VirtualNetwork {
  readonly weather: Weather = { ...FAIR_WEATHER };
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #onThrown: (error: unknown) => void;
  readonly #cut = new Map<string, number>();
  readonly lost = { requests: 0, answers: 0, duplicates: 0, cut: 0, slow: 0 };

  /** `onThrown` hears of exceptions of the called program, which the caller sees as no answer. */
  constructor(scheduler: Scheduler, random: Random, onThrown: (error: unknown) => void) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#onThrown = onThrown;
  }

  /** Messages from one machine to another get lost for `ms`; the other way stays as it is. */
  cut(from: string, to: string, ms: number): void {
    const link = `${from}>${to}`;
    const untilMs = this.#scheduler.nowMs() + ms;
    this.#cut.set(link, Math.max(untilMs, this.#cut.get(link) ?? 0));
  }

  /** Mends every cut whose two ends are in `machines`. */
  heal(machines: (name: string) => boolean): void {
    for (const link of this.#cut.keys()) {
      const [from, to] = link.split(">");
      if (machines(from ?? "") && machines(to ?? "")) this.#cut.delete(link);
    }
  }

  /** How long one message travels, or null if it gets lost. */
  trip(from: string, to: string): number | null {
    if ((this.#cut.get(`${from}>${to}`) ?? 0) > this.#scheduler.nowMs()) {
      this.lost.cut += 1;
      return null;
    }
    if (this.#random.chance(this.weather.lossShare)) return null;
    return this.#delay();
  }

  /**
   * Resolves with what `handle` answered, or null. `handle` runs in the called process; what it gets and
   * what it returns must be plain values, because they are copied on the way.
   */
  call<Api, Result>(
    caller: VirtualProcess,
    host: Host<Api> | null,
    handle: (api: Api) => Result | Promise<Result>,
    deadlineMs: number,
    /** What a caller learns when nobody listens there: then the call was certainly not taken. */
    notReached: Result | null = null,
  ): Promise<Result | null> {
    return new Promise((resolve) => {
      if (!caller.isAlive()) return;
      const cancelDeadline = caller.runtime().after(deadlineMs, () => resolve(null));
      const answer = (result: Result | null): void => {
        cancelDeadline();
        resolve(result);
      };
      if (host === null) {
        caller.deliver(0, () => answer(notReached));
        return;
      }
      const copies = this.#random.chance(this.weather.duplicateShare) ? 2 : 1;
      // Of two copies one may be refused although the other was taken.
      const refused = copies === 1 ? notReached : null;
      this.#send(caller, host, handle, answer, refused);
      if (copies === 1) return;
      this.lost.duplicates += 1;
      const laterMs = this.#random.between(0, this.weather.duplicateLateMsMax);
      this.#scheduler.after(laterMs, () => this.#send(caller, host, handle, answer, refused));
    });
  }

  #send<Api, Result>(
    caller: VirtualProcess,
    host: Host<Api>,
    handle: (api: Api) => Result | Promise<Result>,
    answer: (result: Result | null) => void,
    notReached: Result | null,
  ): void {
    const here = caller.machine.name;
    const there = this.trip(here, host.machine);
    if (there === null) {
      this.lost.requests += 1;
      return;
    }
    const reply = (result: Result | null): void => {
      const back = this.trip(host.machine, here);
      if (back === null) {
        this.lost.answers += 1;
        return;
      }
      const copied = copyOf(result);
      caller.deliver(back, () => answer(copied), true);
    };
    this.#scheduler.after(there, () => {
      const listening = host.listening();
      // The machine refuses the connection: the caller learns it at once.
      if (listening === null) {
        reply(notReached);
        return;
      }
      listening.process.deliver(
        0,
        () => {
          const handled = (async () => handle(listening.api))();
          handled.then(reply, (error: unknown) => {
            this.#onThrown(error);
            reply(null);
          });
        },
        true,
      );
    });
  }

  #delay(): number {
    const usualMs = this.#random.between(TRIP_MS_MIN, TRIP_MS_MAX);
    if (!this.#random.chance(this.weather.slowShare)) return usualMs;
    this.lost.slow += 1;
    return usualMs + this.#random.between(0, this.weather.slowMsMax);
  }
}

/** Values cross machines as text. */
export function copyOf<T>(value: T): T {
  if (value === undefined) return value;
  const copy: T = JSON.parse(JSON.stringify(value));
  return copy;
}

const TRIP_MS_MIN = 0.2;
const TRIP_MS_MAX = 3;
