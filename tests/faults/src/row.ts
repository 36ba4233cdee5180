/** One row of the table: a pool, clients at work, one fault, and what it did to them. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nowMs, waitFor } from "@quorate/e2e/wait";
import { Clients, seatsFor } from "./clients.ts";
import type { Network } from "./network.ts";
import { lengthMs, type Trouble } from "./recorder.ts";
import { Pool, type Through } from "./pool.ts";

export interface Row {
  readonly name: string;
  /** What is done to the pool, for the table. */
  readonly title: string;
  readonly through?: Through;
  /** The license servers start their machines' etcd themselves. */
  readonly managed?: boolean;
  /** The pool is without a majority for longer than a life: its clients must lose their seats. */
  readonly losesMajority?: boolean;
  /** Every client has a seat all the time: nobody waits, and no seat need move. */
  readonly isCalm?: boolean;
  /** Further features of the license, as the vendor writes them. */
  readonly features?: readonly object[];
  /** Beside the usual ones. */
  readonly etcdArgs?: readonly string[];
  /** What the license servers run at first, made in that folder; missing: this checkout. */
  readonly build?: (folder: string) => string;
  readonly env?: (id: string) => NodeJS.ProcessEnv;
  /** Null: the row can be run here. */
  readonly whyNot?: () => string | null;
  fault(stage: Stage): Promise<void>;
}

export interface Result {
  readonly name: string;
  readonly title: string;
  readonly overIssued: number;
  /** Sessions lost though a majority could be reached. */
  readonly lost: number;
  /** Sessions lost while there was no majority. */
  readonly lostWithout: number;
  /** Clients that held seats and asked in vain, and how long, from the first such call until they were served. */
  readonly waited: number;
  readonly waitP50Ms: number;
  readonly waitMaxMs: number;
  /** The longest that a new request went without an answer; a place in the queue is one. */
  readonly newWaitMaxMs: number;
  readonly tookMs: number;
  readonly notes: readonly string[];
  /** Null: the row holds. */
  readonly failure: string | null;
}

const WARM_UP_MS = 3_000;
const ANSWERS_SHOWN_MAX = 12;
const SERVED_MS_MAX = 90_000;

export class Stage {
  readonly pool: Pool;
  readonly network: Network;
  readonly clients: Clients;
  readonly folder: string;
  readonly notes: string[] = [];
  readonly #say: (words: string) => void;

  constructor(pool: Pool, clients: Clients, folder: string, say: (words: string) => void) {
    this.pool = pool;
    this.network = pool.network;
    this.clients = clients;
    this.folder = folder;
    this.#say = say;
  }

  say(words: string): void {
    this.#say(words);
  }

  /** For waits that belong to the fault: how long something stands still or is away. */
  async lasts(ms: number): Promise<void> {
    const untilMs = nowMs() + ms;
    await waitFor("the fault's end", () => nowMs() >= untilMs, ms + SERVED_MS_MAX);
  }

  /** Every client was served after this moment. */
  async everyClientIsServed(): Promise<void> {
    await this.clients.servedSince(nowMs(), SERVED_MS_MAX);
  }
}

export async function runRow(
  row: Row,
  network: Network,
  folder: string,
  clientCount: number,
  say: (words: string) => void,
): Promise<Result> {
  const startedMs = nowMs();
  mkdirSync(folder, { recursive: true });
  const { isCalm = false, features = [] } = row;
  const seats = isCalm ? clientCount : seatsFor(clientCount);
  const { through = "nothing", managed = false, etcdArgs = [], build, env } = row;
  const options = {
    network,
    folder,
    seats,
    through,
    managed,
    etcdArgs,
    features,
    ...(build === undefined ? {} : { build: build(folder) }),
    ...(env === undefined ? {} : { env }),
  };
  const pool = new Pool(options);
  const clients = new Clients(clientCount, seats, pool.urls, pool.vendorKey);
  const stage = new Stage(pool, clients, folder, say);
  const { recorder } = clients;
  let failure: string | null = null;
  try {
    say("the pool starts");
    await pool.start();
    say("the clients start");
    await clients.start();
    await stage.lasts(WARM_UP_MS);
    recorder.forgetTroubles();
    await row.fault(stage);
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  const holders = recorder.longestTroubles("heartbeat");
  const newcomers = recorder.longestTroubles("checkout");
  noteWorst(stage, "a holder", holders.at(-1), startedMs);
  noteWorst(stage, "a new request", newcomers.at(-1), startedMs);
  await clients.stop();
  const overIssued = recorder.overIssued();
  const lost = recorder.lost.length;
  for (const text of clients.failures.slice(0, 3)) stage.notes.push(`checkout: ${text}`);
  if (overIssued.length > 0) failure = `over-issued: ${JSON.stringify(overIssued[0])}`;
  if (lost > 0 && row.losesMajority !== true) {
    failure ??= `lost: ${JSON.stringify(recorder.lost.slice(0, 3))}`;
  }
  await pool.end();
  if (failure !== null) {
    for (const machine of pool.machines) machine.writeLogs(folder);
    writeFileSync(join(folder, "lost.json"), JSON.stringify(recorder.lost, null, 1));
  }
  return {
    name: row.name,
    title: row.title,
    overIssued: Math.max(0, ...overIssued.map(({ held, allowed }) => held - allowed)),
    lost: row.losesMajority === true ? 0 : lost,
    lostWithout: row.losesMajority === true ? lost : 0,
    waited: holders.length,
    waitP50Ms: lengthOf(holders[Math.floor(holders.length / 2)]),
    waitMaxMs: lengthOf(holders.at(-1)),
    newWaitMaxMs: lengthOf(newcomers.at(-1)),
    tookMs: nowMs() - startedMs,
    notes: stage.notes,
    failure,
  };
}

function lengthOf(trouble: Trouble | undefined): number {
  return trouble === undefined ? 0 : lengthMs(trouble);
}

/** Who waited longest: where to begin to look. */
function noteWorst(
  { notes }: Stage,
  who: string,
  worst: Trouble | undefined,
  startedMs: number,
): void {
  if (worst === undefined) return;
  const [from, to] = [worst.fromMs, worst.toMs].map((ms) => ((ms - startedMs) / 1_000).toFixed(1));
  const heard = worst.answers.slice(0, ANSWERS_SHOWN_MAX).join("; ");
  notes.push(`${who} waited longest: client ${worst.client}, ${from}-${to} s, heard: ${heard}`);
}
