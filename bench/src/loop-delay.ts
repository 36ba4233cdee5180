/**
 * How long a server's event loop was blocked, as the server itself says in `/metrics`
 * (`nodejs_eventloop_lag_…`, perf_hooks.monitorEventLoopDelay). Each reading covers the time since the last.
 */
import type { Figure } from "./figures.ts";
import { milliseconds } from "./figures.ts";

/** The monitor's timer fires this often; what it says includes it. */
const RESOLUTION_MS = 10;
/** "A few milliseconds". */
const BLOCKED_MS_MAX = 10;

export interface LoopDelay {
  readonly p99Ms: number;
  readonly maxMs: number;
}

export async function readLoopDelay(url: string): Promise<LoopDelay> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const value = (name: string): number => {
    const match = new RegExp(`^nodejs_eventloop_lag_${name}_seconds (\\S+)$`, "m").exec(text);
    if (match === null)
      throw new Error(`/metrics does not say the ${name} of the event loop's lag`);
    return Math.max(0, Number(match[1]) * 1_000 - RESOLUTION_MS);
  };
  return { p99Ms: value("p99"), maxMs: value("max") };
}

export function loopDelayFigure(during: string, readings: readonly LoopDelay[]): Figure {
  const p99Ms = Math.max(...readings.map((each) => each.p99Ms));
  const maxMs = Math.max(...readings.map((each) => each.maxMs));
  return {
    name: `event loop blocked during ${during}`,
    measured: `p99 ${milliseconds(p99Ms)}, max ${milliseconds(maxMs)}`,
    baseline: "–",
    ratio: "–",
    target: `p99 ≤ ${BLOCKED_MS_MAX} ms`,
    met: p99Ms <= BLOCKED_MS_MAX,
  };
}
