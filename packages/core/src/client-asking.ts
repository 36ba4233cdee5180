/**
 * Whom the client asks next, and with what (design sections 4.4 and 4.6): one message at a time counts,
 * every message raises `n`, and servers are asked in rounds with a growing, jittered pause between them.
 */
import type { Clocks } from "./clocks.ts";
import { tokenIsAging, troubleAfterMs } from "./client-belief.ts";
import type {
  ClientActive,
  ClientAsk,
  ClientBelieving,
  ClientEffect,
  ClientHeartbeat,
  ClientStep,
  ClientSuspect,
  ClientWanting,
  ClientWants,
} from "./client-types.ts";
import { QUEUE_ANSWER_MS } from "./timing.ts";

/** How many servers a client remembers, those the program named included. */
export const CLIENT_SERVERS_MAX = 32;
/** No answer to a checkout that does not wait within this is trouble. */
const CHECKOUT_TIMEOUT_MS = 2_000;
const BACK_OFF_MS_MIN = 200;
const BACK_OFF_MS_MAX = 2_000;
/** A client that believes is waited for: its work goes on, and the pool that takes it over is about to. */
const BELIEVING_BACK_OFF_MS_MAX = 500;
/** After `lost` nobody's work is running, so the pool is spared a little more. */
const LOST_BACK_OFF_MS_MAX = 5_000;
/** Servers that may hold a duplicate grant, and how often each is asked to drop it. */
const SUSPECTS_MAX = 8;
const DUPLICATE_TRIES_MAX = 4;

export function isBelieving(state: { readonly name: string }): state is ClientBelieving {
  return state.name === "held" || state.name === "recovering" || state.name === "doubted";
}

/** Sends the next message about the session to `server`. Its answer, and no older one, counts. */
export function ask<S extends ClientActive>(
  state: S,
  server: string,
  now: Clocks,
  confirm?: string,
): ClientStep<S> {
  const n = state.n + 1;
  const built = isBelieving(state)
    ? heartbeat(state, server, n, now, confirm)
    : checkout(state, server, n, now);
  const asked: ClientAsk = {
    n,
    server,
    kind: built.type,
    sentAt: now,
    timeoutMs: built.timeoutMs,
  };
  const next: S = {
    ...state,
    n,
    asked,
    tried: state.tried.includes(server) ? state.tried : [...state.tried, server],
    prefer: null,
    retryAtMs: null,
  };
  return { state: next, effects: [built] };
}

function checkout(state: ClientWanting, server: string, n: number, now: Clocks) {
  const { wants, session } = state;
  const waitMs =
    state.name === "lost" ? 0 : Math.max(0, Math.ceil(state.waitUntilMs - now.monotonicMs));
  return {
    type: "checkout" as const,
    server,
    timeoutMs: CHECKOUT_TIMEOUT_MS + Math.min(waitMs, QUEUE_ANSWER_MS),
    request: { session, n, ...terms(wants), ...(waitMs > 0 ? { waitMs } : {}) },
  };
}

function heartbeat(
  state: ClientBelieving,
  server: string,
  n: number,
  now: Clocks,
  confirm: string | undefined,
) {
  const { authorization, session, wants } = state;
  const atHome = state.name === "held" && server === authorization.server;
  const token =
    authorization.token !== null && (!atHome || tokenIsAging(authorization, now))
      ? { token: authorization.token }
      : {};
  // Anybody but the own server may have to make a new grant of it, so it gets all that a request has.
  const request: ClientHeartbeat = {
    session,
    n,
    ...token,
    ...(atHome ? {} : terms(wants)),
    ...(confirm === undefined ? {} : { confirm }),
  };
  return {
    type: "heartbeat" as const,
    server,
    timeoutMs: troubleAfterMs(authorization.lifeMs),
    request,
  };
}

function terms(wants: ClientWants) {
  const { feature, version, seats, holder } = wants;
  return { feature, ...(version === undefined ? {} : { version }), seats, holder };
}

/** The next server of this round, or null when all were asked. */
export function nextServer(state: ClientActive): string | null {
  const own = isBelieving(state) ? [state.authorization.server] : [];
  const leaderFirst = isBelieving(state) && state.leader !== null ? [state.leader] : [];
  const preferred = state.prefer === null ? [] : [state.prefer];
  const order = [...preferred, ...leaderFirst, ...own, ...state.servers];
  return order.find((server) => !state.tried.includes(server)) ?? null;
}

/** How long to pause before the next round. */
export function backOffMs(state: ClientActive, random: number): number {
  const longestMs = isBelieving(state)
    ? Math.min(BELIEVING_BACK_OFF_MS_MAX, state.authorization.lifeMs / 10)
    : state.name === "lost"
      ? LOST_BACK_OFF_MS_MAX
      : BACK_OFF_MS_MAX;
  const fullMs = Math.min(longestMs, BACK_OFF_MS_MIN * 2 ** Math.min(state.attempt, 10));
  return Math.ceil(fullMs * (0.5 + random / 2));
}

/** Goes to the next server at once, or after `pauseMs`; after a whole round there is a back-off. */
export function moveOn<S extends ClientActive>(
  state: S,
  now: Clocks,
  random: number,
  pauseMs = 0,
): ClientStep<S> {
  const server = nextServer(state);
  if (server !== null && pauseMs === 0) return ask(state, server, now);
  const roundOver = server === null;
  const waitMs = Math.max(pauseMs, roundOver ? backOffMs(state, random) : 0);
  const next: S = {
    ...state,
    asked: null,
    tried: roundOver ? [] : state.tried,
    attempt: roundOver ? state.attempt + 1 : state.attempt,
    retryAtMs: now.monotonicMs + waitMs,
  };
  return { state: next, effects: [] };
}

/** Repeats at the same server after a pause, as the first of a new round. */
export function repeatLater<S extends ClientActive>(
  state: S,
  server: string,
  now: Clocks,
  pauseMs: number,
): ClientStep<S> {
  const retryAtMs = now.monotonicMs + pauseMs;
  const next: S = { ...state, asked: null, tried: [], prefer: server, retryAtMs };
  return { state: next, effects: [] };
}

/**
 * The message in flight is given up: its server may have granted all the same. The own server is no
 * suspect, since there the seat is the one that the client believes in.
 */
export function abandon<S extends ClientActive>(state: S): S {
  const { asked } = state;
  if (asked === null) return state;
  const atHome = isBelieving(state) && state.authorization.server === asked.server;
  if (atHome || state.suspects.some((suspect) => suspect.server === asked.server)) {
    return { ...state, asked: null };
  }
  const suspect: ClientSuspect = { server: asked.server, tries: 0, inFlight: false };
  return { ...state, asked: null, suspects: [...state.suspects, suspect].slice(-SUSPECTS_MAX) };
}

/** Asks every suspect that is not being asked to drop what it may have granted beside the own one. */
export function releaseDuplicates<S extends ClientBelieving>(state: S): ClientStep<S> {
  const { authorization, session } = state;
  const effects: ClientEffect[] = [];
  let { n } = state;
  const suspects = state.suspects.map((suspect) => {
    if (suspect.inFlight || suspect.server === state.asked?.server) return suspect;
    n += 1;
    effects.push({
      type: "release-duplicate",
      server: suspect.server,
      timeoutMs: troubleAfterMs(authorization.lifeMs),
      session,
      n,
      notMember: authorization.member,
    });
    return { ...suspect, inFlight: true, tries: suspect.tries + 1 };
  });
  return { state: { ...state, n, suspects }, effects };
}

/** A suspect that dropped the duplicate, or was asked often enough, is one no more. */
export function duplicateAnswered<S extends ClientActive>(
  state: S,
  server: string,
  done: boolean,
): S {
  const suspects = state.suspects
    .filter(
      (suspect) => suspect.server !== server || (!done && suspect.tries < DUPLICATE_TRIES_MAX),
    )
    .map((suspect) => (suspect.server === server ? { ...suspect, inFlight: false } : suspect));
  return { ...state, suspects };
}

/** The servers that the client may ask, with those that an answer named. */
export function learnServers(
  known: readonly string[],
  named: readonly (string | null)[],
): readonly string[] {
  const added = named.filter(
    (server): server is string => server !== null && !known.includes(server),
  );
  return added.length === 0
    ? known
    : [...new Set([...known, ...added])].slice(0, CLIENT_SERVERS_MAX);
}

/** Monotonic instant at which the message in flight counts as unanswered. */
export function overdueAtMs(asked: ClientAsk): number {
  return asked.sentAt.monotonicMs + asked.timeoutMs;
}
