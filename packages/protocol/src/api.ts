/**
 * What is asked and answered over the wire, as plain values. The HTTP layer only
 * parses, calls and serialises; the SDK works on these values; the simulator passes them directly.
 */
import type { Refusal } from "@quorate/core";

/** Who uses a seat. */
export interface Holder {
  readonly user: string;
  readonly host: string;
  readonly process?: string;
}

export interface CheckoutRequest {
  readonly session: string;
  readonly secret: string;
  /** Missing in hand-made calls: counts as the newest. */
  readonly n?: number;
  readonly feature: string;
  readonly version?: string;
  readonly seats?: number;
  readonly holder: Holder;
  readonly waitMs?: number;
}

export interface HeartbeatRequest {
  readonly session: string;
  readonly secret: string;
  readonly n?: number;
  readonly token?: string;
  readonly confirm?: string;
  readonly feature?: string;
  readonly version?: string;
  readonly seats?: number;
  readonly holder?: Holder;
  readonly waitMs?: number;
}

export interface ReleaseRequest {
  readonly session: string;
  readonly secret?: string;
  /** True when an administrator asks: the session is revoked. */
  readonly administrator: boolean;
  readonly n?: number;
  readonly only?: string;
  readonly reason?: string;
}

export interface Granted {
  readonly session: string;
  readonly feature: string;
  readonly seats: number;
  readonly member: string;
  readonly lifeMs: number;
  readonly heartbeatMs: number;
  /** Always in a 201; in a 200 only when the request brought a token or the old one no longer fits. */
  readonly token?: string;
  readonly pool: { readonly leader: string | null; readonly servers: readonly string[] };
  /** True: 201 new; false: 200 renewed. */
  readonly created: boolean;
  readonly converted?: boolean;
}

export type Answer = Granted | Refusal;

/** 204 when it is over, 202 when the member that holds it could not be reached. */
export type ReleaseAnswer = { readonly released: true; readonly reached: boolean } | Refusal;

export interface AuthorizationRow {
  readonly session: string;
  readonly feature: string;
  readonly version: string | null;
  readonly seats: number;
  readonly holder: Holder;
  readonly member: string;
  /** RFC 3339. */
  readonly grantedAt: string;
  readonly state: "active" | "revoked";
  readonly converted: boolean;
  /**
   * RFC 3339: when its server last heard of the holder, or began to count anew after a start. Only of the
   * answering server's own sessions: heartbeats are not reported.
   */
  readonly renewedAt?: string;
}

export const AUTHORIZATION_SORTS = [
  "session",
  "user",
  "host",
  "process",
  "feature",
  "member",
  "grantedAt",
] as const;

export type AuthorizationSort = (typeof AUTHORIZATION_SORTS)[number];

export interface AuthorizationsQuery {
  readonly feature?: string;
  readonly user?: string;
  readonly host?: string;
  /** The server that holds it. That server itself answers from its own memory, and so with `renewedAt`. */
  readonly member?: string;
  /** Words; each must be somewhere in user, host, process, feature, version, member or session. */
  readonly search?: string;
  /** Default: session. */
  readonly sort?: AuthorizationSort;
  /** Default: ascending. */
  readonly order?: "ascending" | "descending";
  readonly limit?: number;
  /** The `next` of the page before, which was asked with the same words and order. */
  readonly after?: string;
}

export interface AuthorizationsPage {
  readonly authorizations: readonly AuthorizationRow[];
  /** How many there are in all pages together. */
  readonly found: number;
  /** How many there are without any condition. */
  readonly total: number;
  readonly missing: readonly string[];
  readonly next: string | null;
}

export interface DenialsQuery {
  /** RFC 3339; default: 7 days before `to`. */
  readonly from?: string;
  /** RFC 3339, not included; default: now. The oldest `at` of an answer asks for what was before. */
  readonly to?: string;
  readonly feature?: string;
  readonly user?: string;
  readonly limit?: number;
}

export interface DenialRow {
  /** RFC 3339. */
  readonly at: string;
  /** The server that refused it. */
  readonly member: string;
  readonly session: string;
  readonly feature: string;
  readonly seats: number;
  /** As the usage history keeps it: without a name, if the servers were told so. */
  readonly holder: Holder;
  /** Code of the refusal. */
  readonly code: string;
}

export interface DenialsAnswer {
  /** The newest first. */
  readonly denials: readonly DenialRow[];
  readonly missing: readonly string[];
}

export interface FeatureRow {
  readonly name: string;
  readonly version: string;
  readonly seats: number;
  readonly overdraft: number;
  readonly inUse: number;
  /** Seats nobody uses, wherever they are, and that can be granted now. */
  readonly free: number;
  readonly queued: number;
  readonly denied: number;
  readonly debt: number;
  /** Seats of retired members whose wait is not over. */
  readonly retired: number;
  readonly starts: string | null;
  readonly expires: string | null;
  readonly lifeMs: number;
  readonly members: Readonly<Record<string, { readonly seats: number; readonly inUse: number }>>;
}

export interface FeaturesAnswer {
  readonly features: readonly FeatureRow[];
  readonly missing: readonly string[];
}

export interface PoolMemberRow {
  readonly id: string;
  readonly url: string;
  readonly alive: boolean;
  readonly mandate: boolean;
  readonly state: string;
  readonly epoch: number;
  readonly priority: number;
  readonly licenseSequence: number | null;
  readonly sessions: number | null;
  /** Since the answering server last saw its lease renewed; null when it never did. */
  readonly leaseAgeMs: number | null;
}

export interface PoolAnswer {
  readonly pool: string | null;
  readonly self: string;
  readonly size: number;
  readonly leader: { readonly id: string; readonly url: string } | null;
  readonly term: number;
  /** How long a lease lasts, T. */
  readonly leaseMs: number;
  readonly majority: { readonly needed: number; readonly alive: number; readonly reached: boolean };
  readonly members: readonly PoolMemberRow[];
  readonly store: { readonly name: string; readonly id: string | null; readonly state: string };
  /** Sentences that an administrator should read; empty when all is well. */
  readonly alarms: readonly string[];
}

export interface UsageQuery {
  /** RFC 3339; default: 30 days before `to`. */
  readonly from?: string;
  /** RFC 3339; default: now. */
  readonly to?: string;
  /** Default: feature. */
  readonly by?: "user" | "feature" | "host";
  readonly feature?: string;
  readonly limit?: number;
}

/** The usage of one user, feature or host, or of all. */
export interface Usage {
  readonly uses: number;
  readonly peakSeats: number;
  readonly averageSeats: number;
  readonly seatHours: number;
  readonly denied: number;
}

export interface UsageRow extends Usage {
  /** Empty when the servers do not keep users' names. */
  readonly key: string;
}

export interface UsageAnswer {
  readonly from: string;
  /** Not after now. */
  readonly to: string;
  readonly by: "user" | "feature" | "host";
  /** The most used first. */
  readonly rows: readonly UsageRow[];
  readonly total: Usage;
  /** How many keys there are; more than `rows` when the limit was reached. */
  readonly keys: number;
  /** Servers whose history is not in it, or not all of it. */
  readonly missing: readonly string[];
}

export interface UsageSeriesQuery {
  /** RFC 3339; default: a day before `to`. */
  readonly from?: string;
  /** RFC 3339; default: now. */
  readonly to?: string;
  /** Default: an hour. At most `SERIES_STEPS_MAX` of them fit between `from` and `to`. */
  readonly stepMs?: number;
  /** Missing: the seats of all features together. */
  readonly feature?: string;
}

export interface UsageStep {
  /** RFC 3339: its beginning. */
  readonly at: string;
  /** The most seats that were in use at one moment of it, pool-wide. */
  readonly peakSeats: number;
  readonly averageSeats: number;
  readonly denied: number;
}

export interface UsageSeriesAnswer {
  readonly from: string;
  /** Not after now; the last step may be cut by it. */
  readonly to: string;
  readonly stepMs: number;
  readonly feature: string | null;
  readonly steps: readonly UsageStep[];
  /** Servers whose history is not in it, or not all of it. */
  readonly missing: readonly string[];
}

/** Steps of one answer: more than a screen shows. */
export const SERIES_STEPS_MAX = 1_000;

export interface LicenseAnswer {
  readonly sequence: number;
  readonly license: unknown;
  /** Only for a license that was just brought: it is not in force yet, and why, as a sentence. */
  readonly kept?: string;
}

/** A license that was in force, or is. */
export interface LicenseHistoryRow {
  readonly sequence: number;
  readonly id: string;
  readonly customer: string;
  /** RFC 3339, from the document. */
  readonly issued: string;
  /** How many features it has, and how many seats they have together. */
  readonly features: number;
  readonly seats: number;
  /** RFC 3339, by the clock of the server that took it. */
  readonly installedAt: string;
  /** The server that took it. */
  readonly member: string;
  /** Name of the administrator's token; null: the server brought its own copy when it started. */
  readonly by: string | null;
  /** The address it came from; null as above. */
  readonly from: string | null;
}

export interface LicenseHistoryAnswer {
  /** The newest first, the one in force at the top; the pool keeps the last 20. */
  readonly history: readonly LicenseHistoryRow[];
}

/** What a server did lately, but for seats that were given or returned. */
export interface RecentEventsAnswer {
  readonly member: string;
  /** The oldest first. */
  readonly events: readonly MemberEvent[];
}

export const ROLES = ["client", "viewer", "administrator"] as const;

/** What a token is good for: checking out, reading, everything. */
export type Role = (typeof ROLES)[number];

export interface TokenBody {
  readonly name: string;
  readonly role: Role;
  /** RFC 3339; missing: it does not end by itself. */
  readonly expiresAt?: string;
}

export interface TokenRow {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly createdBy: string;
  readonly expiresAt: string | null;
}

export interface TokensAnswer {
  readonly tokens: readonly TokenRow[];
}

/** The only answer that holds the token. */
export interface TokenAnswer extends TokenRow {
  readonly token: string;
}

export interface LoginBody {
  readonly token: string;
}

export interface LoginAnswer {
  /** Whose token it was, or who the issuer says it is. */
  readonly name: string;
  readonly role: Role;
  /** Each call of the page that is no GET repeats it in the header `Quorate-CSRF`. */
  readonly csrf: string;
  /** RFC 3339; it may end before, idle or with its token. */
  readonly expiresAt: string;
}

/** A line of a member's audit log. */
export interface AuditEntry {
  /** From 1, without a gap. */
  readonly number: number;
  /** RFC 3339. */
  readonly at: string;
  /** Empty: nobody, for a login that failed. */
  readonly who: string;
  readonly role: string;
  /** The address that the call came from. */
  readonly from: string;
  readonly what: string;
  readonly details: Readonly<Record<string, unknown>>;
  /** `begun` before it is done; then `done`, `failed`, or the code of the refusal. */
  readonly outcome: string;
  /** SHA-256 of the line before, hex. */
  readonly previous: string;
}

export interface AuditQuery {
  /** Only lines with lower numbers; default: from the end. */
  readonly before?: number;
  readonly limit?: number;
}

export interface AuditAnswer {
  /** Whose log it is: what another member was asked to do is in the other's. */
  readonly member: string;
  /** The newest first. */
  readonly entries: readonly AuditEntry[];
  /** `before` of the next page; null: there is none. */
  readonly next: number | null;
}

/** How one may log in here, and whether reading takes a login. */
export interface LoginWays {
  readonly ways: readonly ("token" | "oidc")[];
  readonly readers: "open" | "token";
}

export type LoginState = (LoginAnswer & LoginWays) | ({ readonly role: null } & LoginWays);

export type MemberEvent = {
  readonly type: string;
  /** RFC 3339. */
  readonly at: string;
  readonly data: Readonly<Record<string, unknown>>;
};
