/**
 * The one table of refusals: stable code, HTTP status, what a client does next, and what it means in
 * words. A refusal is a value; exceptions mean a bug.
 */
export type NextStep =
  /** Try the same again later, with back-off. */
  | "again-later"
  /** Repeat the same session at once or after `retryAfterMs`; it keeps its place. */
  | "repeat"
  /** Ask another server. */
  | "try-others"
  /** Go to the leader named in the refusal. */
  | "go-to-leader"
  /** This session is over; a new one may be made. */
  | "over"
  /** The caller has a bug, or is not who it says it is: do not repeat. */
  | "stop";

export interface RefusalRule {
  readonly status: number;
  readonly next: NextStep;
  readonly title: string;
}

export const REFUSALS = {
  "no-seats": { status: 409, next: "again-later", title: "All seats of the feature are in use" },
  queued: { status: 409, next: "repeat", title: "Waiting for a seat; repeat to keep the place" },
  confirm: { status: 409, next: "repeat", title: "Repeat the heartbeat with this nonce" },
  "no-majority": {
    status: 503,
    next: "try-others",
    title: "This server does not reach a majority of the pool",
  },
  "no-mandate": {
    status: 503,
    next: "try-others",
    title: "This server may not grant at the moment",
  },
  "not-leader": { status: 421, next: "go-to-leader", title: "Only the leader can answer this" },
  busy: { status: 503, next: "again-later", title: "The server is busy; back off" },
  revoked: { status: 410, next: "over", title: "The authorization was revoked" },
  released: { status: 410, next: "over", title: "The authorization was released" },
  "unknown-feature": { status: 404, next: "over", title: "The license has no such feature" },
  "version-not-covered": {
    status: 403,
    next: "over",
    title: "The license does not cover this version",
  },
  "feature-expired": {
    status: 403,
    next: "over",
    title: "The license for the feature has expired",
  },
  "not-started": {
    status: 403,
    next: "over",
    title: "The license for the feature has not started",
  },
  "denied-by-policy": { status: 403, next: "over", title: "A policy denies this request" },
  "not-your-session": {
    status: 403,
    next: "stop",
    title: "The secret does not belong to this session",
  },
  "session-mismatch": {
    status: 409,
    next: "stop",
    title: "The session is in use for another feature or number of seats",
  },
  "bad-request": { status: 400, next: "stop", title: "The request is not well-formed" },
  "not-found": { status: 404, next: "stop", title: "There is nothing at this path" },
  "method-not-allowed": { status: 405, next: "stop", title: "The path has no such method" },
  "unsupported-media-type": { status: 415, next: "stop", title: "Send JSON" },
  "too-large": { status: 413, next: "stop", title: "The request is too large" },
  unauthorized: { status: 401, next: "stop", title: "A token is needed" },
  forbidden: { status: 403, next: "stop", title: "Not allowed" },
  csrf: { status: 403, next: "stop", title: "A page must repeat the mark of its login" },
  "license-older": { status: 409, next: "stop", title: "The pool has a newer license" },
  "license-conflict": {
    status: 409,
    next: "stop",
    title: "The pool has another license with the same sequence number",
  },
  "license-invalid": { status: 422, next: "stop", title: "The license is not valid" },
  "internal-error": {
    status: 500,
    next: "try-others",
    title: "The server failed to answer; its log says why",
  },
} as const satisfies Record<string, RefusalRule>;

export type RefusalCode = keyof typeof REFUSALS;

/** A refusal as a value. `detail` says in a sentence what to do; never holds a secret. */
export interface Refusal {
  readonly refused: RefusalCode;
  readonly detail: string;
  /** Single-use, for `confirm`. */
  readonly nonce?: string;
  /** The leader's URL, for `not-leader`. */
  readonly leader?: string;
  /** When a repeat makes sense. */
  readonly retryAfterMs?: number;
  /** Place in the queue, from 1, and the ticket, for `queued`. */
  readonly place?: number;
  readonly ticket?: string;
}

export function refuse(
  refused: RefusalCode,
  detail: string,
  more: Omit<Refusal, "refused" | "detail"> = {},
): Refusal {
  return { refused, detail, ...more };
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === "object" && value !== null && "refused" in value;
}
