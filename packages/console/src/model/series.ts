/** Use over time as it is asked of the servers and drawn: which stretch, in which steps, and what it says. */
import type { UsageSeriesAnswer } from "@quorate/protocol";
import { plural } from "./pool-words.ts";
import type { Usage } from "./usage.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

export const STRETCHES = ["hour", "day", "month"] as const;
export type Stretch = (typeof STRETCHES)[number];

interface Shape {
  readonly spanMs: number;
  readonly stepMs: number;
  /** How often it is asked anew: a step is never much older than its width. */
  readonly renewMs: number;
}

export const SHAPES: Readonly<Record<Stretch, Shape>> = {
  hour: { spanMs: HOUR_MS, stepMs: MINUTE_MS, renewMs: 20_000 },
  day: { spanMs: DAY_MS, stepMs: 15 * MINUTE_MS, renewMs: 60_000 },
  month: { spanMs: 30 * DAY_MS, stepMs: 6 * HOUR_MS, renewMs: 10 * MINUTE_MS },
};

/** Steps begin where clocks on the wall have round numbers, so that two looks can be compared. */
export function beginOf(stretch: Stretch, nowMs: number): number {
  const { spanMs, stepMs } = SHAPES[stretch];
  const beginMs = nowMs - spanMs;
  const aheadMs = -new Date(beginMs).getTimezoneOffset() * MINUTE_MS;
  return Math.floor((beginMs + aheadMs) / stepMs) * stepMs - aheadMs;
}

/** What a chart draws; the lists have one length. */
export interface Drawing {
  /** Milliseconds; each value holds from its time to the next one. */
  readonly times: readonly number[];
  readonly peaks: readonly number[];
  /** Null: not known, because what is drawn are moments. */
  readonly averages: readonly number[] | null;
  readonly seats: readonly number[];
  /** Denied requests; null: not known. */
  readonly denied: readonly number[] | null;
  readonly peak: number;
  readonly untilMs: number;
}

export function drawingOfSeries(answer: UsageSeriesAnswer, seats: number): Drawing {
  const { steps } = answer;
  return {
    times: steps.map((step) => Date.parse(step.at)),
    peaks: steps.map((step) => step.peakSeats),
    averages: steps.map((step) => step.averageSeats),
    seats: steps.map(() => seats),
    denied: steps.map((step) => step.denied),
    peak: Math.max(0, ...steps.map((step) => step.peakSeats)),
    untilMs: Date.parse(answer.to),
  };
}

/** What the page has seen since it was opened. */
export function drawingOfUsage({ samples, peak }: Usage): Drawing {
  return {
    times: samples.map((each) => each.atMs),
    peaks: samples.map((each) => each.inUse),
    averages: null,
    seats: samples.map((each) => each.seats),
    denied: null,
    peak,
    untilMs: samples.at(-1)?.atMs ?? 0,
  };
}

/** In a sentence, for who does not see the picture. */
export function seriesWords(
  drawing: Drawing,
  now: { readonly inUse: number; readonly seats: number },
  stretch: string,
): string {
  const { peak, averages, denied } = drawing;
  const mean =
    averages === null || averages.length === 0
      ? null
      : averages.reduce((sum, each) => sum + each, 0) / averages.length;
  const refused = denied?.reduce((sum, each) => sum + each, 0) ?? null;
  return [
    `${now.inUse} of ${now.seats} seats in use now`,
    `at most ${peak} ${stretch}`,
    ...(mean === null ? [] : [`${mean.toFixed(1)} on average`]),
    ...(refused === null ? [] : [`${plural(refused, "request")} denied`]),
  ].join(", ");
}
