/** What a session costs in memory at a real server: before and after 100,000 of them. */
import { count, type Figure, tell } from "./figures.ts";
import { INSPECT_FLAG, memoryAfterCollection } from "./inspector.ts";
import { LoadGenerator } from "./load.ts";
import { loopDelayFigure, readLoopDelay } from "./loop-delay.ts";
import { openPool } from "./pool.ts";

const SESSIONS = 100_000;
const SESSIONS_BEFORE = 2_000;
const SEATS = SESSIONS + SESSIONS_BEFORE;
const SESSION_BYTES_MAX = 1_024;
/** All sessions live until the second look, however slow the machine. */
const LIFE_MS = 600_000;

export async function benchMemory(): Promise<Figure[]> {
  const pool = await openPool({
    members: 1,
    seats: SEATS,
    lifeMs: LIFE_MS,
    nodeFlags: [INSPECT_FLAG],
  });
  try {
    await using generator = new LoadGenerator();
    const [{ port, url }] = pool.servers;
    // Code, buffers and caches that come with the first sessions are not the price of a session.
    await generator.run({ task: "hold", port, sessions: SESSIONS_BEFORE });
    const before = await memoryAfterCollection();
    await readLoopDelay(url);
    tell(`memory: checking out ${count(SESSIONS)} sessions`);
    await generator.run({ task: "hold", port, sessions: SESSIONS });
    const delay = await readLoopDelay(url);
    await sessionsInUse(url, SEATS);
    const after = await memoryAfterCollection();
    const heap = (after.heapBytes - before.heapBytes) / SESSIONS;
    const resident = (after.residentBytes - before.residentBytes) / SESSIONS;
    const figure = (what: string, bytes: number, from: number, met: boolean | null): Figure => ({
      name: `${what} of a session, ${count(SESSIONS)} of them`,
      measured: `${count(bytes)} B`,
      baseline: `${(from / 2 ** 20).toFixed(0)} MiB before`,
      ratio: (bytes / SESSION_BYTES_MAX).toFixed(2),
      target: met === null ? "–" : `≤ ${count(SESSION_BYTES_MAX)} B`,
      met,
    });
    return [
      figure("heap", heap, before.heapBytes, heap <= SESSION_BYTES_MAX),
      figure("resident memory (with SQLite's caches)", resident, before.residentBytes, null),
      loopDelayFigure(`${count(SESSIONS)} checkouts`, [delay]),
    ];
  } finally {
    await pool.close();
  }
}

/** The figure is worthless if some were refused. */
async function sessionsInUse(url: string, expected: number): Promise<void> {
  const answer = await fetch(`${url}/v1/features`);
  const { features } = (await answer.json()) as { features: { inUse: number }[] };
  const inUse = features[0]?.inUse;
  if (inUse !== expected) throw new Error(`${inUse} sessions are held instead of ${expected}`);
}
