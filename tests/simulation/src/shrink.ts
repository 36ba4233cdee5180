/**
 * Makes a failing story short: the shortest prefix, the fewest faults and the fewest clients with which the
 * same promise is still broken. Delta debugging: leave out halves, then quarters, down to single ones.
 *
 * Every fault and every client has dice of its own, so leaving one out moves none of the others; still the
 * story goes on differently, so a try may fail to fail. The time is bounded: what was found by then is told.
 */
import { simulate, type SimulationOptions, type SimulationResult } from "./simulation.ts";

export interface Shrunken {
  readonly options: SimulationOptions;
  readonly result: SimulationResult;
  readonly runs: number;
  /** The story as lines, without the writes that only renew a member's record. */
  readonly story: readonly string[];
}

/** Null when the failure did not repeat, which itself is a failure of the simulator. */
export async function shrink(
  options: SimulationOptions,
  failed: SimulationResult,
  timeMs: number,
): Promise<Shrunken | null> {
  const untilMs = performance.now() + timeMs;
  const rule = ruleOf(failed);
  let best = { options, result: failed };
  let runs = 0;
  const attempt = async (changed: Partial<SimulationOptions>): Promise<boolean> => {
    if (performance.now() > untilMs) return false;
    runs += 1;
    const next = { ...best.options, ...changed, print: null };
    const result = await simulate(next);
    if (ruleOf(result) !== rule) return false;
    // What comes after the violation, or does not happen any more, is of no interest.
    const happened = new Set(result.happened);
    best = {
      options: {
        ...next,
        steps: Math.min(next.steps, result.steps),
        ...(next.onlyFaults === undefined || next.onlyFaults === null
          ? {}
          : { onlyFaults: next.onlyFaults.filter((name) => happened.has(name)) }),
      },
      result,
    };
    return true;
  };

  if (!(await attempt({}))) return null;
  await attempt({ steps: best.result.steps, minutes: null });
  await attempt({ onlyFaults: best.result.happened });
  await attempt({ onlyClients: best.result.clients });
  for (let before = Infinity; sizeOf(best.options) < before;) {
    before = sizeOf(best.options);
    await reduce(
      () => best.options.onlyFaults ?? [],
      (onlyFaults) => attempt({ onlyFaults }),
    );
    await reduce(
      () => best.options.onlyClients ?? [],
      (onlyClients) => attempt({ onlyClients }),
    );
    // A promise that is broken at the end may be so after less, too.
    for (const share of [0.25, 0.5, 0.75]) {
      const { steps } = best.options;
      if (Number.isFinite(steps) && (await attempt({ steps: Math.floor(steps * share) }))) break;
    }
  }

  const story: string[] = [];
  const print = (line: string): void => {
    if (!MERE_RENEWAL.test(line)) story.push(line);
  };
  const result = await simulate({ ...best.options, print });
  return { options: best.options, result, runs, story };
}

/** Leaves out ever smaller parts of a list, as long as `attempt` says that the failure is still there. */
export async function reduce(
  list: () => readonly string[],
  attempt: (kept: readonly string[]) => Promise<boolean>,
): Promise<void> {
  for (
    let size = Math.ceil(list().length / 2);
    size >= 1;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let from = 0; from < list().length;) {
      const kept = list().filter((_, index) => index < from || index >= from + size);
      // After a success the next part has moved to the same place.
      if (!(await attempt(kept))) from += size;
    }
  }
}

/** "I1" of "I1: 3 seats of cad are held ..." */
function ruleOf({ violation }: SimulationResult): string | null {
  return violation?.split(":")[0] ?? null;
}

function sizeOf({ onlyFaults, onlyClients, steps }: SimulationOptions): number {
  return (
    (onlyFaults?.length ?? 0) +
    (onlyClients?.length ?? 0) +
    (Number.isFinite(steps) ? steps / 1e9 : 1)
  );
}

const MERE_RENEWAL = /writes \d+ member\/\w+$/;
