/**
 * Processor time of a process, all its threads together, as Linux counts it. Other programs on the machine
 * take time from a server but not from this count: on a busy machine it says more than the rate.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Microseconds since the process began; null where there is no /proc. */
export function processorTimeUs(pid: number | undefined): number | null {
  if (process.platform !== "linux" || pid === undefined) return null;
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [onCore] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ", 1);
    nanoseconds += Number(onCore);
  }
  return nanoseconds / 1_000;
}
