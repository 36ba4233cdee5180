/** Use of a feature over time, collected since the page was opened: finer than the history, and at hand at once. */
import type { FeatureRow } from "@quorate/protocol";

interface Sample {
  readonly atMs: number;
  readonly inUse: number;
  readonly queued: number;
  readonly seats: number;
}

export interface Usage {
  readonly samples: readonly Sample[];
  readonly peak: number;
  readonly peakAtMs: number;
}

/** At one every two seconds, an hour in full; what is older is thinned out. */
const SAMPLES_MAX = 1_800;
const PACE_WINDOW_MS = 10 * 60_000;
/** Less than this is no pace, only a moment. */
const PACE_LEAST_MS = 90_000;
const PACE_SAMPLES_MIN = 20;
/** What is further away than this is not worth a word. */
const FULL_MS_MAX = 4 * 3_600_000;

export function addSample(usage: Usage | undefined, row: FeatureRow, atMs: number): Usage {
  const sample: Sample = {
    atMs,
    inUse: row.inUse,
    queued: row.queued,
    seats: row.seats + row.overdraft,
  };
  if (usage === undefined) return { samples: [sample], peak: row.inUse, peakAtMs: atMs };
  const samples = [...usage.samples, sample];
  const isPeak = row.inUse >= usage.peak;
  return {
    samples: samples.length > SAMPLES_MAX ? thinned(samples) : samples,
    peak: isPeak ? row.inUse : usage.peak,
    peakAtMs: row.inUse > usage.peak ? atMs : usage.peakAtMs,
  };
}

/** Milliseconds until no seat is free at the pace of the last minutes; null when that is not in sight. */
export function whenFull(usage: Usage | undefined, free: number, nowMs: number): number | null {
  const recent = usage?.samples.filter((each) => each.atMs >= nowMs - PACE_WINDOW_MS) ?? [];
  const [first] = recent;
  const last = recent.at(-1);
  if (first === undefined || last === undefined || recent.length < PACE_SAMPLES_MIN) return null;
  if (last.atMs - first.atMs < PACE_LEAST_MS) return null;
  const slope = slopeOf(recent);
  // Half a seat in the whole window is noise.
  if (slope * (last.atMs - first.atMs) < 0.5) return null;
  const ms = free / slope;
  return ms > FULL_MS_MAX ? null : ms;
}

/** Least squares, in seats per millisecond. */
function slopeOf(samples: readonly Sample[]): number {
  const meanAt = samples.reduce((total, each) => total + each.atMs, 0) / samples.length;
  const meanUse = samples.reduce((total, each) => total + each.inUse, 0) / samples.length;
  let above = 0;
  let below = 0;
  for (const { atMs, inUse } of samples) {
    above += (atMs - meanAt) * (inUse - meanUse);
    below += (atMs - meanAt) ** 2;
  }
  return below === 0 ? 0 : above / below;
}

/** The older half at half the density; of two, the one with more in use stays, so that peaks do. */
function thinned(samples: readonly Sample[]): Sample[] {
  const half = Math.floor(samples.length / 2);
  const kept: Sample[] = [];
  for (let index = 0; index + 1 < half; index += 2) {
    const [a, b] = [samples[index], samples[index + 1]];
    if (a !== undefined && b !== undefined) kept.push(a.inUse >= b.inUse ? a : b);
  }
  return [...kept, ...samples.slice(half - (half % 2))];
}
