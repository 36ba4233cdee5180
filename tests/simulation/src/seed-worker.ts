/** One process of the runner: is told a seed, runs it, answers with what happened, and so on. */
import { simulate, type SimulationOptions, type SimulationResult } from "./simulation.ts";

export interface SeedOrder {
  readonly options: Omit<SimulationOptions, "print" | "plant">;
  readonly twice: boolean;
}

export interface SeedDone {
  readonly result: SimulationResult;
  /** Time of one processor. */
  readonly tookMs: number;
}

/** Runs one seed, or twice, when the stories must be the same byte by byte. */
export async function runSeed(options: SimulationOptions, twice: boolean): Promise<SeedDone> {
  const before = process.cpuUsage();
  const result = await simulate(options);
  const { user, system } = process.cpuUsage(before);
  const tookMs = (user + system) / 1_000;
  if (!twice) return { result, tookMs };
  const again = await simulate({ ...options, print: null });
  if (again.digest === result.digest) return { result, tookMs };
  const violation = `not deterministic: ${result.digest}, then ${again.digest}`;
  return { result: { ...result, violation }, tookMs };
}

if (process.send !== undefined) {
  process.on("message", (order: SeedOrder) => {
    void runSeed({ ...order.options, print: null }, order.twice).then((done) => {
      // The end of a story is printed by a run of its own.
      process.send?.({ ...done, result: { ...done.result, last: [] } } satisfies SeedDone);
    });
  });
}
