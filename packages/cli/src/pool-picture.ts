/**
 * The pool as one picture: what all named servers say, put together. A server that does not answer is part of the
 * picture. Where servers disagree, the leader's word counts, then the word of the server that knows most.
 */
import type { FeatureRow, FeaturesAnswer, PoolAnswer, PoolMemberRow } from "@quorate/protocol";
import { callServer, type Silence } from "./server-calls.ts";

/** All questions go out at the same time, so this is also how long a look at a dead pool takes. */
export const LOOK_MS_MAX = 1_500;

export interface ServerPicture {
  /** Null: nobody that answered knows a server at this address. */
  readonly id: string | null;
  readonly url: string;
  /**
   * `up`: it grants. `waiting`: it answers, but may not grant now. `silent`: it was asked and did not answer.
   * `stopped`: it said so before it went. `down`: the others do not see it. `seen`: not asked, the others see it.
   */
  readonly state: "up" | "waiting" | "silent" | "stopped" | "down" | "seen";
  /** More about the state, in a few words. */
  readonly why: string | null;
  readonly leads: boolean;
  readonly epoch: number | null;
  readonly sessions: number | null;
  readonly licenseSequence: number | null;
}

export interface PoolPicture {
  readonly pool: string | null;
  readonly size: number;
  readonly leader: { readonly id: string; readonly url: string } | null;
  readonly term: number;
  readonly majority: { readonly needed: number; readonly alive: number; readonly reached: boolean };
  readonly servers: readonly ServerPicture[];
  readonly features: readonly FeatureRow[];
  /** Servers whose use of the seats is not in these numbers. */
  readonly missing: readonly string[];
  readonly alarms: readonly string[];
  /** Whether any server answered. */
  readonly answered: boolean;
}

interface Asked {
  readonly url: string;
  readonly pool: PoolAnswer | null;
  readonly features: FeaturesAnswer | null;
  readonly why: string;
}

export async function lookAtPool(servers: readonly string[]): Promise<PoolPicture> {
  return pictureOf(await Promise.all(servers.map(ask)));
}

async function ask(url: string): Promise<Asked> {
  const call = { timeoutMs: LOOK_MS_MAX };
  const [pool, features] = await Promise.all([
    callServer(url, "/v1/pool", call),
    callServer(url, "/v1/features", call),
  ]);
  return {
    url,
    pool: "body" in pool && isPool(pool.body) ? pool.body : null,
    features: "body" in features && isFeatures(features.body) ? features.body : null,
    why: isSilence(pool) ? pool.silent : "it is no license server",
  };
}

function pictureOf(asked: readonly Asked[]): PoolPicture {
  const answers = asked.flatMap(({ pool }) => (pool === null ? [] : [pool]));
  const best = answers.toSorted((a, b) => authority(b) - authority(a)).at(0);
  if (best === undefined) {
    return {
      pool: null,
      size: 0,
      leader: null,
      term: 0,
      majority: { needed: 0, alive: 0, reached: false },
      servers: asked.map(({ url, why }) => ({ ...UNKNOWN, url, why })),
      features: [],
      missing: [],
      alarms: [],
      answered: false,
    };
  }
  const known = best.members.map((row) => serverOf(row, best, asked));
  const strangers = asked.filter(
    ({ url, pool }) => pool === null && !best.members.some((row) => sameServer(row.url, url)),
  );
  const { features, missing } = featuresOf(asked, best);
  return {
    pool: best.pool,
    size: best.size,
    leader: best.leader,
    term: best.term,
    majority: best.majority,
    servers: [...known, ...strangers.map(({ url, why }) => ({ ...UNKNOWN, url, why }))],
    features,
    missing,
    alarms: alarmsOf(answers),
    answered: true,
  };
}

const UNKNOWN = {
  id: null,
  state: "silent",
  leads: false,
  epoch: null,
  sessions: null,
  licenseSequence: null,
} as const;

/** Who sees the majority knows better than who does not; then the newest term; then the leader itself. */
function authority(answer: PoolAnswer): number {
  const leads = answer.leader?.id === answer.self ? 1 : 0;
  return (answer.majority.reached ? 2 ** 40 : 0) + answer.term * 2 + leads;
}

function serverOf(row: PoolMemberRow, best: PoolAnswer, asked: readonly Asked[]): ServerPicture {
  const own = asked.find(({ pool }) => pool?.self === row.id)?.pool;
  const ownRow = own?.members.find(({ id }) => id === row.id);
  const silent = asked.find(({ url, pool }) => pool === null && sameServer(url, row.url));
  const state =
    own !== undefined && own !== null
      ? ownRow?.mandate === true
        ? "up"
        : "waiting"
      : row.state === "stopped" || row.state === "broken"
        ? "stopped"
        : silent !== undefined
          ? "silent"
          : row.alive
            ? "seen"
            : "down";
  const why =
    state === "silent"
      ? (silent?.why ?? null)
      : state === "waiting"
        ? waitingFor(own)
        : row.state === "broken"
          ? "its journal failed"
          : null;
  return {
    id: row.id,
    url: row.url,
    state,
    why,
    leads: best.leader?.id === row.id,
    epoch: row.epoch,
    // Only the leader and the server itself know how many there are.
    sessions: ownRow?.sessions ?? (row.alive ? row.sessions : null),
    licenseSequence: ownRow?.licenseSequence ?? row.licenseSequence,
  };
}

function waitingFor(own: PoolAnswer | null | undefined): string {
  if (own === null || own === undefined) return "";
  if (own.pool === null) return "has no license yet";
  if (!own.majority.reached) return "sees no majority";
  return own.store.state === "ok" ? "starting" : "store suspended";
}

/** The leader counts for all. While there is none, each server's own numbers are put together. */
function featuresOf(asked: readonly Asked[], best: PoolAnswer): FeaturesAnswer {
  const answers = asked.flatMap(({ pool, features }) =>
    pool === null || features === null ? [] : [{ self: pool.self, features }],
  );
  const leader = answers.find(({ self }) => self === best.leader?.id)?.features;
  if (leader !== undefined) return leader;
  const [least] = answers
    .map(({ features }) => features)
    .toSorted((a, b) => a.missing.length - b.missing.length);
  if (least === undefined) return { features: [], missing: best.members.map(({ id }) => id) };
  if (least.missing.length === 0) return least;
  const heard = new Set(answers.map(({ self }) => self));
  return {
    missing: least.missing.filter((id) => !heard.has(id)),
    features: least.features.map((row) => withOwnNumbers(row, answers)),
  };
}

function withOwnNumbers(
  row: FeatureRow,
  answers: readonly { readonly self: string; readonly features: FeaturesAnswer }[],
): FeatureRow {
  const members: Record<string, { seats: number; inUse: number }> = { ...row.members };
  let inUse = 0;
  let counted = 0;
  for (const { self, features } of answers) {
    const own = features.features.find(({ name }) => name === row.name)?.members[self];
    if (own !== undefined) members[self] = own;
  }
  for (const each of Object.values(members)) inUse += each.inUse;
  for (const each of Object.values(row.members)) counted += each.inUse;
  const more = inUse - counted;
  return { ...row, members, inUse: row.inUse + more, free: Math.max(0, row.free - more) };
}

/** Each sentence once; two servers may well say the same. */
function alarmsOf(answers: readonly PoolAnswer[]): readonly string[] {
  const sentences = answers.flatMap(({ self, alarms }) =>
    alarms.map((alarm) => (alarm.includes(self) ? alarm : `${self}: ${alarm}`)),
  );
  return [...new Set(sentences)];
}

/** The same host and port; people write addresses in more than one way. */
function sameServer(left: string, right: string): boolean {
  const place = (url: string): string =>
    URL.canParse(url) ? new URL(url).host.replace(/^localhost(?=:|$)/, "127.0.0.1") : url;
  return place(left) === place(right);
}

function isSilence(answer: object): answer is Silence {
  return "silent" in answer;
}

/** As far as the picture needs it to be sure that this is one of our servers. */
function isPool(body: unknown): body is PoolAnswer {
  return (
    isObject(body) &&
    typeof body["self"] === "string" &&
    Array.isArray(body["members"]) &&
    Array.isArray(body["alarms"]) &&
    isObject(body["majority"]) &&
    isObject(body["store"])
  );
}

function isFeatures(body: unknown): body is FeaturesAnswer {
  return isObject(body) && Array.isArray(body["features"]) && Array.isArray(body["missing"]);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
