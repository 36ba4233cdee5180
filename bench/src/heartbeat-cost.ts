/**
 * What a heartbeat costs a member with few and with many sessions, without HTTP: `Member.heartbeat` over
 * memory adapters, real clocks and the real check of the secret. Program; answers one question.
 */
import { hash, randomBytes } from "node:crypto";
import { isRefusal, type License } from "@quorate/core";
import type { HeartbeatRequest } from "@quorate/protocol";
import { MemoryJournal } from "../../packages/server/src/journal/memory-journal.ts";
import { createMemberTokens } from "../../packages/server/src/keys/member-tokens.ts";
import { generatePrivateKey, publicKeyOf } from "../../packages/server/src/keys/node-keys.ts";
import { Member } from "../../packages/server/src/member/member.ts";
import { createRuntime } from "../../packages/server/src/runtime.ts";
import { MemoryStore } from "../../packages/server/src/store/memory-store.ts";
import { FEATURE } from "./pool.ts";
import { alternate } from "./statistics.ts";

export interface HeartbeatCost {
  readonly fewUs: number;
  readonly manyUs: number;
  readonly ratio: number;
}

const ROUNDS = 15;
const HEARTBEATS_A_ROUND = 100_000;
/** Requests are made in batches of this many, untimed, as a parser would just have made them. */
const BATCH = 500;
const SPREAD_PRIME = 7_919;
/** Nothing ends during the run. */
const LIFE_MS = 24 * 3_600_000;
const SECRET_BYTES = 32;
const SPREAD_TRIES_MAX = 50;
const SPREAD_WAIT_MS = 100;

async function measure(few: number, many: number): Promise<HeartbeatCost> {
  const small = await memberWith(few);
  const large = await memberWith(many);
  await microseconds(small);
  await microseconds(large);
  const { baseline, candidate, ratio } = await alternate(
    ROUNDS,
    () => microseconds(small),
    () => microseconds(large),
  );
  await Promise.all([small.member.stop(), large.member.stop()]);
  return { fewUs: baseline, manyUs: candidate, ratio };
}

interface Held {
  readonly member: Member;
  /** The secrets of all sessions, one after the other. */
  readonly secrets: Buffer;
  readonly sessions: number;
  n: number;
  next: number;
}

async function microseconds(held: Held): Promise<number> {
  const { member, sessions } = held;
  let tookMs = 0;
  for (let done = 0; done < HEARTBEATS_A_ROUND; done += BATCH) {
    held.n += 1;
    const requests = Array.from({ length: BATCH }, () => {
      // Far from the last one, as clients come: a run of neighbours would flatter the caches.
      held.next = (held.next + SPREAD_PRIME) % sessions;
      return heartbeatOf(held, held.next);
    });
    const startedMs = performance.now();
    for (const request of requests) {
      const answer = member.heartbeat(request);
      if (answer instanceof Promise || isRefusal(answer))
        throw new Error("it was not the hot path");
    }
    tookMs += performance.now() - startedMs;
    await turn();
  }
  return (tookMs * 1_000) / HEARTBEATS_A_ROUND;
}

function heartbeatOf(held: Held, index: number): HeartbeatRequest {
  return { ...identity(held.secrets, index), n: held.n };
}

function identity(secrets: Buffer, index: number): { secret: string; session: string } {
  const at = index * SECRET_BYTES;
  const secret = secrets.toString("base64url", at, at + SECRET_BYTES);
  return { secret, session: hash("sha256", secret, "base64url") };
}

async function memberWith(sessions: number): Promise<Held> {
  const privateKey = generatePrivateKey();
  const publicKey = publicKeyOf(privateKey);
  const license: License = {
    quorate: 1,
    id: "bench",
    vendor: "Bench",
    customer: "Bench",
    sequence: 1,
    issued: new Date().toISOString(),
    pool: { name: "bench", size: 1 },
    features: [{ name: FEATURE, version: "2026.1", seats: sessions, lifeMs: LIFE_MS }],
    signature: { key: "ed25519:none", value: "none" },
  };
  const text = JSON.stringify(license);
  const tokens = createMemberTokens({
    pool: () => "bench",
    privateKey,
    publicKey,
    certificate: null,
  });
  const member = new Member(
    {
      id: "m1",
      url: "http://127.0.0.1:1",
      key: publicKey,
      certifiedBy: null,
      journalFile: null,
      priority: 0,
      leaseMs: 5_000,
      onExit: ({ reason }) => {
        throw new Error(reason);
      },
    },
    {
      runtime: createRuntime(),
      store: new MemoryStore(),
      journal: new MemoryJournal(),
      peers: { call: () => Promise.resolve(null) },
      // A signature for each of a million checkouts would take a minute and is not what is measured.
      tokens: { ...tokens, sign: () => "token" },
      licenses: {
        check: () => ({ license, canonical: text }),
        readOwn: () => Promise.resolve(text),
        writeOwn: () => Promise.resolve(),
      },
      log: { info: () => {}, warn: () => {}, error: (words) => console.error(words) },
    },
  );
  await member.start();
  const secrets = randomBytes(sessions * SECRET_BYTES);
  for (let index = 0; index < sessions; index += 1) {
    const holder = { user: `user${index % 1_000}`, host: `workstation-${index % 1_000}` };
    const request = { ...identity(secrets, index), n: 1, feature: FEATURE, holder };
    let answer = await member.checkout(request);
    // The seats of a feature are spread a moment after the member leads; the first client may wait for it.
    for (let tries = 0; isRefusal(answer) && tries < SPREAD_TRIES_MAX; tries += 1) {
      await new Promise((resolve) => {
        setTimeout(resolve, SPREAD_WAIT_MS);
      });
      answer = await member.checkout(request);
    }
    if (isRefusal(answer)) throw new Error(`session ${index}: ${answer.detail}`);
    if (index % 1_000 === 0) await turn();
  }
  return { member, secrets, sessions, n: 1, next: 0 };
}

/** A turn for the member's own timers, the renewal of its lease above all. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

process.on("message", ({ few, many }: { few: number; many: number }) => {
  void measure(few, many).then((cost) => process.send?.(cost));
});
process.on("disconnect", () => process.exit());
