/**
 * What one client believes, computed from outside: the SDK says when it holds, the wire says since when and
 * for how long the last answer that counts is good. Both must say yes.
 */
import { clientLifeMs, type Clocks } from "@quorate/core";
import type { Granted } from "@quorate/protocol";
import type { Hold } from "./history-check.ts";
import type { VirtualMachine } from "./virtual-machine.ts";

export class Belief {
  readonly client: string;
  readonly feature: string;
  readonly seats: number;
  /** Whether the SDK says at this moment that the program may go on; asked only while it runs. */
  heldBySdk: () => boolean = () => false;
  readonly #machine: VirtualMachine;
  readonly #nowMs: () => number;
  readonly #firstSends = new Map<number, Clocks>();
  #session = "";
  #highest = 0;
  #grant: { readonly since: Clocks; readonly lifeMs: number; readonly member: string } | null =
    null;
  #fromMs: number | null = null;
  #over = false;
  #shared = false;
  /** True time until which the belief is certain, as far as clocks were looked at. */
  #certainUntilMs = 0;

  constructor(
    client: string,
    feature: string,
    seats: number,
    machine: VirtualMachine,
    nowMs: () => number,
  ) {
    this.client = client;
    this.feature = feature;
    this.seats = seats;
    this.#machine = machine;
    this.#nowMs = nowMs;
  }

  session(): string {
    return this.#session;
  }

  /** Another program uses the same session by mistake: nothing is promised to either of them. */
  isShared(): boolean {
    return this.#shared;
  }

  share(): void {
    this.#shared = true;
  }

  member(): string {
    return this.#grant?.member ?? "?";
  }

  sent(session: string, n: number): void {
    if (session !== this.#session) {
      this.#session = session;
      this.#firstSends.clear();
      this.#grant = null;
    }
    this.#highest = Math.max(this.#highest, n);
    if (!this.#firstSends.has(n)) this.#firstSends.set(n, this.#machine.clocks());
    this.#firstSends.delete(n - NUMBERS_KEPT);
  }

  /** The client uses only the answer to its highest `n`. */
  answered(n: number, granted: Granted): void {
    const since = this.#firstSends.get(n);
    if (n !== this.#highest || since === undefined || granted.session !== this.#session) return;
    this.#grant = { since, lifeMs: granted.lifeMs, member: granted.member };
  }

  /** The SDK told the program that it has its seats. A program that gave them up does not listen. */
  began(): void {
    if (!this.#over) this.#fromMs ??= this.#nowMs();
  }

  /** The program gave its seats up for good, or is dead. */
  close(): Hold | null {
    this.#over = true;
    return this.ended();
  }

  /** The program lost its seats and may regain others. Returns the hold that ended. */
  ended(): Hold | null {
    const hold = this.holdUntil(this.#nowMs());
    this.#fromMs = null;
    this.#grant = null;
    return hold;
  }

  /** The clocks that nobody can set; a machine without a boot clock sees its sleep on the wall. */
  leftMs(): number {
    if (this.#grant === null) return 0;
    const { since, lifeMs } = this.#grant;
    const now = this.#machine.clocks();
    const steadyMs = Math.max(now.monotonicMs - since.monotonicMs, now.bootMs - since.bootMs);
    const wallMs = this.#machine.hasBootClock ? 0 : now.wallMs - since.wallMs;
    return clientLifeMs(lifeMs) - Math.max(steadyMs, wallMs);
  }

  believes(): boolean {
    if (this.#fromMs === null || this.leftMs() <= 0) return false;
    this.#certainUntilMs = this.#nowMs();
    return true;
  }

  /** The certain part of the running hold, at most until `nowMs`. */
  holdUntil(nowMs: number): Hold | null {
    if (this.#fromMs === null) return null;
    const toMs = this.leftMs() > 0 ? nowMs : this.#certainUntilMs;
    return { feature: this.feature, seats: this.seats, fromMs: this.#fromMs, toMs };
  }
}

const NUMBERS_KEPT = 20;
