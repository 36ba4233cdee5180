/**
 * The public face as one table (design section 5): what can be called, by whom, with what, and which
 * refusals it may meet. `/openapi.json` is made from it, and the server answers 404 and 405 from it.
 */
import type { RefusalCode } from "@quorate/core";
import type { SchemaName } from "./schemas.ts";

/** Carries the secret of a session. */
export const SESSION_HEADER = "quorate-session";
/** Carries the signature of one member's call to another. */
export const SIGNATURE_HEADER = "quorate-signature";
/** What a page repeats of its login with each call that changes something. */
export const CSRF_HEADER = "quorate-csrf";
/** Goes before the bytes of the body under the signature, so that it is good for nothing else. */
export const PEER_SIGNATURE_PREFIX = "quorate-peer-1\n";

export const AUTHORIZATIONS_PATH = "/v1/authorizations";
export const TOKENS_PATH = "/v1/tokens";
export const AUDIT_PATH = "/v1/audit";
export const LOGIN_PATH = "/v1/login";
export const PEER_PATH = "/v1/peer";
export const PEER_KINDS = [
  "report",
  "collect",
  "seats",
  "give-back",
  "hand-over",
  "pass-on",
] as const;

export type PeerKind = (typeof PEER_KINDS)[number];

export function authorizationPath(session: string): string {
  return `${AUTHORIZATIONS_PATH}/${session}`;
}

export function heartbeatPath(session: string): string {
  return `${AUTHORIZATIONS_PATH}/${session}/heartbeat`;
}

/** By the token's id or name. */
export function tokenPath(id: string): string {
  return `${TOKENS_PATH}/${id}`;
}

export type Method = "GET" | "POST" | "PUT" | "DELETE";

export interface RouteAnswer {
  readonly status: number;
  readonly says: string;
  /** Missing: no body. */
  readonly schema?: SchemaName;
  /** Missing: application/json. */
  readonly mediaType?: string;
}

export interface Route {
  readonly operation: string;
  readonly method: Method;
  /** `{name}` stands for one segment. */
  readonly path: string;
  readonly summary: string;
  readonly access:
    | "anyone"
    | "session"
    | "session-or-administrator"
    | "administrator"
    | "login"
    | "member";
  readonly query?:
    | "AuditQuery"
    | "AuthorizationsQuery"
    | "DenialsQuery"
    | "ReleaseQuery"
    | "UsageQuery"
    | "UsageSeriesQuery"
    | "NoQuery";
  readonly body?: SchemaName;
  readonly answers: readonly RouteAnswer[];
  readonly refusals: readonly RefusalCode[];
}

const GRANT_REFUSALS = [
  "no-seats",
  "queued",
  "no-majority",
  "no-mandate",
  "not-leader",
  "busy",
  "revoked",
  "released",
  "unknown-feature",
  "version-not-covered",
  "feature-expired",
  "not-started",
  "denied-by-policy",
  "not-your-session",
  "session-mismatch",
  "bad-request",
  "too-large",
  "unsupported-media-type",
] as const satisfies readonly RefusalCode[];

const ADMINISTRATOR_REFUSALS = [
  "unauthorized",
  "forbidden",
  "csrf",
  "bad-request",
  "too-large",
  "unsupported-media-type",
  "no-majority",
  "no-mandate",
  "not-leader",
] as const satisfies readonly RefusalCode[];

const POOL_ANSWER = { status: 200, says: "The pool as it is now", schema: "PoolAnswer" } as const;

export const ROUTES: readonly Route[] = [
  {
    operation: "checkout",
    method: "POST",
    path: AUTHORIZATIONS_PATH,
    summary: "Ask for an authorization; the same session again with a higher n renews it",
    access: "session",
    body: "CheckoutBody",
    answers: [
      { status: 201, says: "Granted", schema: "Granted" },
      { status: 200, says: "Renewed", schema: "Granted" },
    ],
    refusals: GRANT_REFUSALS,
  },
  {
    operation: "heartbeat",
    method: "POST",
    path: heartbeatPath("{session}"),
    summary: "Say that the authorization is still in use",
    access: "session",
    body: "HeartbeatBody",
    answers: [
      { status: 200, says: "Renewed", schema: "Granted" },
      { status: 201, says: "Converted: this server never granted it before", schema: "Granted" },
    ],
    refusals: [...GRANT_REFUSALS, "confirm"],
  },
  {
    operation: "release",
    method: "DELETE",
    path: authorizationPath("{session}"),
    summary: "Give the seats back; with an administrator's token instead of the secret, revoke",
    access: "session-or-administrator",
    query: "ReleaseQuery",
    answers: [
      { status: 204, says: "Released, also the second time" },
      { status: 202, says: "Noted; the member that holds it was not reached", schema: "Released" },
    ],
    refusals: [
      "not-your-session",
      "unauthorized",
      "forbidden",
      "csrf",
      "bad-request",
      "not-leader",
    ],
  },
  {
    operation: "authorizations",
    method: "GET",
    path: AUTHORIZATIONS_PATH,
    summary: "Who holds what, pool-wide",
    access: "anyone",
    query: "AuthorizationsQuery",
    answers: [{ status: 200, says: "One page", schema: "AuthorizationsPage" }],
    refusals: ["bad-request"],
  },
  {
    operation: "denials",
    method: "GET",
    path: "/v1/denials",
    summary: "Requests that were refused, pool-wide, from the servers' journals",
    access: "anyone",
    query: "DenialsQuery",
    answers: [{ status: 200, says: "The newest first", schema: "DenialsAnswer" }],
    refusals: ["bad-request", "busy", "no-mandate"],
  },
  {
    operation: "features",
    method: "GET",
    path: "/v1/features",
    summary: "The licensed features and their seats",
    access: "anyone",
    query: "NoQuery",
    answers: [{ status: 200, says: "All features", schema: "FeaturesAnswer" }],
    refusals: ["bad-request"],
  },
  {
    operation: "pool",
    method: "GET",
    path: "/v1/pool",
    summary: "The members, the leader and the majority",
    access: "anyone",
    query: "NoQuery",
    answers: [POOL_ANSWER],
    refusals: ["bad-request"],
  },
  {
    operation: "lead",
    method: "POST",
    path: "/v1/pool/lead",
    summary: "Move the leadership to a live member",
    access: "administrator",
    body: "MemberBody",
    answers: [POOL_ANSWER],
    refusals: ADMINISTRATOR_REFUSALS,
  },
  {
    operation: "remove",
    method: "POST",
    path: "/v1/pool/remove",
    summary: "Retire a member for good and make room for another",
    access: "administrator",
    body: "MemberBody",
    answers: [POOL_ANSWER],
    refusals: ADMINISTRATOR_REFUSALS,
  },
  {
    operation: "rebuild",
    method: "POST",
    path: "/v1/pool/rebuild",
    summary: "Start anew after the store or a journal went backwards",
    access: "administrator",
    answers: [POOL_ANSWER],
    refusals: ADMINISTRATOR_REFUSALS,
  },
  {
    operation: "license",
    method: "GET",
    path: "/v1/license",
    summary: "The license in force",
    access: "anyone",
    query: "NoQuery",
    answers: [{ status: 200, says: "The license", schema: "LicenseAnswer" }],
    refusals: ["bad-request", "license-invalid", "no-mandate"],
  },
  {
    operation: "licenseHistory",
    method: "GET",
    path: "/v1/license/history",
    summary: "Which licenses were installed, when and by whom",
    access: "anyone",
    query: "NoQuery",
    answers: [{ status: 200, says: "The newest first", schema: "LicenseHistoryAnswer" }],
    refusals: ["bad-request"],
  },
  {
    operation: "installLicense",
    method: "PUT",
    path: "/v1/license",
    summary: "Install a license with a higher sequence number",
    access: "administrator",
    body: "LicenseDocument",
    answers: [
      { status: 200, says: "The license in force", schema: "LicenseAnswer" },
      {
        status: 202,
        says: "It is kept in this server's folder and comes into force when the store answers",
        schema: "LicenseAnswer",
      },
    ],
    refusals: [...ADMINISTRATOR_REFUSALS, "license-older", "license-conflict", "license-invalid"],
  },
  {
    operation: "tokens",
    method: "GET",
    path: TOKENS_PATH,
    summary: "The tokens of the pool, without their secrets",
    access: "administrator",
    query: "NoQuery",
    answers: [{ status: 200, says: "All tokens", schema: "TokensAnswer" }],
    refusals: ["unauthorized", "forbidden", "bad-request"],
  },
  {
    operation: "createToken",
    method: "POST",
    path: TOKENS_PATH,
    summary: "Make a token; it is shown in this answer only",
    access: "administrator",
    body: "TokenBody",
    answers: [{ status: 201, says: "Made", schema: "TokenAnswer" }],
    refusals: [...ADMINISTRATOR_REFUSALS, "busy"],
  },
  {
    operation: "revokeToken",
    method: "DELETE",
    path: tokenPath("{id}"),
    summary: "Revoke a token, by its id or name",
    access: "administrator",
    answers: [{ status: 200, says: "Revoked", schema: "TokenRow" }],
    refusals: [...ADMINISTRATOR_REFUSALS, "not-found", "busy"],
  },
  {
    operation: "audit",
    method: "GET",
    path: AUDIT_PATH,
    summary: "Who changed what at this server, the newest first",
    access: "administrator",
    query: "AuditQuery",
    answers: [{ status: 200, says: "One page", schema: "AuditAnswer" }],
    refusals: ["unauthorized", "forbidden", "bad-request"],
  },
  {
    operation: "login",
    method: "POST",
    path: LOGIN_PATH,
    summary: "Turn a token into a login of a browser: a cookie that scripts cannot read",
    access: "anyone",
    body: "LoginBody",
    answers: [{ status: 200, says: "Logged in", schema: "LoginAnswer" }],
    refusals: [
      "unauthorized",
      "forbidden",
      "bad-request",
      "too-large",
      "unsupported-media-type",
      "busy",
      "internal-error",
    ],
  },
  {
    operation: "loginState",
    method: "GET",
    path: LOGIN_PATH,
    summary: "Who this browser is logged in as, and which ways to log in there are",
    access: "anyone",
    query: "NoQuery",
    answers: [{ status: 200, says: "The login, or none", schema: "LoginState" }],
    refusals: ["bad-request"],
  },
  {
    operation: "logout",
    method: "DELETE",
    path: LOGIN_PATH,
    summary: "End the login of this browser",
    access: "login",
    answers: [{ status: 204, says: "There is no login any more" }],
    refusals: ["csrf", "forbidden"],
  },
  {
    operation: "loginAtIssuer",
    method: "GET",
    path: `${LOGIN_PATH}/oidc`,
    summary: "Send a browser to the issuer to log in, where the pool has one",
    access: "anyone",
    answers: [{ status: 302, says: "To the issuer" }],
    refusals: ["forbidden", "busy"],
  },
  {
    operation: "loginFromIssuer",
    method: "GET",
    path: `${LOGIN_PATH}/oidc/callback`,
    summary: "Where the issuer sends the browser back to",
    access: "anyone",
    answers: [
      { status: 303, says: "Logged in, to the console; or not, with the code as login-refused" },
    ],
    refusals: ["bad-request", "unauthorized", "forbidden", "busy", "internal-error"],
  },
  {
    operation: "usage",
    method: "GET",
    path: "/v1/usage",
    summary: "Who used how much in a time, pool-wide, from the servers' journals",
    access: "administrator",
    query: "UsageQuery",
    answers: [{ status: 200, says: "The usage by key", schema: "UsageAnswer" }],
    refusals: ["unauthorized", "forbidden", "bad-request", "busy", "no-mandate"],
  },
  {
    operation: "usageSeries",
    method: "GET",
    path: "/v1/usage/series",
    summary: "Use over time, pool-wide, from the servers' journals; nobody's name is in it",
    access: "anyone",
    query: "UsageSeriesQuery",
    answers: [
      { status: 200, says: "Peak, average and denials a step", schema: "UsageSeriesAnswer" },
    ],
    refusals: ["bad-request", "busy", "no-mandate"],
  },
  {
    operation: "events",
    method: "GET",
    path: "/v1/events",
    summary:
      "Server-sent events; each `data` is one MemberEvent. With Last-Event-ID what was missed comes first, or an event `gap`",
    access: "anyone",
    query: "NoQuery",
    answers: [
      {
        status: 200,
        says: "A stream without end",
        schema: "MemberEvent",
        mediaType: "text/event-stream",
      },
    ],
    refusals: ["busy", "bad-request"],
  },
  {
    operation: "recentEvents",
    method: "GET",
    path: "/v1/events/recent",
    summary: "What this server did lately, as far as it still knows",
    access: "anyone",
    query: "NoQuery",
    answers: [{ status: 200, says: "The oldest first", schema: "RecentEventsAnswer" }],
    refusals: ["bad-request"],
  },
  ...PEER_KINDS.map(peerRoute),
  {
    operation: "metrics",
    method: "GET",
    path: "/metrics",
    summary: "Measurements for Prometheus",
    access: "anyone",
    answers: [{ status: 200, says: "Prometheus text", mediaType: "text/plain" }],
    refusals: [],
  },
  {
    operation: "livez",
    method: "GET",
    path: "/livez",
    summary: "Whether the process answers",
    access: "anyone",
    answers: [{ status: 200, says: "It does", schema: "Alive" }],
    refusals: [],
  },
  {
    operation: "readyz",
    method: "GET",
    path: "/readyz",
    summary: "Whether this member may grant; refused with 503 and the reason if not",
    access: "anyone",
    answers: [{ status: 200, says: "It may", schema: "Ready" }],
    refusals: ["no-mandate", "no-majority"],
  },
  {
    operation: "openapi",
    method: "GET",
    path: "/openapi.json",
    summary: "This description",
    access: "anyone",
    answers: [{ status: 200, says: "OpenAPI 3.1", mediaType: "application/json" }],
    refusals: [],
  },
  {
    operation: "service",
    method: "GET",
    path: "/",
    summary: "What this is and where to read on",
    access: "anyone",
    answers: [{ status: 200, says: "A few words", schema: "ServiceAnswer" }],
    refusals: [],
  },
];

/** The methods that the path of a request knows; empty when there is no such path. */
export function methodsAt(path: string): Method[] {
  return ROUTES.filter((route) => matches(route.path, path)).map((route) => route.method);
}

function peerRoute(kind: PeerKind): Route {
  return {
    operation: `peer-${kind}`,
    method: "POST",
    path: `${PEER_PATH}/${kind}`,
    summary: `Members only: ${kind}`,
    access: "member",
    body: "PeerEnvelope",
    answers: [{ status: 200, says: "Answered or refused", schema: "PeerAnswer" }],
    refusals: ["unauthorized", "forbidden", "bad-request", "too-large", "unsupported-media-type"],
  };
}

function matches(pattern: string, path: string): boolean {
  const wanted = pattern.split("/");
  const given = path.split("/");
  return (
    wanted.length === given.length &&
    wanted.every((part, index) =>
      part.startsWith("{") ? given[index] !== "" : part === given[index],
    )
  );
}
