/** Heartbeats: over HTTP beside an echo, and what one costs with a thousand times more sessions. */
import { count, type Figure, tell } from "./figures.ts";
import type { HeartbeatCost } from "./heartbeat-cost.ts";
import { LoadGenerator } from "./load.ts";
import { ask, programPath, SERVER_CORE, spawnPinned, stopProcess } from "./pinned.ts";
import { type BenchPool, openPool } from "./pool.ts";
import { processorTimeUs } from "./processor-time.ts";
import { alternate } from "./statistics.ts";
import { type BenchOptions, throughput } from "./throughput.ts";

const HELD = 1_000;
const FEW_SESSIONS = 1_000;
const MANY_SESSIONS = 1_000_000;
/** It must not grow with the sessions; so much is left for memory that is further away than a cache. */
const COST_RATIO_MAX = 1.25;
const ROUNDS = 5;
/** Nothing ends while a million are made. */
const LIFE_MS = 3_600_000;

export async function benchHeartbeats(options: BenchOptions): Promise<Figure[]> {
  const overHttp = await throughput("heartbeats", "heartbeats over HTTP", HELD, 0.8, options);
  return [...overHttp, ...(await growthFigures(options)), await costFigure()];
}

/** Two servers in turn: what a heartbeat costs the one that holds a thousand sessions, and the one that holds a million. */
async function growthFigures({ seconds, nodeFlags }: BenchOptions): Promise<Figure[]> {
  const shared = { members: 1, seats: MANY_SESSIONS, lifeMs: LIFE_MS, nodeFlags };
  const pools: BenchPool[] = [];
  const generators: LoadGenerator[] = [];
  try {
    const held = async (sessions: number): Promise<() => Promise<number>> => {
      tell(`heartbeats: checking out ${count(sessions)} sessions`);
      const pool = await openPool(shared);
      pools.push(pool);
      const [server] = pool.servers;
      const generator = new LoadGenerator();
      generators.push(generator);
      await generator.run({ task: "hold", port: server.port, sessions });
      return async () => {
        const before = processorTimeUs(server.process.pid) ?? 0;
        const { answers } = await generator.run({ task: "heartbeats", port: server.port, seconds });
        return ((processorTimeUs(server.process.pid) ?? 0) - before) / answers;
      };
    };
    try {
      const [few, many] = [await held(FEW_SESSIONS), await held(MANY_SESSIONS)];
      await few();
      await many();
      const { baseline, candidate, ratio } = await alternate(ROUNDS, few, many);
      return [
        {
          name: `processor time of a heartbeat over HTTP, ${count(MANY_SESSIONS)} sessions`,
          measured: `${candidate.toFixed(1)} µs`,
          baseline: `with ${count(FEW_SESSIONS)} sessions ${baseline.toFixed(1)} µs`,
          ratio: ratio.toFixed(2),
          target: `≤ ${COST_RATIO_MAX}`,
          met: ratio <= COST_RATIO_MAX,
        },
      ];
    } finally {
      for (const generator of generators) await generator[Symbol.asyncDispose]();
    }
  } finally {
    for (const pool of pools) await pool.close();
  }
}

async function costFigure(): Promise<Figure> {
  tell(`heartbeats: making ${count(MANY_SESSIONS)} sessions in one process`);
  const child = spawnPinned(SERVER_CORE, [programPath("heartbeat-cost.ts")]);
  try {
    const cost = await ask<HeartbeatCost>(child, { few: FEW_SESSIONS, many: MANY_SESSIONS });
    return {
      name: `the member's part of it alone, ${count(MANY_SESSIONS)} sessions`,
      measured: `${cost.manyUs.toFixed(2)} µs`,
      baseline: `with ${count(FEW_SESSIONS)} sessions ${cost.fewUs.toFixed(2)} µs`,
      ratio: cost.ratio.toFixed(2),
      target: "–",
      met: null,
    };
  } finally {
    await stopProcess(child);
  }
}
