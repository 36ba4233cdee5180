/**
 * Who may change the pool: whoever sends the administrator's token. Both sides are hashed first, so that
 * the comparison takes the same time whatever was sent and however long it is.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { refuse } from "@quorate/core";
import type { Refusal } from "@quorate/core";

/** Null when the header carries the token. */
export type AdministratorCheck = (authorization: string | undefined) => Refusal | null;

export function administratorCheck(adminToken: string | null): AdministratorCheck {
  if (adminToken === "")
    throw new RangeError("an empty administrator's token would let anybody in");
  const expected = adminToken === null ? null : digestOf(adminToken);
  return (authorization) => {
    if (expected === null) return NO_TOKEN_CONFIGURED;
    if (authorization === undefined) return TOKEN_MISSING;
    const match = BEARER.exec(authorization);
    if (match?.[1] === undefined) return TOKEN_MISSING;
    return timingSafeEqual(digestOf(match[1]), expected) ? null : TOKEN_WRONG;
  };
}

const BEARER = /^Bearer +(\S+) *$/i;

const NO_TOKEN_CONFIGURED = refuse(
  "forbidden",
  "This server was started without an administrator's token. Start it with --admin-token-file or QUORATE_ADMIN_TOKEN_FILE.",
);
const TOKEN_MISSING = refuse(
  "unauthorized",
  "Send the administrator's token in the header Authorization: Bearer <token>.",
);
const TOKEN_WRONG = refuse("forbidden", "This is not the administrator's token of this server.");

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
