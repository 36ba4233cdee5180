/**
 * How a session ends (design section 4.6): released by the program, refused for good, or lost, after
 * which a new session is tried. Nothing of an ended session is ever used again.
 */
import type { Clocks } from "./clocks.ts";
import { isBelieving } from "./client-asking.ts";
import { troubleAfterMs } from "./client-belief.ts";
import type {
  ClientActive,
  ClientBelieving,
  ClientEffect,
  ClientEvent,
  ClientReleaseCall,
  ClientStep,
  ClientWanting,
  ClientWord,
  Lost,
  Releasing,
} from "./client-types.ts";
import type { Refusal } from "./refusals.ts";

/** A release that reaches nobody is given up; the seat is free one life later. */
const RELEASE_MS_MAX = 4_000;
const RELEASE_TRIES_MAX = 3;
/** No answer to one release within this is trouble. */
const RELEASE_TIMEOUT_MS = 1_500;

export function tell(word: ClientWord, reason: string | null = null): ClientEffect {
  return { type: "tell", word, reason };
}

/** Orders a new secret. What the old session asked and left behind is forgotten with it. */
export function renew<S extends ClientWanting>(state: S): ClientStep<S> {
  const next: S = { ...state, asked: null, retryAtMs: null, suspects: [], making: true };
  return { state: next, effects: [{ type: "new-session" }] };
}

/** Belief is over: the program is told BEFORE anything else leaves, then a new session is tried. */
export function lose(state: ClientBelieving, reason: string): ClientStep {
  const { authorization } = state;
  const n = state.n + 1;
  const lost: Lost = {
    name: "lost",
    wants: state.wants,
    servers: state.servers,
    leader: state.leader,
    session: state.session,
    n,
    asked: null,
    tried: [],
    prefer: null,
    attempt: 0,
    retryAtMs: null,
    confirms: 0,
    suspects: [],
    making: false,
    reason,
  };
  const made = renew(lost);
  // The server counts a little longer than the client believes, or renewed unheard: the program no longer
  // uses the seat, so the old session gives it back at once if it is there. Nobody waits for the answer.
  const effects: ClientEffect[] = [
    tell("lost", reason),
    {
      type: "release",
      server: authorization.server,
      timeoutMs: troubleAfterMs(authorization.lifeMs),
      session: state.session,
      n,
    },
    ...made.effects,
  ];
  return { state: made.state, effects };
}

/** The end that nobody should retry. A program that had a seat is told that it lost it. */
export function refuseForGood(state: ClientActive, refusal: Refusal | null): ClientStep {
  const reason = refusal?.refused ?? null;
  const revoked = refusal?.refused === "revoked" && state.name !== "requesting";
  const { session } = state;
  let { n } = state;
  // Nobody will ever use what a silent server may have granted; nobody waits for these answers either.
  const forgotten = state.suspects.map(({ server }): ClientEffect => {
    n += 1;
    return { type: "release", server, timeoutMs: RELEASE_TIMEOUT_MS, session, n };
  });
  const effects: ClientEffect[] = [
    ...(isBelieving(state) ? [tell("lost", reason)] : []),
    tell(revoked ? "revoked" : "refused", reason),
    ...forgotten,
  ];
  return { state: { name: "refused", session, n, refusal }, effects };
}

/** The program gives the seats back: to the own server, and to all that may have granted as well. */
export function release(state: ClientActive, now: Clocks): ClientStep {
  const servers = new Set<string>();
  if (isBelieving(state)) servers.add(state.authorization.server);
  if (state.asked !== null) servers.add(state.asked.server);
  for (const suspect of state.suspects) servers.add(suspect.server);
  const { session } = state;
  if (servers.size === 0 || state.making) {
    return { state: { name: "released", session, n: state.n }, effects: [tell("released")] };
  }
  const timeoutMs = isBelieving(state)
    ? troubleAfterMs(state.authorization.lifeMs)
    : RELEASE_TIMEOUT_MS;
  const base: Releasing = {
    name: "releasing",
    session,
    servers: state.servers,
    n: state.n,
    calls: [],
    timeoutMs: Math.min(timeoutMs, RELEASE_TIMEOUT_MS),
    untilMs: now.monotonicMs + RELEASE_MS_MAX,
  };
  let step: ClientStep<Releasing> = { state: base, effects: [] };
  for (const server of servers) step = callRelease(step, server, []);
  return step;
}

/** One release was answered, or not: another server may pass it on to the member that holds the seat. */
export function releaseAnswered(
  state: Releasing,
  event: Extract<ClientEvent, { type: "release-answered" }>,
): ClientStep {
  const call = state.calls.find(({ n }) => n === event.n);
  if (call === undefined) return { state, effects: [] };
  const rest: Releasing = { ...state, calls: state.calls.filter((other) => other !== call) };
  if (!event.done && call.tried.length < RELEASE_TRIES_MAX) {
    const server = rest.servers.find((candidate) => !call.tried.includes(candidate));
    if (server !== undefined) return callRelease({ state: rest, effects: [] }, server, call.tried);
  }
  return rest.calls.length > 0 ? { state: rest, effects: [] } : over(rest);
}

export function releaseTick(state: Releasing, now: Clocks): ClientStep {
  return now.monotonicMs >= state.untilMs ? over(state) : { state, effects: [] };
}

function callRelease(
  { state, effects }: ClientStep<Releasing>,
  server: string,
  tried: readonly string[],
): ClientStep<Releasing> {
  const n = state.n + 1;
  const call: ClientReleaseCall = { n, server, tried: [...tried, server] };
  const { session, timeoutMs } = state;
  return {
    state: { ...state, n, calls: [...state.calls, call] },
    effects: [...effects, { type: "release", server, timeoutMs, session, n }],
  };
}

function over(state: Releasing): ClientStep {
  const { session, n } = state;
  return { state: { name: "released", session, n }, effects: [tell("released")] };
}
