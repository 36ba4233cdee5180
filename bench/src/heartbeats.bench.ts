/** Heartbeats: over HTTP beside an echo, and what one costs with a thousand times more sessions. */
import { count, type Figure, tell } from "./figures.ts";
import type { HeartbeatCost } from "./heartbeat-cost.ts";
import { ask, programPath, SERVER_CORE, spawnPinned, stopProcess } from "./pinned.ts";
import { type BenchOptions, throughput } from "./throughput.ts";

const HELD = 1_000;
const FEW_SESSIONS = 1_000;
const MANY_SESSIONS = 1_000_000;
/** It must not grow with the sessions; so much is left for memory that is further away than a cache. */
const COST_RATIO_MAX = 1.5;

export async function benchHeartbeats(options: BenchOptions): Promise<Figure[]> {
  const overHttp = await throughput("heartbeats", "heartbeats over HTTP", HELD, 0.8, options);
  return [...overHttp, await costFigure()];
}

async function costFigure(): Promise<Figure> {
  tell(`heartbeats: making ${count(MANY_SESSIONS)} sessions in one process`);
  const child = spawnPinned(SERVER_CORE, [programPath("heartbeat-cost.ts")]);
  try {
    const cost = await ask<HeartbeatCost>(child, { few: FEW_SESSIONS, many: MANY_SESSIONS });
    return {
      name: `one heartbeat at a member with ${count(MANY_SESSIONS)} sessions`,
      measured: `${cost.manyUs.toFixed(2)} µs`,
      baseline: `with ${count(FEW_SESSIONS)} sessions ${cost.fewUs.toFixed(2)} µs`,
      ratio: cost.ratio.toFixed(2),
      target: `≤ ${COST_RATIO_MAX}`,
      met: cost.ratio <= COST_RATIO_MAX,
    };
  } finally {
    await stopProcess(child);
  }
}
