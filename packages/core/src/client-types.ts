/**
 * The vocabulary of the client's side of a session: what is wanted, the states, events and effects of
 * the machine in `client-session.ts`.
 */
import type { Clocks } from "./clocks.ts";
import type { Refusal } from "./refusals.ts";

/** What the program asked for; the same for the life of an authorization, also after `lost`. */
export interface ClientWants {
  readonly feature: string;
  readonly version?: string;
  readonly seats: number;
  readonly holder: { readonly user: string; readonly host: string; readonly process?: string };
  /** How long the first checkout waits for a seat; 0: it does not. */
  readonly waitMs: number;
  /** How long the first checkout goes on when no server can answer it at all. */
  readonly patienceMs: number;
  /** True if `bootMs` really counts sleep: then a jump of the wall clock alone is held back. */
  readonly hasBootClock: boolean;
}

/** The part of a positive answer that the rules need. */
export interface ClientGrant {
  readonly session: string;
  readonly feature: string;
  readonly seats: number;
  readonly member: string;
  readonly lifeMs: number;
  readonly heartbeatMs: number;
  readonly token?: string;
  readonly pool: { readonly leader: string | null; readonly servers: readonly string[] };
}

/** What the client believes it holds, and since when it may. */
export interface ClientAuthorization {
  /** Where it was granted or last renewed. */
  readonly server: string;
  readonly member: string;
  readonly seats: number;
  readonly lifeMs: number;
  readonly heartbeatMs: number;
  readonly token: string | null;
  /** Clocks at the send of the message whose answer brought the token. */
  readonly tokenAt: Clocks;
  /** Clocks at the first send of the answered `n`: belief counts from here. */
  readonly since: Clocks;
}

/** The one message whose answer counts: the newest that asked for a grant or a renewal. */
export interface ClientAsk {
  readonly n: number;
  readonly server: string;
  readonly kind: "checkout" | "heartbeat";
  readonly sentAt: Clocks;
  readonly timeoutMs: number;
}

/** A server whose answer never came: it may have granted a seat nobody uses. */
export interface ClientSuspect {
  readonly server: string;
  readonly tries: number;
  readonly inFlight: boolean;
}

export interface ClientBase {
  readonly wants: ClientWants;
  /** The servers the program named, then those that members named. Never empty. */
  readonly servers: readonly string[];
  readonly leader: string | null;
  readonly session: string;
  /** The highest `n` sent so far; it goes on growing over a new session. */
  readonly n: number;
  readonly asked: ClientAsk | null;
  /** Asked in this round; when all were, there is a pause and a new round. */
  readonly tried: readonly string[];
  /** The server to ask next, ahead of its turn. */
  readonly prefer: string | null;
  /** Rounds without success, for the back-off. */
  readonly attempt: number;
  /** Monotonic instant of the next message, when it waits for one. */
  readonly retryAtMs: number | null;
  /** Confirmations sent since the last other answer. */
  readonly confirms: number;
  readonly suspects: readonly ClientSuspect[];
  /** True while a new session was ordered and is not made yet; nothing is asked meanwhile. */
  readonly making: boolean;
}

export interface ClientFirst {
  /** Monotonic instants at which waiting for a seat, and trying at all, end. */
  readonly waitUntilMs: number;
  readonly giveUpAtMs: number;
  /** What the program hears when trying ends; null: no server answered. */
  readonly lastRefusal: Refusal | null;
}

export interface Requesting extends ClientBase, ClientFirst {
  readonly name: "requesting";
}
export interface Queued extends ClientBase, ClientFirst {
  readonly name: "queued";
  readonly place: number | null;
}
export interface Held extends ClientBase {
  readonly name: "held";
  readonly authorization: ClientAuthorization;
}
export interface Recovering extends ClientBase {
  readonly name: "recovering";
  readonly authorization: ClientAuthorization;
}
export interface Doubted extends ClientBase {
  readonly name: "doubted";
  readonly authorization: ClientAuthorization;
  readonly doubtedAtMs: number;
}
export interface Lost extends ClientBase {
  readonly name: "lost";
  readonly reason: string;
}
export interface ClientReleaseCall {
  readonly n: number;
  readonly server: string;
  /** Servers asked for this one release, to bound it. */
  readonly tried: readonly string[];
}
export interface Releasing {
  readonly name: "releasing";
  readonly session: string;
  readonly servers: readonly string[];
  readonly n: number;
  readonly calls: readonly ClientReleaseCall[];
  readonly timeoutMs: number;
  readonly untilMs: number;
}
export interface Released {
  readonly name: "released";
  readonly session: string;
  readonly n: number;
}
/** The end without a seat that nobody should retry: null when no server answered. */
export interface Refused {
  readonly name: "refused";
  readonly session: string;
  readonly n: number;
  readonly refusal: Refusal | null;
}

/** The client believes it holds its seats (in `doubted` for two seconds more, see there). */
export type ClientBelieving = Held | Recovering | Doubted;
/** The client has nothing and asks for it. */
export type ClientWanting = Requesting | Queued | Lost;
export type ClientActive = ClientBelieving | ClientWanting;
export type ClientState = ClientActive | Releasing | Released | Refused;

/** Every event brings a number in [0, 1) for the jitter, as the core draws none. */
export type ClientEvent = { readonly random: number } & (
  | { readonly type: "answer"; readonly n: number; readonly answer: ClientGrant | Refusal }
  /** The connection was refused, the answer was malformed, or none came in time. */
  | { readonly type: "no-answer"; readonly n: number }
  /** The time of `wakeAfterMs` has come, or a clock jumped. Harmless at any time. */
  | { readonly type: "tick" }
  | { readonly type: "release" }
  | { readonly type: "session-made"; readonly session: string }
  | {
      readonly type: "release-answered";
      readonly n: number;
      /** False: not reached, or to be tried elsewhere. */
      readonly done: boolean;
    }
  | {
      readonly type: "duplicate-answered";
      readonly session: string;
      readonly server: string;
      readonly done: boolean;
    }
);

/** A checkout as the wire wants it, without the secret, which the core never sees. */
export interface ClientCheckout {
  readonly session: string;
  readonly n: number;
  readonly feature: string;
  readonly version?: string;
  readonly seats: number;
  readonly holder: ClientWants["holder"];
  readonly waitMs?: number;
}

/** A heartbeat; the own server needs only `session` and `n`. */
export interface ClientHeartbeat {
  readonly session: string;
  readonly n: number;
  readonly token?: string;
  readonly confirm?: string;
  readonly feature?: string;
  readonly version?: string;
  readonly seats?: number;
  readonly holder?: ClientWants["holder"];
}

/** What the program is told. */
export type ClientWord =
  | "granted"
  | "queued"
  | "renewed"
  | "moved"
  | "lost"
  | "regained"
  | "revoked"
  | "refused"
  | "released";

export type ClientEffect =
  | {
      readonly type: "checkout";
      readonly server: string;
      readonly timeoutMs: number;
      readonly request: ClientCheckout;
    }
  | {
      readonly type: "heartbeat";
      readonly server: string;
      readonly timeoutMs: number;
      readonly request: ClientHeartbeat;
    }
  | {
      readonly type: "release";
      readonly server: string;
      readonly timeoutMs: number;
      readonly session: string;
      readonly n: number;
    }
  /** Learn the id of the member at `server`; unless it is `notMember`, release its grant alone. */
  | {
      readonly type: "release-duplicate";
      readonly server: string;
      readonly timeoutMs: number;
      readonly session: string;
      readonly n: number;
      readonly notMember: string;
    }
  /** Make a new secret and answer with `session-made`. */
  | { readonly type: "new-session" }
  | { readonly type: "tell"; readonly word: ClientWord; readonly reason: string | null };

export interface ClientStep<S extends ClientState = ClientState> {
  readonly state: S;
  readonly effects: readonly ClientEffect[];
}
