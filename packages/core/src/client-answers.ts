/**
 * What an answer to the newest message means (design section 5, "what the SDK does"), for a client that
 * has nothing yet and for one that believes it holds its seats.
 */
import type { Clocks } from "./clocks.ts";
import {
  abandon,
  ask,
  backOffMs,
  isBelieving,
  learnServers,
  moveOn,
  releaseDuplicates,
  repeatLater,
} from "./client-asking.ts";
import { authorizationFrom, beliefVerdict } from "./client-belief.ts";
import { lose, refuseForGood, renew, tell } from "./client-ending.ts";
import type {
  ClientActive,
  ClientAsk,
  ClientBelieving,
  ClientGrant,
  ClientStep,
  ClientWanting,
  Held,
  Queued,
  Recovering,
  Requesting,
} from "./client-types.ts";
import { REFUSALS, type Refusal } from "./refusals.ts";

/** Confirmations in a row after which a server that asks for more is left alone for a round. */
const CONFIRMS_MAX = 3;
/** Pause after `busy` that names none. */
const BUSY_PAUSE_MS = 500;
/** A busy server is asked again so often before others are: they would have to move the session. */
const BUSY_REPEATS_MAX = 3;
const PAUSE_MS_MAX = 60_000;
/** A queued client that is answered sooner than this waits for the rest of it. */
const QUEUED_PAUSE_MS = 500;
/** After `lost`, a refusal by terms or policy may be mended by a new license: ask now and then. */
const OVER_PAUSE_MS = 60_000;

/** A positive answer. One that comes too late to be believed in is no answer. */
export function granted(
  state: ClientActive,
  grant: ClientGrant,
  asked: ClientAsk,
  now: Clocks,
  random: number,
): ClientStep {
  const previous = isBelieving(state) ? state.authorization : null;
  const authorization = authorizationFrom(grant, asked, previous);
  const usable =
    grant.session === state.session &&
    grant.seats === state.wants.seats &&
    beliefVerdict(authorization, now, state.wants.hasBootClock) === "believed";
  if (!usable) return unanswered(state, now, random);
  const held: Held = {
    name: "held",
    wants: state.wants,
    servers: learnServers(state.servers, [grant.pool.leader, ...grant.pool.servers]),
    leader: grant.pool.leader,
    session: state.session,
    n: state.n,
    asked: null,
    tried: [],
    prefer: null,
    attempt: 0,
    retryAtMs: null,
    confirms: 0,
    suspects: state.suspects.filter(({ server }) => server !== asked.server),
    making: false,
    authorization,
  };
  const { state: next, effects } = releaseDuplicates(held);
  const word =
    previous === null
      ? tell(state.name === "lost" ? "regained" : "granted")
      : tell(previous.member === grant.member ? "renewed" : "moved");
  return { state: next, effects: [word, ...effects] };
}

/** No answer: the server may have granted all the same, so it is a suspect from now on. */
export function unanswered(state: ClientActive, now: Clocks, random: number): ClientStep {
  const left = abandon(state);
  if (isBelieving(left)) return moveOn(recover(left), now, random);
  return tryElsewhere(left, null, now, random);
}

export function refusedWhileWanting(
  state: ClientWanting,
  refusal: Refusal,
  asked: ClientAsk,
  now: Clocks,
  random: number,
): ClientStep {
  const left = noteLeader({ ...state, asked: null }, refusal);
  // The session was ended without us, or its unheard grant sits in an entry that was retired since, and this
  // client believes in nothing that it could confirm: take a new one.
  if (refusal.refused === "released" || refusal.refused === "confirm")
    return renew({ ...left, attempt: left.attempt + 1 });
  const { next } = REFUSALS[refusal.refused];
  if (next === "try-others" || next === "go-to-leader") {
    return tryElsewhere(left, refusal, now, random);
  }
  if (refusal.refused === "busy") {
    return tryElsewhere(left, refusal, now, random, pauseOf(refusal, BUSY_PAUSE_MS));
  }
  if (next !== "over" && next !== "stop") return waitForSeat(left, refusal, asked, now, random);
  if (state.name !== "lost" || refusal.refused === "revoked") return refuseForGood(left, refusal);
  return repeatLater(left, asked.server, now, OVER_PAUSE_MS * (0.5 + random / 2));
}

export function refusedWhileBelieving(
  state: ClientBelieving,
  refusal: Refusal,
  asked: ClientAsk,
  now: Clocks,
  random: number,
): ClientStep {
  const confirms = refusal.refused === "confirm" ? state.confirms : 0;
  const left = noteLeader({ ...state, asked: null, confirms }, refusal);
  if (refusal.refused === "revoked") return refuseForGood(left, refusal);
  if (refusal.refused === "released") return lose(left, refusal.refused);
  if (refusal.refused === "confirm") return confirm(left, refusal, asked, now, random);
  const { next } = REFUSALS[refusal.refused];
  // Only the server that keeps the session can end it: another one may have an older license, or be none of
  // the pool at all.
  const atHome = asked.server === state.authorization.server;
  // The short heartbeat means nothing to a server that lost its journal; the token tells it all.
  if (atHome && state.name === "held" && refusal.refused === "bad-request") {
    return moveOn(recover(left), now, random);
  }
  if (atHome && next === "stop") return refuseForGood(left, refusal);
  if (atHome && next === "over") return lose(left, refusal.refused);
  if (refusal.refused !== "busy") return moveOn(recover(left), now, random);
  const pauseMs = pauseOf(refusal, 0) + BUSY_PAUSE_MS * (0.2 + random / 2);
  if (left.attempt >= BUSY_REPEATS_MAX) return moveOn(recover(left), now, random, pauseMs);
  const again = recover({ ...left, attempt: left.attempt + 1 });
  return repeatLater(again, asked.server, now, pauseMs);
}

/** Trouble with the own server while belief runs: the others are asked, the leader first. */
function recover<S extends ClientBelieving>(state: S): Recovering | (S & ClientBelieving) {
  return state.name === "held" ? { ...state, name: "recovering" } : state;
}

/**
 * The leader would move a retired seat if the client still believes: repeated at once. In doubt the
 * authorization has ended by the wall clock (the verdict is not "believed"), so nothing is confirmed.
 */
function confirm(
  state: ClientBelieving,
  refusal: Refusal,
  asked: ClientAsk,
  now: Clocks,
  random: number,
): ClientStep {
  const next = recover(state);
  const { authorization, confirms } = next;
  const may =
    authorization.token !== null &&
    confirms < CONFIRMS_MAX &&
    beliefVerdict(authorization, now, next.wants.hasBootClock) === "believed";
  if (!may || refusal.nonce === undefined) {
    return moveOn({ ...next, confirms: 0 }, now, random);
  }
  return ask({ ...next, confirms: confirms + 1 }, asked.server, now, refusal.nonce);
}

/** A new session takes its turn, at once the first time: a pool that ends each of them is not flooded. */
export function sessionReady(
  state: ClientWanting,
  session: string,
  now: Clocks,
  random: number,
): ClientStep {
  const fresh = { ...state, session, making: false, tried: [] };
  const pauseMs = state.attempt > 1 ? backOffMs(state, random) : 0;
  return tryElsewhere(fresh, null, now, random, pauseMs);
}

/** The next server, unless the first checkout has been tried long enough. */
function tryElsewhere(
  state: ClientWanting,
  refusal: Refusal | null,
  now: Clocks,
  random: number,
  pauseMs = 0,
): ClientStep {
  if (state.name === "lost") return moveOn(state, now, random, pauseMs);
  const first = { ...state, lastRefusal: refusal ?? state.lastRefusal };
  const step = moveOn(first, now, random, pauseMs);
  const nextAtMs = step.state.retryAtMs ?? now.monotonicMs;
  return nextAtMs >= first.giveUpAtMs ? refuseForGood(first, first.lastRefusal) : step;
}

/** All seats are in use: repeat the same session while there is time to wait, so it keeps its place. */
function waitForSeat(
  state: ClientWanting,
  refusal: Refusal,
  asked: ClientAsk,
  now: Clocks,
  random: number,
): ClientStep {
  if (state.name === "lost") {
    const pauseMs = pauseOf(refusal, backOffMs(state, random));
    const later = { ...state, attempt: state.attempt + 1 };
    return repeatLater(later, asked.server, now, pauseMs);
  }
  const answeredAfterMs = now.monotonicMs - asked.sentAt.monotonicMs;
  const shortestMs =
    refusal.refused === "queued"
      ? Math.max(0, QUEUED_PAUSE_MS - answeredAfterMs)
      : backOffMs(state, random);
  const pauseMs = pauseOf(refusal, shortestMs);
  if (now.monotonicMs + pauseMs >= state.waitUntilMs) {
    const detail = "No seat became free while this client waited.";
    const refused =
      refusal.refused === "queued" ? { refused: "no-seats" as const, detail } : refusal;
    return refuseForGood(state, refused);
  }
  const { wants, servers, leader, session, n, tried, prefer, confirms, suspects } = state;
  const { waitUntilMs, giveUpAtMs } = state;
  const kept = { wants, servers, leader, session, n, tried, prefer, confirms, suspects };
  const first = { waitUntilMs, giveUpAtMs, lastRefusal: refusal, making: false };
  const base = { ...kept, ...first, asked: null, attempt: state.attempt + 1, retryAtMs: null };
  const next: Queued | Requesting =
    refusal.refused === "queued"
      ? { ...base, name: "queued", place: refusal.place ?? null }
      : { ...base, name: "requesting" };
  const step = repeatLater(next, asked.server, now, pauseMs);
  return next.name === "queued" ? { ...step, effects: [tell("queued"), ...step.effects] } : step;
}

function noteLeader<S extends ClientActive>(state: S, refusal: Refusal): S {
  if (refusal.leader === undefined) return state;
  const servers = learnServers(state.servers, [refusal.leader]);
  return { ...state, servers, leader: refusal.leader, prefer: refusal.leader };
}

function pauseOf(refusal: Refusal, otherwiseMs: number): number {
  const { retryAfterMs } = refusal;
  const askedMs = retryAfterMs !== undefined && retryAfterMs > 0 ? retryAfterMs : 0;
  return Math.min(PAUSE_MS_MAX, Math.max(askedMs, otherwiseMs));
}
