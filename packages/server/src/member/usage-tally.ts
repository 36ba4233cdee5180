/**
 * Adds up uses of a time: peak, average and seat-hours by key. Pure; the uses come in the order of their
 * starts, and what is kept is one number set a key and the uses that are open at that moment.
 *
 * A session that another server took over is in two journals, and in that of a server that died it may seem
 * to go on: a later start of a session ends the earlier one, so no seat is counted twice.
 */
import type { Usage, UsageRow } from "@quorate/protocol";
import type { JournaledUse } from "../journal/journal.ts";
import { EndsInOrder } from "./ends-in-order.ts";

/** Beyond these the uses of further keys count in the total alone. */
export const USAGE_KEYS_MAX = 100_000;
const HOUR_MS = 3_600_000;

interface Counter {
  uses: number;
  seats: number;
  peakSeats: number;
  seatMs: number;
  denied: number;
}

interface Open {
  readonly use: JournaledUse;
  readonly endMs: number;
  readonly counter: Counter | null;
}

export class UsageTally {
  private readonly fromMs: number;
  private readonly toMs: number;
  private readonly counters = new Map<string, Counter>();
  private readonly total = newCounter();
  private readonly open = new Map<string, Open>();
  private readonly ends = new EndsInOrder<Open>();
  private begun = false;

  constructor(fromMs: number, toMs: number) {
    this.fromMs = fromMs;
    this.toMs = toMs;
  }

  /** In the order of `startMs`. */
  add(use: JournaledUse): void {
    const atMs = use.startMs;
    if (atMs >= this.toMs) return;
    this.advance(atMs);
    if (atMs >= this.fromMs) this.begin();
    const earlier = this.open.get(use.session);
    if (earlier !== undefined) this.close(earlier, atMs);
    const endMs = Math.max(atMs, Math.min(use.endMs ?? this.toMs, this.toMs));
    const opened = { use, endMs, counter: this.counterOf(use.key) };
    this.open.set(use.session, opened);
    this.ends.push(opened);
    for (const counter of [opened.counter, this.total]) {
      if (counter === null) continue;
      if (earlier === undefined) counter.uses += 1;
      counter.seats += use.seats;
      if (this.begun) counter.peakSeats = Math.max(counter.peakSeats, counter.seats);
    }
  }

  deny(key: string, requests: number): void {
    this.total.denied += requests;
    const counter = this.counterOf(key);
    if (counter !== null) counter.denied += requests;
  }

  /** The most used first, at most `limit`. */
  finish(limit: number): { rows: UsageRow[]; total: Usage; keys: number } {
    this.advance(this.fromMs);
    this.begin();
    this.advance(this.toMs);
    const spanMs = Math.max(1, this.toMs - this.fromMs);
    const rows = [...this.counters]
      .map(([key, counter]) => ({ key, ...usageOf(counter, spanMs) }))
      .sort((a, b) => b.seatHours - a.seatHours || b.denied - a.denied || (a.key < b.key ? -1 : 1));
    return {
      rows: rows.slice(0, limit),
      total: usageOf(this.total, spanMs),
      keys: this.counters.size,
    };
  }

  /** From here on the asked time runs: what is open now is the least that the peak can be. */
  private begin(): void {
    if (this.begun) return;
    this.begun = true;
    for (const counter of [...this.counters.values(), this.total])
      counter.peakSeats = counter.seats;
  }

  /** Ends what ends until then, `most` uses at most; false when there are more. */
  advance(toMs: number, most = Number.POSITIVE_INFINITY): boolean {
    for (let ended = 0; ended < most; ended += 1) {
      const first = this.ends.first();
      if (first === undefined || first.endMs > toMs) return true;
      // What is open when the asked time begins is the least that the peak can be.
      if (first.endMs > this.fromMs) this.begin();
      this.ends.shift();
      if (this.open.get(first.use.session) === first) this.close(first, first.endMs);
    }
    return false;
  }

  private close(opened: Open, atMs: number): void {
    this.open.delete(opened.use.session);
    const { seats, startMs } = opened.use;
    const seatMs = seats * Math.max(0, atMs - Math.max(startMs, this.fromMs));
    for (const counter of [opened.counter, this.total]) {
      if (counter === null) continue;
      counter.seats -= seats;
      counter.seatMs += seatMs;
    }
  }

  private counterOf(key: string): Counter | null {
    const known = this.counters.get(key);
    if (known !== undefined) return known;
    if (this.counters.size >= USAGE_KEYS_MAX) return null;
    const counter = newCounter();
    this.counters.set(key, counter);
    return counter;
  }
}

function newCounter(): Counter {
  return { uses: 0, seats: 0, peakSeats: 0, seatMs: 0, denied: 0 };
}

function usageOf(counter: Counter, spanMs: number): Usage {
  const { uses, peakSeats, seatMs, denied } = counter;
  return {
    uses,
    peakSeats,
    averageSeats: rounded(seatMs / spanMs),
    seatHours: rounded(seatMs / HOUR_MS),
    denied,
  };
}

function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
