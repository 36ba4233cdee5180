/**
 * Logging in at the issuer, by authorization code with PKCE:
 *
 *   GET /v1/login/oidc --302--> issuer --302--> GET /v1/login/oidc/callback?code&state --303--> /
 *       sets a cookie with                          the cookie, and with it state, nonce and verifier, must be
 *       state, nonce, verifier                      the browser's that began; then the issuer gives the ID token
 *
 * What a login that has begun needs is in the browser's own cookie and not here, so that nobody can push out others'
 * logins by beginning many. The cookie has to be `Lax`: the issuer's page sends the browser back.
 */
import type { IncomingMessage } from "node:http";
import { type Refusal, refuse } from "@quorate/core";
import type { Log } from "../member/ports.ts";
import { addressKey } from "./client-address.ts";
import { cookieIn, cookieText, isEncrypted } from "./cookies.ts";
import { originsOf } from "./cross-origin.ts";
import type { LoginHolder } from "./logins.ts";
import {
  hasClaim,
  ISSUER_SILENT,
  type OidcIssuer,
  personOf,
  roleOf,
  sourceOfPerson,
} from "./oidc-issuer.ts";
import { createRate } from "./rate.ts";
import { rawHeader } from "./raw-header.ts";

export interface OidcLogin {
  /** Where to send the browser, and with which cookie. */
  begin(request: IncomingMessage): Promise<{ location: string; cookie: string } | Refusal>;
  /** Whose login it is, once the issuer has said so. */
  finish(request: IncomingMessage): Promise<LoginHolder | Refusal>;
  /** Takes away the cookie of the login that has begun. */
  endCookie(request: IncomingMessage): string;
}

export const OIDC_LOGIN_PATH = "/v1/login/oidc";
export const OIDC_CALLBACK_PATH = "/v1/login/oidc/callback";
/** So long somebody may take at the issuer's page. */
const PENDING_SECONDS = 600;
/** Of one address; a site behind a proxy is one. */
const ANSWERS_PER_MINUTE_MAX = 60;
/** Of all addresses together. */
const ASKING_MAX = 32;
const PENDING = /^([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})$/;

/** `ownUrl`: what browsers call; the issuer sends them back there. */
export function createOidcLogin(issuer: OidcIssuer, ownUrl: () => string, log: Log): OidcLogin {
  const redirectUri = (request: IncomingMessage): string => {
    const host = rawHeader(request, "host");
    // The cookie is for the host that the browser called, so it has to come back to that one.
    const own = originsOf(ownUrl());
    const called = own.find((origin) => new URL(origin).host === host);
    const scheme = isEncrypted(request) ? "https" : "http";
    return `${called ?? own[0] ?? `${scheme}://${host ?? "localhost"}`}${OIDC_CALLBACK_PATH}`;
  };
  const silent = (error: unknown): Refusal => {
    log.warn("the issuer of logins does not answer as it should", { error });
    return ISSUER_SILENT;
  };
  const cookieFor = (request: IncomingMessage, value: string, seconds: number): string =>
    cookieText(nameFor(request), value, seconds, isEncrypted(request), "Lax");

  const begin: OidcLogin["begin"] = async (request) => {
    try {
      const configuration = await issuer.configuration();
      const oidc = await import("openid-client");
      const [state, nonce] = [oidc.randomState(), oidc.randomNonce()];
      const verifier = oidc.randomPKCECodeVerifier();
      const location = oidc.buildAuthorizationUrl(configuration, {
        response_type: "code",
        redirect_uri: redirectUri(request),
        scope: issuer.options.scope,
        state,
        nonce,
        code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
        code_challenge_method: "S256",
      });
      const cookie = cookieFor(request, `${state}.${nonce}.${verifier}`, PENDING_SECONDS);
      return { location: location.href, cookie };
    } catch (error) {
      return silent(error);
    }
  };

  /** Cookie and state are easily made up, and the issuer is asked for each. */
  const rate = createRate(ANSWERS_PER_MINUTE_MAX);
  let asking = 0;

  const finish: OidcLogin["finish"] = async (request) => {
    const pending = PENDING.exec(cookieIn(request, nameFor(request)) ?? "");
    if (pending === null) return NOT_BEGUN;
    const [, state = "", nonce = "", verifier = ""] = pending;
    const back = URL.parse(redirectUri(request));
    // As long as this member does not know its own URL, it goes by the browser's word, which can be none.
    if (back === null) return NOT_BEGUN;
    const url = request.url ?? "";
    const question = url.indexOf("?");
    back.search = question === -1 ? "" : url.slice(question);
    // Whoever has the browser follow a link with a made-up answer must not have it taken to the issuer.
    if (back.searchParams.get("state") !== state) return NOT_BEGUN;
    if (asking >= ASKING_MAX || !rate.take(addressKey(request.socket.remoteAddress)))
      return TOO_MANY;
    const oidc = await import("openid-client");
    let claims: Readonly<Record<string, unknown>>;
    asking += 1;
    try {
      const configuration = await issuer.configuration();
      const tokens = await oidc.authorizationCodeGrant(configuration, back, {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      });
      const said = tokens.claims();
      if (said === undefined) return REFUSED_BY_ISSUER;
      claims = said;
      const { roleClaim } = issuer.options;
      if (!hasClaim(claims, roleClaim) && hasUserInfo(configuration)) {
        const more = await oidc.fetchUserInfo(configuration, tokens.access_token, said.sub);
        claims = { ...more, ...claims };
      }
    } catch (error) {
      if (error instanceof oidc.AuthorizationResponseError) return REFUSED_BY_ISSUER;
      if (error instanceof oidc.ResponseBodyError) return REFUSED_BY_ISSUER;
      issuer.doubt();
      return silent(error);
    } finally {
      asking -= 1;
    }
    return holderOf(claims, issuer);
  };

  return { begin, finish, endCookie: (request) => cookieFor(request, "", 0) };
}

function holderOf(
  claims: Readonly<Record<string, unknown>>,
  { options }: OidcIssuer,
): LoginHolder | Refusal {
  const person = personOf(claims);
  if (person === null) return REFUSED_BY_ISSUER;
  const role = roleOf(claims, options);
  if (role === null) {
    return refuse("forbidden", `${person.name} is known to the issuer, but has no role here.`);
  }
  const { name, subject } = person;
  return {
    name,
    role,
    subject,
    source: sourceOfPerson(subject),
    endsAtMs: null,
    isGood: () => true,
  };
}

function hasUserInfo(configuration: Awaited<ReturnType<OidcIssuer["configuration"]>>): boolean {
  return configuration.serverMetadata().userinfo_endpoint !== undefined;
}

function nameFor(request: IncomingMessage): string {
  const { localPort } = request.socket;
  return `${isEncrypted(request) ? "__Host-" : ""}quorate_oidc_${localPort ?? 0}`;
}

const NOT_BEGUN = refuse(
  "bad-request",
  "This login was not begun in this browser, or is over. Open the console again and log in.",
);
const TOO_MANY = refuse("busy", "Too many log in at once. Wait a minute, then log in again.", {
  retryAfterMs: 60_000,
});
const REFUSED_BY_ISSUER = refuse("unauthorized", "The issuer did not let you in. Log in again.");
