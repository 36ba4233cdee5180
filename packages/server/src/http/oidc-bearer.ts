/**
 * Calls with a token of the issuer's: JSON web tokens, for scripts and programs that have one anyway.
 *
 * A token is verified before its request is looked at, and for a moment afterwards it is known; so the check of who
 * may do what stays without waiting, and a call without such a token pays nothing.
 *
 * What counts is the issuer's own key and an algorithm with a key pair. A token that names none, or one that would
 * take a public key for a secret, is no token.
 */
import { hash } from "node:crypto";
import { type Refusal, refuse } from "@quorate/core";
import type { JWTPayload, JWTVerifyGetKey } from "jose";
import type { Caller } from "./access.ts";
import {
  ISSUER_SECONDS_MAX,
  ISSUER_SILENT,
  type OidcIssuer,
  personOf,
  roleOf,
} from "./oidc-issuer.ts";
import { rawHeader, type RequestHead } from "./raw-header.ts";

export interface OidcBearer {
  /** Whether the request brings a token that has to be verified first. */
  isUnverified(request: RequestHead): boolean;
  /** Null: there is nothing to wait for. Never rejects. */
  prepare(request: RequestHead): Promise<void> | null;
  /** Null: it is no token of an issuer's, or it was not prepared. */
  callerOf(token: string): Caller | Refusal | null;
  /** When the token itself ends; null: it is not known here. */
  endOf(token: string): number | null;
}

/** The header is a JSON object, so it begins like this; an administrator's own token does not. */
const WEB_TOKEN = /^eyJ[A-Za-z0-9_-]{2,4096}\.[A-Za-z0-9_-]{2,8192}\.[A-Za-z0-9_-]*$/;
const BEARER = /^Bearer +(\S+) *$/i;
const ALGORITHMS = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split(" ");
/** An ID token, an access token (RFC 9068) or one that does not say; not a logout token, say. */
const TYPES: ReadonlySet<string> = new Set(["jwt", "at+jwt", "application/at+jwt"]);
const TOKENS_KNOWN_MAX = 1_000;
/** So long what was found counts, if the token does not end before: a new key of the issuer's takes no longer. */
const KNOWN_MS_MAX = 60_000;
/** A token that was refused may be good when the issuer's new key is here. */
const REFUSED_MS = 5_000;
const VERIFYING_MAX = 100;
const CLOCK_SECONDS = 5;

interface Known {
  readonly answer: Caller | Refusal;
  readonly untilMs: number;
  /** Missing: the token opens nothing. */
  readonly endsAtMs?: number;
}

export function createOidcBearer(issuer: OidcIssuer, nowMs: () => number = Date.now): OidcBearer {
  const known = new Map<string, Known>();
  let verifying = 0;

  const keep = (key: string, found: Known): void => {
    known.delete(key);
    known.set(key, found);
    if (known.size <= TOKENS_KNOWN_MAX) return;
    const oldest = known.keys().next();
    if (oldest.done !== true) known.delete(oldest.value);
  };
  const keysOf = createKeys(issuer);
  const verify = async (token: string): Promise<Known> => {
    const at = nowMs();
    if (verifying >= VERIFYING_MAX) return { answer: BUSY, untilMs: at + 1 };
    verifying += 1;
    try {
      const claims = await claimsOf(token, issuer, await keysOf(), at);
      if (claims === null) return { answer: NOT_THIS_TOKEN, untilMs: at + REFUSED_MS };
      const answer = callerIn(claims, issuer);
      const endsAtMs = (claims.exp ?? 0) * 1_000;
      const untilMs = Math.min(at + KNOWN_MS_MAX, Math.max(endsAtMs, at + 1));
      return { answer, untilMs, endsAtMs };
    } catch {
      // The keys could not be had: that says nothing about the token, but perhaps they are elsewhere by now.
      issuer.doubt();
      return { answer: ISSUER_SILENT, untilMs: at + 1_000 };
    } finally {
      verifying -= 1;
    }
  };

  const unverified = (request: RequestHead): string | null => {
    const token = webTokenIn(request);
    if (token === null) return null;
    const found = known.get(hash("sha256", token));
    return found !== undefined && found.untilMs > nowMs() ? null : token;
  };

  return {
    isUnverified: (request) => unverified(request) !== null,
    prepare: (request) => {
      const token = unverified(request);
      if (token === null) return null;
      return verify(token).then((answer) => keep(hash("sha256", token), answer));
    },
    callerOf: (token) => {
      if (!WEB_TOKEN.test(token)) return null;
      return known.get(hash("sha256", token))?.answer ?? null;
    },
    endOf: (token) =>
      WEB_TOKEN.test(token) ? (known.get(hash("sha256", token))?.endsAtMs ?? null) : null,
  };
}

function webTokenIn(request: RequestHead): string | null {
  const authorization = rawHeader(request, "authorization");
  const token = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
  return token !== undefined && WEB_TOKEN.test(token) ? token : null;
}

/** Keys are fetched when one is needed that is not there, and not more often than the library lets it. */
function createKeys(issuer: OidcIssuer): () => Promise<JWTVerifyGetKey> {
  let keys: JWTVerifyGetKey | null = null;
  let keysAt = "";
  return async () => {
    const uri = (await issuer.configuration()).serverMetadata().jwks_uri;
    if (uri === undefined) throw new Error("the issuer names no keys");
    if (keys === null || keysAt !== uri) {
      const { createRemoteJWKSet } = await import("jose");
      keys = createRemoteJWKSet(new URL(uri), { timeoutDuration: ISSUER_SECONDS_MAX * 1_000 });
      keysAt = uri;
    }
    return keys;
  };
}

/** Null: it is not the issuer's, not for this pool, or over. Throws when the keys can't be had. */
async function claimsOf(
  token: string,
  issuer: OidcIssuer,
  keys: JWTVerifyGetKey,
  nowMs: number,
): Promise<JWTPayload | null> {
  const { errors, jwtVerify } = await import("jose");
  const { clientId, audience } = issuer.options;
  const name = (await issuer.configuration()).serverMetadata().issuer;
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      issuer: name,
      audience: [clientId, ...(audience === null ? [] : [audience])],
      algorithms: ALGORITHMS,
      requiredClaims: ["exp", "sub"],
      clockTolerance: CLOCK_SECONDS,
      currentDate: new Date(nowMs),
    });
    const { typ } = protectedHeader;
    return typ === undefined || TYPES.has(typ.toLowerCase()) ? payload : null;
  } catch (error) {
    const isSilence =
      error instanceof errors.JWKSTimeout ||
      error instanceof errors.JWKSInvalid ||
      !(error instanceof errors.JOSEError) ||
      error.code === errors.JOSEError.code;
    if (isSilence) throw error;
    return null;
  }
}

function callerIn(claims: JWTPayload, { options }: OidcIssuer): Caller | Refusal {
  const person = personOf(claims);
  if (person === null) return NOT_THIS_TOKEN;
  const role = roleOf(claims, options);
  return role === null ? NO_ROLE : { ...person, role };
}

const NOT_THIS_TOKEN = refuse(
  "unauthorized",
  "The token is not the issuer's, not for this pool, or has expired. Get a new one from the issuer.",
);
const BUSY = refuse("busy", "Too many tokens are being checked. Try again.", {
  retryAfterMs: 1_000,
});
const NO_ROLE = refuse("forbidden", "The issuer knows this token, but gives it no role here.");
