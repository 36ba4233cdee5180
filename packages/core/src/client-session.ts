/**
 * The client's side of a session (design sections 4.4 and 4.6), as one pure step.
 *
 *                  +-------- queued <---------+  all seats in use, and there is time to wait
 *                  v                          |
 *   begin --> requesting ---------------------+----------> refused   the pool said no, or nobody answered
 *                  |                                          ^
 *                  | granted                                  | revoked; a bug or a thief
 *                  v        no answer, "ask others"           |
 *      +-------> held ------------------------------> recovering    belief still runs: leader first,
 *      |          |  ^--- renewed, or converted ----------|  |      then the own server and all others
 *      |          |                                          |
 *      |          +---- the wall clock alone says "ended" ---+--> doubted   heartbeat at once; the word
 *      |          |                                          |       |      is held back for 2 s
 *      |          |     belief ended                         |       |
 *      |          +---------------> lost <-------------------+-------+
 *      |   regained                  |   a NEW session is tried, without token
 *      +-----------------------------+
 *
 *   any of these -- the program releases --> releasing -- answered, or tried long enough --> released
 *
 * Rules that everything else rests on: only the answer to the highest `n` that asked for something is
 * used; belief counts from the send of that message by the longest clock, and it is looked at FIRST in
 * every step, before any event is; after its end nothing is confirmed and nothing of the session is used.
 *
 * Deliberately absent: secrets, I/O, timers. The caller carries out the effects, in order, and calls back
 * with `tick` after `wakeAfterMs`, or whenever a clock jumped.
 */
import type { Clocks } from "./clocks.ts";
import {
  abandon,
  ask,
  duplicateAnswered,
  isBelieving,
  moveOn,
  nextServer,
  overdueAtMs,
  releaseDuplicates,
} from "./client-asking.ts";
import {
  granted,
  refusedWhileBelieving,
  refusedWhileWanting,
  sessionReady,
  unanswered,
} from "./client-answers.ts";
import {
  HOLD_BACK_MS,
  beliefLeftMs,
  beliefVerdict,
  heartbeatInMs,
  steadyLeftMs,
} from "./client-belief.ts";
import { lose, release, releaseAnswered, releaseTick } from "./client-ending.ts";
import type {
  ClientActive,
  ClientBelieving,
  ClientEffect,
  ClientEvent,
  ClientState,
  ClientStep,
  ClientWants,
  ClientWanting,
  Doubted,
  Held,
  Releasing,
  Requesting,
} from "./client-types.ts";
import { isRefusal } from "./refusals.ts";

/** A caller's timer is set at most this far ahead; an early `tick` does no harm. */
const WAKE_MS_MAX = 24 * 3_600_000;

/** The first message of a new session. `servers` must not be empty; the first is asked first. */
export function begin(
  wants: ClientWants,
  servers: readonly string[],
  session: string,
  now: Clocks,
): ClientStep {
  const first = servers[0];
  if (first === undefined) throw new RangeError("a client needs at least one server");
  const state: Requesting = {
    name: "requesting",
    wants,
    servers,
    leader: null,
    session,
    n: 0,
    asked: null,
    tried: [],
    prefer: null,
    attempt: 0,
    retryAtMs: null,
    confirms: 0,
    suspects: [],
    making: false,
    waitUntilMs: now.monotonicMs + wants.waitMs,
    giveUpAtMs: now.monotonicMs + Math.max(wants.waitMs, wants.patienceMs),
    lastRefusal: null,
  };
  return ask(state, first, now);
}

export function step(state: ClientState, event: ClientEvent, now: Clocks): ClientStep {
  // A release needs no belief; everything else is looked at with belief as it is now.
  const checked = isBelieving(state) && event.type !== "release" ? look(state, now) : quiet(state);
  const handled = dispatch(checked.state, event, now);
  return { state: handled.state, effects: [...checked.effects, ...handled.effects] };
}

/** Whether the program may use its seats at this moment. */
export function believes(state: ClientState, now: Clocks): boolean {
  if (!isBelieving(state)) return false;
  const verdict = beliefVerdict(state.authorization, now, state.wants.hasBootClock);
  if (verdict !== "doubted") return verdict === "believed";
  return state.name !== "doubted" || now.monotonicMs < state.doubtedAtMs + HOLD_BACK_MS;
}

/** Milliseconds until the machine needs a `tick`; null when it only waits for events, or is over. */
export function wakeAfterMs(state: ClientState, now: Clocks): number | null {
  if (state.name === "released" || state.name === "refused") return null;
  const waits: number[] = [];
  if (state.name === "releasing") {
    waits.push(state.untilMs - now.monotonicMs);
  } else {
    if (state.asked !== null) waits.push(overdueAtMs(state.asked) - now.monotonicMs);
    if (state.retryAtMs !== null) waits.push(state.retryAtMs - now.monotonicMs);
    if (isBelieving(state)) waits.push(beliefWaitMs(state, now));
    if (state.name === "held" && state.asked === null) {
      waits.push(heartbeatInMs(state.authorization, now));
    }
  }
  if (waits.length === 0) return null;
  return Math.min(WAKE_MS_MAX, Math.max(0, Math.ceil(Math.min(...waits))));
}

type Name = ClientState["name"];
type EventType = ClientEvent["type"];
type EventOf<E extends EventType> = Extract<ClientEvent, { type: E }>;
type StateOf<S extends Name> = Extract<ClientState, { name: S }>;
type Table = {
  readonly [S in Name]: {
    readonly [E in EventType]: (state: StateOf<S>, event: EventOf<E>, now: Clocks) => ClientStep;
  };
};

const wanting = {
  answer: answeredWhileWanting,
  "no-answer": notAnswered,
  tick: tickWhileWanting,
  release: (state: ClientWanting, _event: unknown, now: Clocks) => release(state, now),
  "session-made": sessionMade,
  "release-answered": quiet,
  "duplicate-answered": quiet,
};

const believing = {
  answer: answeredWhileBelieving,
  "no-answer": notAnswered,
  tick: tickWhileBelieving,
  release: (state: ClientBelieving, _event: unknown, now: Clocks) => release(state, now),
  "session-made": quiet,
  "release-answered": quiet,
  "duplicate-answered": duplicateDropped,
};

const ended = {
  answer: quiet,
  "no-answer": quiet,
  tick: quiet,
  release: quiet,
  "session-made": quiet,
  "release-answered": quiet,
  "duplicate-answered": quiet,
};

const TABLE: Table = {
  requesting: wanting,
  queued: wanting,
  held: believing,
  recovering: believing,
  doubted: believing,
  lost: wanting,
  releasing: {
    ...ended,
    tick: (state: Releasing, _event, now) => releaseTick(state, now),
    "release-answered": (state: Releasing, event) => releaseAnswered(state, event),
  },
  released: ended,
  refused: ended,
};

function dispatch(state: ClientState, event: ClientEvent, now: Clocks): ClientStep {
  // The table's type proves that every cell fits its state and event; a lookup by two unions can't say so.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const cell = TABLE[state.name][event.type] as (
    state: ClientState,
    event: ClientEvent,
    now: Clocks,
  ) => ClientStep;
  return cell(state, event, now);
}

function quiet(state: ClientState): ClientStep {
  return { state, effects: [] };
}

/** Belief as it is now: unchanged, in doubt, believed again, or lost. */
function look(state: ClientBelieving, now: Clocks): ClientStep {
  const verdict = beliefVerdict(state.authorization, now, state.wants.hasBootClock);
  if (verdict === "ended") return lose(state, "expired");
  if (state.name === "doubted") {
    if (verdict === "believed") return quiet(withoutDoubt(state));
    return now.monotonicMs >= state.doubtedAtMs + HOLD_BACK_MS
      ? lose(state, "expired")
      : quiet(state);
  }
  if (verdict === "believed") return quiet(state);
  // An answer to a message from before the jump would be as old as the jump: a new one goes out.
  const left = abandon(state);
  const { authorization } = left;
  const doubted: Doubted = {
    ...left,
    name: "doubted",
    authorization,
    tried: [],
    doubtedAtMs: now.monotonicMs,
  };
  return ask(doubted, authorization.server, now);
}

/** The wall clock was set back to where it was: what is in flight is recovery as usual. */
function withoutDoubt(state: Doubted): ClientState {
  const { doubtedAtMs: _doubtedAtMs, ...rest } = state;
  return { ...rest, name: "recovering" };
}

function beliefWaitMs(state: ClientBelieving, now: Clocks): number {
  if (state.name !== "doubted") return beliefLeftMs(state.authorization, now);
  const heldBackMs = state.doubtedAtMs + HOLD_BACK_MS - now.monotonicMs;
  return Math.min(heldBackMs, steadyLeftMs(state.authorization, now));
}

function answeredWhileWanting(
  state: ClientWanting,
  event: EventOf<"answer">,
  now: Clocks,
): ClientStep {
  const { asked } = state;
  if (asked === null || asked.n !== event.n) return quiet(state);
  const { answer, random } = event;
  return isRefusal(answer)
    ? refusedWhileWanting(state, answer, asked, now, random)
    : granted(state, answer, asked, now, random);
}

function answeredWhileBelieving(
  state: ClientBelieving,
  event: EventOf<"answer">,
  now: Clocks,
): ClientStep {
  const { asked } = state;
  if (asked === null || asked.n !== event.n) return quiet(state);
  const { answer, random } = event;
  return isRefusal(answer)
    ? refusedWhileBelieving(state, answer, asked, now, random)
    : granted(state, answer, asked, now, random);
}

function notAnswered(state: ClientActive, event: EventOf<"no-answer">, now: Clocks): ClientStep {
  if (state.asked?.n !== event.n) return quiet(state);
  return unanswered(state, now, event.random);
}

function tickWhileWanting(state: ClientWanting, event: EventOf<"tick">, now: Clocks): ClientStep {
  return due(state, now, event.random) ?? quiet(state);
}

function tickWhileBelieving(
  state: ClientBelieving,
  event: EventOf<"tick">,
  now: Clocks,
): ClientStep {
  const step = due(state, now, event.random);
  if (step !== null) return step;
  return state.name === "held" ? heartbeatIfDue(state, now) : quiet(state);
}

/** What the clock asks for in any active state: an overdue answer, or the next message. */
function due(state: ClientActive, now: Clocks, random: number): ClientStep | null {
  if (state.asked !== null) {
    return now.monotonicMs < overdueAtMs(state.asked) ? null : unanswered(state, now, random);
  }
  if (state.retryAtMs === null || now.monotonicMs < state.retryAtMs) return null;
  const server = nextServer(state);
  return server === null ? moveOn(state, now, random) : ask(state, server, now);
}

function heartbeatIfDue(state: Held, now: Clocks): ClientStep {
  if (state.asked !== null || heartbeatInMs(state.authorization, now) > 0) return quiet(state);
  const sent = ask(state, state.authorization.server, now);
  const dropped = releaseDuplicates(sent.state);
  const effects: ClientEffect[] = [...sent.effects, ...dropped.effects];
  return { state: dropped.state, effects };
}

function sessionMade(
  state: ClientWanting,
  event: EventOf<"session-made">,
  now: Clocks,
): ClientStep {
  if (!state.making) return quiet(state);
  return sessionReady(state, event.session, now, event.random);
}

function duplicateDropped(
  state: ClientBelieving,
  event: EventOf<"duplicate-answered">,
): ClientStep {
  if (event.session !== state.session) return quiet(state);
  return quiet(duplicateAnswered(state, event.server, event.done));
}
