/**
 * Refusals as RFC 9457 problem documents and back. The table of codes is `REFUSALS` in core; here is only
 * how a line of it looks on the wire.
 */
import { REFUSALS } from "@quorate/core";
import type { Refusal, RefusalCode } from "@quorate/core";

export const PROBLEM_MEDIA_TYPE = "application/problem+json";
export const PROBLEM_TYPE_PREFIX = "urn:quorate:refusal:";

export interface Problem extends Omit<Refusal, "refused"> {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: RefusalCode;
}

/** `status` stands in for the table's where HTTP has a finer one, such as 431 for long headers. */
export function problemOf(refusal: Refusal, status?: number): Problem {
  const { refused, detail, ...more } = refusal;
  const rule = REFUSALS[refused];
  return {
    type: PROBLEM_TYPE_PREFIX + refused,
    title: rule.title,
    status: status ?? rule.status,
    detail,
    code: refused,
    ...more,
  };
}

/**
 * The refusal in an answer's body, or null when the body is no problem document of ours (a proxy's error
 * page, say). A member of the wrong type is left out: a client must survive a server that is newer.
 */
export function refusalOf(body: unknown): Refusal | null {
  if (!isRecord(body)) return null;
  const { code, detail, nonce, leader, retryAfterMs, place, ticket } = body;
  if (!isRefusalCode(code)) return null;
  return {
    refused: code,
    detail: typeof detail === "string" ? detail : "",
    ...(typeof nonce === "string" ? { nonce } : {}),
    ...(typeof leader === "string" ? { leader } : {}),
    ...(typeof retryAfterMs === "number" ? { retryAfterMs } : {}),
    ...(typeof place === "number" ? { place } : {}),
    ...(typeof ticket === "string" ? { ticket } : {}),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isRefusalCode(code: unknown): code is RefusalCode {
  return typeof code === "string" && Object.hasOwn(REFUSALS, code);
}
