/** Runs many seeds in several processes. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { SeedDone, SeedOrder } from "./seed-worker.ts";

/**
 * Every seed once, `jobs` at a time; `onDone` hears of each as it ends, in no order. Rejects when a worker
 * dies, because then a seed did not get its run.
 */
export function runSeeds(
  seeds: readonly number[],
  orderOf: (seed: number) => SeedOrder,
  jobs: number,
  onDone: (done: SeedDone) => void,
): Promise<void> {
  const waiting = [...seeds].reverse();
  const workers = Array.from({ length: Math.min(jobs, seeds.length) }, () => work());
  return Promise.all(workers).then(() => undefined);

  function work(): Promise<void> {
    const child = fork(WORKER, [], {
      execArgv: ["--disable-warning=ExperimentalWarning"],
      serialization: "advanced",
    });
    let running: number | null = null;
    const next = (): void => {
      running = waiting.pop() ?? null;
      if (running === null) child.disconnect();
      else child.send(orderOf(running));
    };
    return new Promise((resolve, reject) => {
      child.on("message", (done: SeedDone) => {
        onDone(done);
        next();
      });
      child.on("error", reject);
      child.on("exit", (code, signal) => {
        if (running === null) resolve();
        else reject(new Error(`the process that ran seed ${running} ended: ${signal ?? code}`));
      });
      next();
    });
  }
}

const WORKER = fileURLToPath(new URL("seed-worker.ts", import.meta.url));
