/**
 * Adds up uses over time: peak, average and refused requests of each step. Pure; the uses come in the order of
 * their starts, and what is kept is three numbers a step and the uses that are open at that moment. However
 * many steps a use covers, it costs two moves: the time goes on once, from step to step.
 *
 * As in a tally, a later start of a session ends the earlier one: no seat is counted twice.
 */
import type { UsageStep } from "@quorate/protocol";
import type { JournaledUse } from "../journal/journal.ts";
import { EndsInOrder } from "./ends-in-order.ts";

interface Open {
  readonly session: string;
  readonly seats: number;
  readonly endMs: number;
}

interface Step {
  peakSeats: number;
  seatMs: number;
  denied: number;
}

export class UsageSeries {
  private readonly fromMs: number;
  private readonly toMs: number;
  private readonly stepMs: number;
  private readonly steps: Step[];
  private readonly open = new Map<string, Open>();
  private readonly ends = new EndsInOrder<Open>();
  private seats = 0;
  /** Everything before it is added up. */
  private atMs: number;

  constructor(fromMs: number, toMs: number, stepMs: number) {
    this.fromMs = fromMs;
    this.toMs = toMs;
    this.stepMs = stepMs;
    this.atMs = fromMs;
    this.steps = Array.from({ length: Math.ceil((toMs - fromMs) / stepMs) }, () => ({
      peakSeats: 0,
      seatMs: 0,
      denied: 0,
    }));
  }

  /** In the order of `startMs`. */
  add(use: JournaledUse): void {
    const { session, seats, startMs } = use;
    if (startMs >= this.toMs) return;
    this.advance(startMs);
    this.goOn(startMs);
    const earlier = this.open.get(session);
    if (earlier !== undefined) this.seats -= earlier.seats;
    const endMs = Math.max(startMs, Math.min(use.endMs ?? this.toMs, this.toMs));
    const opened = { session, seats, endMs };
    this.open.set(session, opened);
    this.ends.push(opened);
    this.seats += seats;
    if (startMs >= this.fromMs) this.peak(startMs);
  }

  /** `step`: its number, as text, as the journals count. */
  deny(step: string, requests: number): void {
    const found = this.steps[Number(step)];
    if (found !== undefined) found.denied += requests;
  }

  /** Ends what ends until then, `most` uses at most; false when there are more. */
  advance(toMs: number, most = Number.POSITIVE_INFINITY): boolean {
    for (let ended = 0; ended < most; ended += 1) {
      const first = this.ends.first();
      if (first === undefined || first.endMs > toMs) return true;
      this.ends.shift();
      if (this.open.get(first.session) !== first) continue;
      this.goOn(first.endMs);
      this.open.delete(first.session);
      this.seats -= first.seats;
    }
    return false;
  }

  finish(): UsageStep[] {
    this.advance(this.toMs);
    this.goOn(this.toMs);
    return this.steps.map(({ peakSeats, seatMs, denied }, index) => {
      const beginMs = this.fromMs + index * this.stepMs;
      const spanMs = Math.min(this.stepMs, this.toMs - beginMs);
      return {
        at: new Date(beginMs).toISOString(),
        peakSeats,
        averageSeats: Math.round((1_000 * seatMs) / spanMs) / 1_000,
        denied,
      };
    });
  }

  /** The seats that are in use now were so until then. */
  private goOn(toMs: number): void {
    const untilMs = Math.min(toMs, this.toMs);
    while (this.atMs < untilMs) {
      const number = this.numberAt(this.atMs);
      const step = this.steps[number];
      if (step === undefined) return;
      const endMs = Math.min(this.fromMs + (number + 1) * this.stepMs, untilMs);
      step.seatMs += this.seats * (endMs - this.atMs);
      step.peakSeats = Math.max(step.peakSeats, this.seats);
      this.atMs = endMs;
    }
  }

  private peak(atMs: number): void {
    const step = this.steps[this.numberAt(atMs)];
    if (step !== undefined) step.peakSeats = Math.max(step.peakSeats, this.seats);
  }

  private numberAt(atMs: number): number {
    return Math.floor((atMs - this.fromMs) / this.stepMs);
  }
}
