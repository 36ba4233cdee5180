/** How long clients wait for another server when theirs, the leader, is killed: with and without free seats. */
import { heartbeatMs, timingOf } from "@quorate/core";
import type { FailoverAnswer, FailoverTask, Moved } from "./failover-clients.ts";
import { count, type Figure, milliseconds, tell } from "./figures.ts";
import { loopDelayFigure, readLoopDelay } from "./loop-delay.ts";
import { ask, LOAD_CORE, programPath, spawnPinned, stopProcess } from "./pinned.ts";
import { openPool } from "./pool.ts";
import { quantile } from "./statistics.ts";

const MEMBERS = 3;
const CLIENTS = 1_000;
const LEASE_MS = 5_000;
/** The shortest life a license can give at this lease: the most heartbeats, the least time to notice. */
const LIFE_MS = 6 * LEASE_MS;
const FREE_SEATS_MS_MAX = 1_000;
const TAKEN_SEATS_MS_MAX = 2_000;

export async function benchFailover(): Promise<Figure[]> {
  const retireAfterMs = timingOf(LEASE_MS).retireAfterMs;
  const free = await failover("seats free", MEMBERS * CLIENTS);
  const taken = await failover("all seats taken", CLIENTS);
  const fromNotice = ({ movedMs, noticedMs }: Moved): number => movedMs - (noticedMs ?? movedMs);
  // No seat of the dead member moves before it is retired; who noticed later waits from then.
  const beyondRetired = ({ movedMs, noticedMs }: Moved): number =>
    Math.max(0, movedMs - Math.max(noticedMs ?? 0, retireAfterMs));
  return [
    distribution("seats free, after the client noticed", free, fromNotice, FREE_SEATS_MS_MAX),
    distribution("seats free, after the kill", free, ({ movedMs }) => movedMs, null),
    distribution(
      `all seats taken, beyond R (${retireAfterMs} ms after the kill) or the notice`,
      taken,
      beyondRetired,
      TAKEN_SEATS_MS_MAX,
    ),
    distribution("all seats taken, after the client noticed", taken, fromNotice, null),
    distribution("all seats taken, after the kill", taken, ({ movedMs }) => movedMs, null),
    ...free.figures,
    ...taken.figures,
  ];
}

interface Failover extends FailoverAnswer {
  readonly figures: readonly Figure[];
}

async function failover(name: string, seats: number): Promise<Failover> {
  const pool = await openPool({ members: MEMBERS, seats, lifeMs: LIFE_MS });
  const clients = spawnPinned(LOAD_CORE, [programPath("failover-clients.ts")]);
  try {
    const [leader, ...others] = pool.servers;
    const pid = leader.process.pid;
    if (pid === undefined) throw new Error("the leader does not run");
    tell(`failover, ${name}: ${count(CLIENTS)} clients check out`);
    await ask(clients, {
      task: "start",
      servers: pool.servers.map(({ url }) => url),
      clients: CLIENTS,
      spreadMs: heartbeatMs(LIFE_MS),
    } satisfies FailoverTask);
    await Promise.all(others.map(({ url }) => readLoopDelay(url)));
    tell(`failover, ${name}: kill -9 of the leader`);
    const answer = await ask<FailoverAnswer>(clients, {
      task: "kill",
      pid,
      url: leader.url,
      waitMs: LIFE_MS,
    } satisfies FailoverTask);
    const delays = await Promise.all(others.map(({ url }) => readLoopDelay(url)));
    if (answer.lost > 0) tell(`failover, ${name}: ${answer.lost} CLIENTS LOST THEIR SEAT`);
    return { ...answer, figures: [loopDelayFigure(`failover, ${name}`, delays)] };
  } finally {
    await stopProcess(clients);
    await pool.close();
  }
}

function distribution(
  name: string,
  { moved, lost }: Failover,
  waited: (moved: Moved) => number,
  maxMs: number | null,
): Figure {
  const waits = moved.map(waited);
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => quantile(waits, share)) as [
    number,
    number,
    number,
  ];
  const missing = CLIENTS - moved.length;
  return {
    name: `failover of ${count(CLIENTS)} clients: ${name}`,
    measured:
      `p50 ${milliseconds(p50)}, p99 ${milliseconds(p99)}, max ${milliseconds(max)}` +
      (missing + lost === 0 ? "" : `; ${missing} not moved, ${lost} lost`),
    baseline: "–",
    ratio: maxMs === null ? "–" : (max / maxMs).toFixed(2),
    target: maxMs === null ? "–" : `max ≤ ${count(maxMs)} ms, none lost`,
    met: maxMs === null ? null : max <= maxMs && missing === 0 && lost === 0,
  };
}
