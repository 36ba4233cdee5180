/**
 * The token of an authorization: a compact JWT, EdDSA and nothing else.
 *
 * Offline it is verified by a chain: token, signed by the member key named in `kid` ← member certificate
 * (header `cert`), signed by the pool key ← license, signed by the vendor key the program was built with.
 * Its `exp` is for third parties; that no seat is used twice rests on the client's own clock.
 */
import {
  TOKEN_CHARACTERS_MAX,
  VERSION_CHARACTERS_MAX,
  type License,
  seatsOf,
  termsVerdict,
} from "@quorate/core";
import { compactVerify, importJWK } from "jose";
import { type MemberCertificate, parseCertificate, verifyCertificate } from "./certificate.ts";
import { isObject } from "./json-text.ts";
import { base64urlOfBinary, bytesOfBase64url, parsePublicKey, parseSignature } from "./keys.ts";
import { verifyLicense } from "./license-document.ts";
import { isName } from "./license-shape.ts";

const THIRD_PARTY_LIFE_MS_MIN = 10 * 60_000;
const SESSION_CHARACTERS_MAX = 128;

/** What a token says. */
export interface TokenClaims {
  readonly pool: string;
  readonly member: string;
  readonly epoch: number;
  readonly session: string;
  readonly feature: string;
  readonly version: string | null;
  readonly seats: number;
  readonly lifeMs: number;
  /** Milliseconds since 1970. */
  readonly issuedAtMs: number;
  readonly licenseSequence: number;
}

export interface TokenParts {
  /** Public key of the member that says it signed: self-asserted until the chain is verified. */
  readonly kid: string;
  readonly certificate: MemberCertificate | null;
  readonly claims: TokenClaims;
  readonly expiresAtMs: number;
  readonly signingInput: string;
  /** base64url. */
  readonly signature: string;
}

/** The first part of every token of one member: made once, then reused. */
export function tokenHeader(memberKey: string, certificate: MemberCertificate | null): string {
  const header = { alg: "EdDSA", typ: "JWT", kid: memberKey };
  return jsonPart(certificate === null ? header : { ...header, cert: certificate });
}

/** What is signed; `header` comes from `tokenHeader`. */
export function tokenSigningInput(claims: TokenClaims, header: string): string {
  return `${header}.${base64urlOfBinary(tokenPayload(claims))}`;
}

/**
 * The second part of a token before it is base64url; all its characters are ASCII. Written out by hand, because a
 * server makes one for every grant: through JSON.stringify it takes three times as long.
 */
export function tokenPayload(claims: TokenClaims): string {
  const { pool, member, epoch, session, feature, version, seats, lifeMs } = claims;
  const { issuedAtMs, licenseSequence } = claims;
  const iat = Math.floor(issuedAtMs / 1000);
  const exp = iat + Math.ceil(Math.max(lifeMs, THIRD_PARTY_LIFE_MS_MIN) / 1000);
  return (
    `{"pool":${jsonText(pool)},"member":${jsonText(member)},"epoch":${epoch},` +
    `"session":${jsonText(session)},"feature":${jsonText(feature)},` +
    `"version":${version === null ? "null" : jsonText(version)},"seats":${seats},"lifeMs":${lifeMs},` +
    `"iat":${iat},"iatMs":${issuedAtMs},"exp":${exp},"seq":${licenseSequence}}`
  );
}

/** `signature` is base64url. */
export function assembleToken(signingInput: string, signature: string): string {
  return `${signingInput}.${signature}`;
}

/** What the token says, if it has a token's shape. The signature is NOT looked at. */
export function decodeToken(token: string): TokenClaims | null {
  return tokenParts(token)?.claims ?? null;
}

/** Null for every text that is no token, and for every algorithm but EdDSA. Never throws. */
export function tokenParts(token: string): TokenParts | null {
  if (token.length > TOKEN_CHARACTERS_MAX) return null;
  const [headerPart, payloadPart, signature, ...more] = token.split(".");
  if (headerPart === undefined || payloadPart === undefined || signature === undefined) return null;
  if (more.length > 0 || parseSignature(signature) === null) return null;
  const header = headerOf(headerPart);
  const payload = header === null ? null : objectOf(payloadPart);
  if (header === null || payload === null) return null;
  const claims = claimsOf(payload);
  const exp = payload["exp"];
  if (claims === null || !isCount(exp)) return null;
  return {
    ...header,
    claims,
    expiresAtMs: exp * 1000,
    signingInput: `${headerPart}.${payloadPart}`,
    signature,
  };
}

type Header = Pick<TokenParts, "kid" | "certificate">;

/**
 * Headers that were read, by their text: all tokens of a member bear the same one, and reading its certificate costs
 * more than the rest of the token. What a header says is its own word either way.
 */
const headersRead = new Map<string, Header>();
const HEADERS_READ_MAX = 64;

function headerOf(part: string): Header | null {
  const known = headersRead.get(part);
  if (known !== undefined) return known;
  const header = objectOf(part);
  // An extension that must be understood is one that this code does not understand (RFC 7515, 4.1.11).
  if (header?.["alg"] !== "EdDSA" || header["typ"] !== "JWT" || header["crit"] !== undefined) {
    return null;
  }
  const { kid, cert } = header;
  if (typeof kid !== "string" || parsePublicKey(kid) === null) return null;
  const certificate = cert === undefined ? null : parseCertificate(cert);
  if (cert !== undefined && certificate === null) return null;
  if (headersRead.size >= HEADERS_READ_MAX) headersRead.clear();
  headersRead.set(part, { kid, certificate });
  return { kid, certificate };
}

export interface OfflineQuestion {
  readonly token: string;
  /** The license in force, as text (`GET /v1/license` or the file). */
  readonly license: string;
  /** The key the program was built with, `ed25519:…`. */
  readonly vendorKey: string;
  /** Wall clock, for `exp` and the license's terms. */
  readonly nowMs: number;
  /** The session the token must be for; any if not given. */
  readonly session?: string;
}

export type OfflineVerdict =
  | { readonly valid: true; readonly claims: TokenClaims; readonly chain: "vendor" | "pool" }
  | { readonly valid: false; readonly reason: string };

/**
 * Verifies a token without asking a server; `reason` is a sentence. Never throws, never rejects.
 *
 * `chain: "vendor"`: every link up to the vendor's key was verified. `chain: "pool"`: the license names no
 * pool key, so which members belong to the pool is not signed by anybody: the license is the vendor's, but the
 * token proves only that some holder of a key of its own choice signed it.
 *
 * The license's terms bound what a token may say: its feature, seats, version and dates must be covered.
 */
export async function verifyTokenOffline(question: OfflineQuestion): Promise<OfflineVerdict> {
  const parts = tokenParts(question.token);
  if (parts === null) return invalid("it is no token of a Quorate pool");
  const verified = await verifyLicense(question.license, question.vendorKey);
  if ("invalid" in verified) return invalid(`the license is not valid: ${verified.invalid}`);
  const { license } = verified;
  const mismatch = mismatchOf(parts, license, question);
  if (mismatch !== null) return invalid(mismatch);
  if (!(await memberSigned(question.token, parts.kid))) {
    return invalid("its signature does not fit its content");
  }
  const poolKey = license.pool.key;
  if (poolKey === undefined) return { valid: true, claims: parts.claims, chain: "pool" };
  const broken = await brokenLink(parts, poolKey);
  if (broken !== null) return invalid(broken);
  return { valid: true, claims: parts.claims, chain: "vendor" };
}

/** What the token and the license say that does not go together; null if it does. */
function mismatchOf(parts: TokenParts, license: License, question: OfflineQuestion): string | null {
  const { claims } = parts;
  const { nowMs } = question;
  if (question.session !== undefined && claims.session !== question.session) {
    return "it is for another session";
  }
  if (claims.pool !== license.pool.name) return `it is of another pool, ${claims.pool}`;
  if (claims.licenseSequence > license.sequence) {
    return `it was granted under license ${claims.licenseSequence}, this one is ${license.sequence}`;
  }
  if (nowMs >= parts.expiresAtMs) return "it has expired";
  const feature = license.features.find(({ name }) => name === claims.feature);
  if (feature === undefined) return `the license has no feature ${claims.feature}`;
  if (claims.seats > seatsOf(feature)) return "it is for more seats than the license has";
  const verdict = termsVerdict(feature, claims.version ?? undefined, nowMs);
  return verdict === "covered" ? null : `the license does not cover it: ${verdict}`;
}

async function memberSigned(token: string, kid: string): Promise<boolean> {
  try {
    const x = kid.slice(kid.indexOf(":") + 1);
    const key = await importJWK({ kty: "OKP", crv: "Ed25519", x }, "EdDSA");
    await compactVerify(token, key, { algorithms: ["EdDSA"] });
    return true;
  } catch {
    // A wrong signature and a key that is none of the curve both mean: not signed by this key.
    return false;
  }
}

async function brokenLink(parts: TokenParts, poolKey: string): Promise<string | null> {
  const { certificate, claims, kid } = parts;
  if (certificate === null) return "its member has no certificate of the pool key";
  const names =
    certificate.member === claims.member &&
    certificate.key === kid &&
    (certificate.pool === undefined || certificate.pool === claims.pool);
  if (!names) return "its member's certificate is for another member, key or pool";
  if (await verifyCertificate(certificate, poolKey)) return null;
  return "its member's certificate was not signed by the license's pool key";
}

function claimsOf(payload: Record<string, unknown>): TokenClaims | null {
  const { pool, member, epoch, session, feature, version, seats, lifeMs, iatMs, seq } = payload;
  if (!isName(pool) || !isName(member) || !isName(feature)) return null;
  if (typeof session !== "string" || session.length > SESSION_CHARACTERS_MAX) return null;
  if (version !== null && !isShortText(version)) return null;
  if (!isCount(epoch) || !isCount(seats) || !isCount(lifeMs) || !isCount(iatMs) || !isCount(seq)) {
    return null;
  }
  return {
    pool,
    member,
    epoch,
    session,
    feature,
    version,
    seats,
    lifeMs,
    issuedAtMs: iatMs,
    licenseSequence: seq,
  };
}

function isShortText(value: unknown): value is string {
  return typeof value === "string" && value.length <= VERSION_CHARACTERS_MAX;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** Text that JSON shows as it is: what names, versions and sessions are made of. */
const PLAIN = /^[\w.:-]*$/;

/** JSON of a text, with everything beyond ASCII escaped, so that its characters are its bytes. */
function jsonText(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : ascii(JSON.stringify(text));
}

function jsonPart(value: object): string {
  return base64urlOfBinary(ascii(JSON.stringify(value)));
}

function ascii(json: string): string {
  return json.replaceAll(
    /[\u0080-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function objectOf(part: string): Record<string, unknown> | null {
  const bytes = bytesOfBase64url(part);
  if (bytes === null) return null;
  try {
    const value: unknown = JSON.parse(UTF8.decode(bytes));
    return isObject(value) ? value : null;
  } catch {
    // Not UTF-8 or not JSON: no token.
    return null;
  }
}

function invalid(reason: string): OfflineVerdict {
  return { valid: false, reason };
}
