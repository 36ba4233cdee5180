/**
 * The two bodies and the query of the hot path, checked by hand: a schema compiled by Ajv costs more than
 * the whole rest of a heartbeat. `session-bodies.test.ts` holds these functions to the schemas of
 * `@quorate/protocol`, case by generated case.
 *
 * A complaint is a sentence that names the member of the body that is wrong. None repeats a value: it may
 * be a secret in the wrong place.
 */
import {
  NAME_CHARACTERS_MAX,
  NAME_PATTERN,
  SEATS_MAX,
  TOKEN_CHARACTERS_MAX,
  VERSION_CHARACTERS_MAX,
  WAIT_MS_MAX,
} from "@quorate/core";
import {
  NONCE_CHARACTERS_MAX,
  PRINTABLE_PATTERN,
  REASON_CHARACTERS_MAX,
  SESSION_PATTERN,
  VERSION_PATTERN,
  VISIBLE_PATTERN,
} from "@quorate/protocol";
import type { CheckoutRequest, HeartbeatRequest } from "@quorate/protocol";

export type CheckoutBody = Omit<CheckoutRequest, "secret">;
export type HeartbeatBody = Omit<HeartbeatRequest, "session" | "secret">;

const NAME = new RegExp(NAME_PATTERN);
/** So few digits are always a safe integer. */
const ONLY_N = /^n=\d{1,15}$/;
const SESSION = new RegExp(SESSION_PATTERN);
const VERSION = new RegExp(VERSION_PATTERN);
const VISIBLE = new RegExp(VISIBLE_PATTERN);
const PRINTABLE = new RegExp(PRINTABLE_PATTERN, "u");

/** The body of a checkout, or the complaint. */
export function readCheckoutBody(value: unknown): CheckoutBody | string {
  const complaint = checkoutComplaint(value);
  // The checks are hand-written and proven against the schema by tests; the compiler has to be told.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return complaint ?? (value as CheckoutBody);
}

/** The body of a heartbeat, or the complaint. */
export function readHeartbeatBody(value: unknown): HeartbeatBody | string {
  const complaint = heartbeatComplaint(value);
  // The same as above: what has no complaint has the shape.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return complaint ?? (value as HeartbeatBody);
}

function checkoutComplaint(body: unknown): string | null {
  if (!isObject(body)) return "The body must be a JSON object.";
  for (const key in body) {
    const complaint =
      key === "session"
        ? isSession(body[key])
          ? null
          : "session must be 43 characters of base64url."
        : sharedComplaint(key, body[key]);
    if (complaint !== null) return complaint;
  }
  if (body["session"] === undefined) return "session is missing.";
  if (body["feature"] === undefined) return "feature is missing.";
  if (body["holder"] === undefined) return "holder is missing.";
  return null;
}

function heartbeatComplaint(body: unknown): string | null {
  if (!isObject(body)) return "The body must be a JSON object.";
  for (const key in body) {
    const value = body[key];
    const complaint =
      key === "token"
        ? isVisible(value, TOKEN_CHARACTERS_MAX)
          ? null
          : `token must be 1 to ${TOKEN_CHARACTERS_MAX} visible ASCII characters.`
        : key === "confirm"
          ? isVisible(value, NONCE_CHARACTERS_MAX)
            ? null
            : `confirm must be 1 to ${NONCE_CHARACTERS_MAX} visible ASCII characters.`
          : sharedComplaint(key, value);
    if (complaint !== null) return complaint;
  }
  return null;
}

export interface ReleaseWords {
  readonly n?: number;
  readonly only?: string;
  readonly reason?: string;
}

/** The query of a release as values, or the complaint. */
export function readReleaseQuery(query: string): ReleaseWords | string {
  // What the SDK sends; the general way below reads it the same, ten times slower.
  if (ONLY_N.test(query)) return { n: Number(query.slice(2)) };
  const words: { n?: number; only?: string; reason?: string } = {};
  for (const [key, text] of new URLSearchParams(query)) {
    if (Object.hasOwn(words, key)) return `${key} is there twice.`;
    if (key === "n") {
      const n = /^\d{1,16}$/.test(text) ? Number(text) : null;
      if (!isInteger(n, 0, Number.MAX_SAFE_INTEGER)) return N_WORDS;
      words.n = n;
    } else if (key === "only") {
      if (!isName(text)) return `only must be ${NAME_WORDS}.`;
      words.only = text;
    } else if (key === "reason") {
      if (!isPrintable(text, REASON_CHARACTERS_MAX)) {
        return `reason must be 1 to ${REASON_CHARACTERS_MAX} printable characters.`;
      }
      words.reason = text;
    } else return unknownMember(key);
  }
  return words;
}

export function isSession(value: unknown): value is string {
  return typeof value === "string" && value.length === 43 && SESSION.test(value);
}

/** The name of an unknown member, made safe to show. */
export function unknownMember(key: string): string {
  const shown =
    key.length <= NAME_CHARACTERS_MAX && PRINTABLE.test(key) ? JSON.stringify(key) : null;
  return shown === null ? "There is a member that is not known." : `${shown} is not known here.`;
}

const NAME_WORDS = `1 to ${NAME_CHARACTERS_MAX} letters, digits, dots, dashes or underscores`;
const N_WORDS = "n must be an integer from 0 to 2^53 - 1.";

function sharedComplaint(key: string, value: unknown): string | null {
  switch (key) {
    case "n":
      return isInteger(value, 0, Number.MAX_SAFE_INTEGER) ? null : N_WORDS;
    case "feature":
      return isName(value) ? null : `feature must be ${NAME_WORDS}.`;
    case "version":
      return typeof value === "string" &&
        value.length <= VERSION_CHARACTERS_MAX &&
        VERSION.test(value)
        ? null
        : `version must be 1 to ${VERSION_CHARACTERS_MAX} characters such as 2026.1.`;
    case "seats":
      return isInteger(value, 1, SEATS_MAX)
        ? null
        : `seats must be an integer from 1 to ${SEATS_MAX}.`;
    case "waitMs":
      return isInteger(value, 0, WAIT_MS_MAX)
        ? null
        : `waitMs must be an integer from 0 to ${WAIT_MS_MAX}.`;
    case "holder":
      return holderComplaint(value);
    default:
      return unknownMember(key);
  }
}

function holderComplaint(holder: unknown): string | null {
  if (!isObject(holder)) return "holder must be an object with user and host.";
  for (const key in holder) {
    if (key !== "user" && key !== "host" && key !== "process") {
      return `holder: ${unknownMember(key)}`;
    }
    if (!isPrintable(holder[key], NAME_CHARACTERS_MAX)) {
      return `holder.${key} must be 1 to ${NAME_CHARACTERS_MAX} printable characters.`;
    }
  }
  if (holder["user"] === undefined) return "holder.user is missing.";
  if (holder["host"] === undefined) return "holder.host is missing.";
  return null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isInteger(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && typeof value === "number" && value >= min && value <= max;
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length <= NAME_CHARACTERS_MAX && NAME.test(value);
}

function isVisible(value: unknown, max: number): value is string {
  return typeof value === "string" && value.length <= max && VISIBLE.test(value);
}

function isPrintable(value: unknown, max: number): value is string {
  if (typeof value !== "string" || !PRINTABLE.test(value)) return false;
  if (value.length <= max) return true;
  // JSON schema counts characters, JavaScript halves of them; the bound of twice as many comes first.
  return value.length <= 2 * max && Array.from(value).length <= max;
}
