/** Many sessions: what they ask of the store, and what the end of their server costs them and the others. */
import { setTimeout as delay } from "node:timers/promises";
import { heartbeatMs } from "@quorate/core";
import { nowMs, waitFor } from "@quorate/e2e/wait";
import { LightClients } from "./light-clients.ts";
import type { Machine } from "./machine.ts";
import type { Row, Stage } from "./row.ts";

const FEATURE = "load";
/** The default one. */
const LIFE_MS = 60_000;

// ---- the store's load ---------------------------------------------------------------------------------

const CHECKOUTS_PER_SECOND = 1_000;
const TICK_MS = 10;
const HELD_MS = 1_000;
const SETTLE_MS = 5_000;
const MEASURED_MS = 30_000;
const TRANSACTIONS_PER_SECOND_MAX = 10;
const SUCCESS_MIN = 0.98;

const STORE_LOAD: Row = {
  name: "store-load",
  title: `${CHECKOUTS_PER_SECOND} checkouts a second: at most ${TRANSACTIONS_PER_SECOND_MAX} transactions of the store a second`,
  isCalm: true,
  features: [{ name: FEATURE, version: "1", seats: 9_000, lifeMs: LIFE_MS }],
  async fault(stage) {
    const { urls } = stage.pool;
    const light = new LightClients({ servers: urls, feature: FEATURE, lifeMs: LIFE_MS });
    let done = 0;
    let failed = 0;
    let asked = 0;
    const startedMs = nowMs();
    const timer = setInterval(() => {
      // As many as the time asks for: a late timer is made up for.
      const due = ((nowMs() - startedMs) * CHECKOUTS_PER_SECOND) / 1_000;
      for (; asked < due; asked += 1) {
        void light.use(asked % urls.length, HELD_MS).then((ok) => {
          if (ok) done += 1;
          else failed += 1;
        });
      }
    }, TICK_MS);
    try {
      stage.say(`${CHECKOUTS_PER_SECOND} checkouts a second`);
      await stage.lasts(SETTLE_MS);
      const before = { ...(await storeCounts(stage)), done, failed, atMs: nowMs() };
      await stage.lasts(MEASURED_MS);
      const after = { ...(await storeCounts(stage)), done, failed, atMs: nowMs() };
      const seconds = (after.atMs - before.atMs) / 1_000;
      const transactions = (after.transactions - before.transactions) / seconds;
      const checkouts = (after.done - before.done) / seconds;
      const sentence = `${checkouts.toFixed(0)} checkouts and releases a second (${after.failed - before.failed} refused), ${transactions.toFixed(1)} transactions of the store a second by all ${urls.length} servers`;
      stage.notes.push(sentence, `answers: ${JSON.stringify([...light.heard])}`);
      if (checkouts < CHECKOUTS_PER_SECOND * SUCCESS_MIN) throw new Error(sentence);
      if (transactions > TRANSACTIONS_PER_SECOND_MAX) throw new Error(sentence);
    } finally {
      clearInterval(timer);
      light.close();
    }
  },
};

async function storeCounts({ pool }: Stage): Promise<{ transactions: number }> {
  const counts = await Promise.all(
    pool.urls.map(async (url) => sumOf(await metricsOf(url), STORE_COUNT)),
  );
  return { transactions: counts.reduce((sum, each) => sum + each, 0) };
}

// ---- a member with many sessions stops ----------------------------------------------------------------

const SESSIONS = 100_000;
const CHECKOUTS_AT_ONCE = 64;
const BUSY_MS = 500;
const STOPPED = "b";
const CONVERTED_MS_MAX = heartbeatMs(LIFE_MS) + 10_000;
const LOOP_MS_MAX = 50;
/** The monitor's own timer. */
const LOOP_RESOLUTION_MS = 10;
const LOOK_MS = 500;
const PATIENCE_MS = 120_000;

const STOP: Row = {
  name: "stop-100k",
  title: `a server with ${SESSIONS} sessions stops on purpose, no other seat free`,
  isCalm: true,
  features: [
    {
      name: FEATURE,
      version: "1",
      seats: SESSIONS,
      lifeMs: LIFE_MS,
      spread: { [STOPPED]: SESSIONS },
    },
  ],
  async fault(stage) {
    const { pool } = stage;
    const machine = pool.machines.find(({ id }) => id === STOPPED)!;
    await followed(stage, machine);
    const light = new LightClients({ servers: pool.urls, feature: FEATURE, lifeMs: LIFE_MS });
    const loops = new Loops(stage);
    try {
      stage.say(`${SESSIONS} checkouts`);
      await checkOut(light, pool.machines.indexOf(machine), heartbeatMs(LIFE_MS));
      await stage.lasts(heartbeatMs(LIFE_MS));
      stage.say(`heartbeats for one interval: ${await loops.read()}`);
      loops.start();
      const stoppedMs = nowMs();
      stage.say(`SIGTERM of ${machine.id}`);
      void machine.stop("quorate").then((code) => {
        stage.say(`${machine.id} ended with ${code}, ${(nowMs() - stoppedMs).toFixed(0)} ms later`);
      });
      await waitFor(
        "every session is converted",
        () => light.lost > 0 || light.all.every(({ movedAtMs }) => movedAtMs !== null),
        PATIENCE_MS,
      ).catch(() => undefined);
      loops.stop();
      const moved = light.all
        .flatMap(({ movedAtMs }) => (movedAtMs === null ? [] : [movedAtMs - stoppedMs]))
        .sort((x, y) => x - y);
      const at = (share: number): string =>
        `${((moved[Math.floor(moved.length * share)] ?? 0) / 1_000).toFixed(1)} s`;
      const last = moved.at(-1) ?? Infinity;
      const sentence =
        `${moved.length} of ${SESSIONS} converted: half after ${at(0.5)}, 99 % after ${at(0.99)}, all after ${(last / 1_000).toFixed(1)} s; ` +
        `lost ${light.lost}; ${loops.words()}`;
      stage.notes.push(sentence, `answers: ${JSON.stringify([...light.heard])}`);
      if (light.lost > 0 || moved.length < SESSIONS || last > CONVERTED_MS_MAX) {
        throw new Error(sentence);
      }
      if (loops.maxMs > LOOP_MS_MAX) throw new Error(sentence);
    } finally {
      loops.stop();
      light.close();
    }
  },
};

async function followed(stage: Stage, machine: Machine): Promise<void> {
  const leader = await stage.pool.leader();
  if (leader === machine) await stage.pool.lead(stage.pool.others(machine)[0]!);
}

/**
 * A few at a time, spread over `overMs`; who is told that the server is busy asks again, as the SDK does. Heartbeats
 * come as the checkouts came.
 */
async function checkOut(light: LightClients, server: number, overMs: number): Promise<void> {
  let asked = 0;
  const startedMs = nowMs();
  const untilMs = startedMs + PATIENCE_MS;
  const one = async (): Promise<void> => {
    while (asked < SESSIONS) {
      const dueMs = startedMs + (asked / SESSIONS) * overMs;
      asked += 1;
      const earlyMs = dueMs - nowMs();
      if (earlyMs > 1) await delay(earlyMs);
      while ((await light.checkout(server)) === null) {
        if (nowMs() > untilMs) throw new Error(`refused: ${JSON.stringify([...light.heard])}`);
        await delay(BUSY_MS);
      }
    }
  };
  await Promise.all(Array.from({ length: CHECKOUTS_AT_ONCE }, one));
  light.heard.clear();
}

/** How long the servers' event loops were held, by their own metrics; each reading begins a new one. */
class Loops {
  maxMs = 0;
  readonly #stage: Stage;
  readonly #worst = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  start(): void {
    this.#timer = setInterval(() => void this.read(), LOOK_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  async read(): Promise<string> {
    const now: string[] = [];
    for (const { id, url } of this.#stage.pool.machines) {
      const text = await metricsOf(url).catch(() => "");
      const ms = sumOf(text, LOOP_MAX) * 1_000 - LOOP_RESOLUTION_MS;
      now.push(`${id} ${Math.max(0, ms).toFixed(0)} ms`);
      if (this.#timer === null || ms <= 0) continue;
      this.#worst.set(id, Math.max(this.#worst.get(id) ?? 0, ms));
      this.maxMs = Math.max(this.maxMs, ms);
    }
    return `event loops held for at most ${now.join(", ")}`;
  }

  words(): string {
    const worst = [...this.#worst].map(([id, ms]) => `${id} ${ms.toFixed(0)} ms`);
    return `event loops held for at most ${worst.join(", ")}`;
  }
}

const STORE_COUNT = /^quorate_store_transaction_seconds_count\S* (\S+)$/gm;
const LOOP_MAX = /^nodejs_eventloop_lag_max_seconds\S* (\S+)$/gm;

async function metricsOf(url: string): Promise<string> {
  const reply = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(2_000) });
  return reply.text();
}

function sumOf(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].reduce((sum, [, value]) => sum + Number(value), 0);
}

export const LOAD_ROWS: readonly Row[] = [STORE_LOAD, STOP];
