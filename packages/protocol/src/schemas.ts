/**
 * The shapes of the wire as JSON schemas, once: the server validates with them, `/openapi.json` shows
 * them, the tests hold the types of `api.ts` and the hand-written hot path against them.
 *
 * What clients send is closed: an unknown property is refused by name, because a misspelt `seats` that is
 * silently ignored grants the wrong thing. What servers answer is open, so that old clients live with
 * newer servers; so is what members say to each other, for rolling upgrades.
 */
import {
  NAME_CHARACTERS_MAX,
  NAME_PATTERN,
  PAGE_ROWS_MAX,
  REFUSALS,
  SEATS_MAX,
  TOKEN_CHARACTERS_MAX,
  VERSION_CHARACTERS_MAX,
  WAIT_MS_MAX,
} from "@quorate/core";
import { Type } from "typebox";
import type { TSchema } from "typebox";
import { AUTHORIZATION_SORTS } from "./api.ts";

/** base64url of 32 bytes: a session, and the secret whose hash it is. */
export const SESSION_PATTERN = "^[A-Za-z0-9_-]{43}$";
export const VERSION_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._+-]*$";
/** Tokens and page marks: visible ASCII. */
export const VISIBLE_PATTERN = "^[\\x21-\\x7e]+$";
/**
 * What people and machines call themselves. No control characters, line breaks, halves of surrogates or
 * marks that reverse the direction of writing: these words are shown in logs, tables and terminals.
 */
export const PRINTABLE_PATTERN = "^[^\\p{Cc}\\p{Cs}\\p{Zl}\\p{Zp}\\u202a-\\u202e\\u2066-\\u2069]+$";
export const NONCE_CHARACTERS_MAX = 256;
export const MARK_CHARACTERS_MAX = 2_048;
export const REASON_CHARACTERS_MAX = 256;
const SEARCH_CHARACTERS_MAX = 256;
const INSTANT_CHARACTERS_MAX = 40;
/** A finer step is nothing that people look at. */
const STEP_MS_MIN = 1_000;
const STEP_MS_MAX = 7 * 24 * 3_600_000;

const closed = { additionalProperties: false } as const;
const session = Type.String({ pattern: SESSION_PATTERN, description: "base64url of 32 bytes" });
const name = Type.String({ pattern: NAME_PATTERN, minLength: 1, maxLength: NAME_CHARACTERS_MAX });
const printable = (max: number) =>
  Type.String({ pattern: PRINTABLE_PATTERN, minLength: 1, maxLength: max });
const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const seats = Type.Integer({ minimum: 1, maximum: SEATS_MAX });
const waitMs = Type.Integer({ minimum: 0, maximum: WAIT_MS_MAX });
const version = Type.String({
  pattern: VERSION_PATTERN,
  minLength: 1,
  maxLength: VERSION_CHARACTERS_MAX,
});
const nullable = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
const instant = Type.String({ description: "RFC 3339" });

const Holder = Type.Object(
  {
    user: printable(NAME_CHARACTERS_MAX),
    host: printable(NAME_CHARACTERS_MAX),
    process: Type.Optional(printable(NAME_CHARACTERS_MAX)),
  },
  closed,
);

const CheckoutBody = Type.Object(
  {
    session,
    n: Type.Optional(count),
    feature: name,
    version: Type.Optional(version),
    seats: Type.Optional(seats),
    holder: Holder,
    waitMs: Type.Optional(waitMs),
  },
  closed,
);

const HeartbeatBody = Type.Object(
  {
    n: Type.Optional(count),
    token: Type.Optional(
      Type.String({ pattern: VISIBLE_PATTERN, minLength: 1, maxLength: TOKEN_CHARACTERS_MAX }),
    ),
    confirm: Type.Optional(
      Type.String({ pattern: VISIBLE_PATTERN, minLength: 1, maxLength: NONCE_CHARACTERS_MAX }),
    ),
    feature: Type.Optional(name),
    version: Type.Optional(version),
    seats: Type.Optional(seats),
    holder: Type.Optional(Holder),
    waitMs: Type.Optional(waitMs),
  },
  closed,
);

const ReleaseQuery = Type.Object(
  {
    n: Type.Optional(count),
    only: Type.Optional(name),
    reason: Type.Optional(printable(REASON_CHARACTERS_MAX)),
  },
  closed,
);

const AuthorizationsQuery = Type.Object(
  {
    feature: Type.Optional(name),
    user: Type.Optional(printable(NAME_CHARACTERS_MAX)),
    host: Type.Optional(printable(NAME_CHARACTERS_MAX)),
    member: Type.Optional(name),
    search: Type.Optional(printable(SEARCH_CHARACTERS_MAX)),
    sort: Type.Optional(Type.Enum([...AUTHORIZATION_SORTS])),
    order: Type.Optional(Type.Enum(["ascending", "descending"])),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE_ROWS_MAX })),
    after: Type.Optional(
      Type.String({ pattern: VISIBLE_PATTERN, minLength: 1, maxLength: MARK_CHARACTERS_MAX }),
    ),
  },
  closed,
);

const NoQuery = Type.Object({}, closed);
/** What stands for a token in a path: its id or its name. */
export const TOKEN_NAME_PATTERN = NAME_PATTERN;
const role = Type.Union([
  Type.Literal("client"),
  Type.Literal("viewer"),
  Type.Literal("administrator"),
]);
const TokenBody = Type.Object(
  {
    name,
    role,
    expiresAt: Type.Optional(Type.String({ maxLength: 40, description: "RFC 3339" })),
  },
  closed,
);
const TokenRow = Type.Object({
  id: Type.String(),
  name,
  role,
  createdAt: instant,
  createdBy: Type.String(),
  expiresAt: nullable(instant),
});
const TokensAnswer = Type.Object({ tokens: Type.Array(TokenRow) });
const TokenAnswer = Type.Object({ ...TokenRow.properties, token: Type.String() });
const LoginBody = Type.Object(
  {
    token: Type.String({
      pattern: VISIBLE_PATTERN,
      minLength: 1,
      maxLength: TOKEN_CHARACTERS_MAX,
    }),
  },
  closed,
);
const LoginAnswer = Type.Object({
  name: Type.String(),
  role,
  csrf: Type.String({ description: "Goes into the header Quorate-CSRF of what is no GET" }),
  expiresAt: instant,
});
const ways = Type.Array(Type.Union([Type.Literal("token"), Type.Literal("oidc")]));
const readers = Type.Union([Type.Literal("open"), Type.Literal("token")]);
const LoginState = Type.Union([
  Type.Object({ ...LoginAnswer.properties, ways, readers }),
  Type.Object({ role: Type.Null(), ways, readers }),
]);
const AuditEntry = Type.Object({
  number: Type.Integer({ minimum: 1 }),
  at: instant,
  who: Type.String(),
  role: Type.String(),
  from: Type.String(),
  what: Type.String(),
  details: Type.Record(Type.String(), Type.Unknown()),
  outcome: Type.String(),
  previous: Type.String(),
});
const AuditQuery = Type.Object(
  {
    before: Type.Optional(Type.Integer({ minimum: 1 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE_ROWS_MAX })),
  },
  closed,
);
const AuditAnswer = Type.Object({
  member: name,
  entries: Type.Array(AuditEntry),
  next: nullable(Type.Integer({ minimum: 1 })),
});
const MemberBody = Type.Object({ member: name }, closed);

const Granted = Type.Object({
  session,
  feature: name,
  seats,
  member: name,
  lifeMs: count,
  heartbeatMs: count,
  token: Type.Optional(Type.String()),
  pool: Type.Object({ leader: nullable(Type.String()), servers: Type.Array(Type.String()) }),
  converted: Type.Optional(Type.Boolean()),
});

const Released = Type.Object({ released: Type.Literal(true), reached: Type.Boolean() });

const AuthorizationRow = Type.Object({
  session: Type.String(),
  feature: Type.String(),
  version: nullable(Type.String()),
  seats: count,
  holder: Type.Object({
    user: Type.String(),
    host: Type.String(),
    process: Type.Optional(Type.String()),
  }),
  member: Type.String(),
  grantedAt: instant,
  state: Type.Union([Type.Literal("active"), Type.Literal("revoked")]),
  converted: Type.Boolean(),
  renewedAt: Type.Optional(instant),
});

const AuthorizationsPage = Type.Object({
  authorizations: Type.Array(AuthorizationRow),
  found: count,
  total: count,
  missing: Type.Array(Type.String()),
  next: nullable(Type.String()),
});

const FeatureRow = Type.Object({
  name: Type.String(),
  version: Type.String(),
  seats: count,
  overdraft: count,
  inUse: count,
  free: count,
  queued: count,
  denied: count,
  debt: count,
  retired: count,
  starts: nullable(instant),
  expires: nullable(instant),
  lifeMs: count,
  members: Type.Record(Type.String(), Type.Object({ seats: count, inUse: count })),
});

const FeaturesAnswer = Type.Object({
  features: Type.Array(FeatureRow),
  missing: Type.Array(Type.String()),
});

const PoolMemberRow = Type.Object({
  id: Type.String(),
  url: Type.String(),
  alive: Type.Boolean(),
  mandate: Type.Boolean(),
  state: Type.String(),
  epoch: count,
  priority: Type.Number(),
  licenseSequence: nullable(count),
  sessions: nullable(count),
  leaseAgeMs: nullable(Type.Number()),
});

const PoolAnswer = Type.Object({
  pool: nullable(Type.String()),
  self: Type.String(),
  size: count,
  leader: nullable(Type.Object({ id: Type.String(), url: Type.String() })),
  term: count,
  leaseMs: count,
  majority: Type.Object({ needed: count, alive: count, reached: Type.Boolean() }),
  members: Type.Array(PoolMemberRow),
  store: Type.Object({
    name: Type.String(),
    id: nullable(Type.String()),
    state: Type.String(),
  }),
  alarms: Type.Array(Type.String()),
});

const usageKey = Type.Union([Type.Literal("user"), Type.Literal("feature"), Type.Literal("host")]);
const UsageQuery = Type.Object(
  {
    from: Type.Optional(Type.String({ maxLength: INSTANT_CHARACTERS_MAX })),
    to: Type.Optional(Type.String({ maxLength: INSTANT_CHARACTERS_MAX })),
    by: Type.Optional(usageKey),
    feature: Type.Optional(name),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE_ROWS_MAX })),
  },
  closed,
);
const usage = {
  uses: count,
  peakSeats: count,
  averageSeats: Type.Number(),
  seatHours: Type.Number(),
  denied: count,
};
const UsageRow = Type.Object({ key: Type.String(), ...usage });
const UsageAnswer = Type.Object({
  from: instant,
  to: instant,
  by: usageKey,
  rows: Type.Array(UsageRow),
  total: Type.Object(usage),
  keys: count,
  missing: Type.Array(Type.String()),
});

const UsageSeriesQuery = Type.Object(
  {
    from: Type.Optional(Type.String({ maxLength: INSTANT_CHARACTERS_MAX })),
    to: Type.Optional(Type.String({ maxLength: INSTANT_CHARACTERS_MAX })),
    stepMs: Type.Optional(Type.Integer({ minimum: STEP_MS_MIN, maximum: STEP_MS_MAX })),
    feature: Type.Optional(name),
  },
  closed,
);
const UsageStep = Type.Object({
  at: instant,
  peakSeats: count,
  averageSeats: Type.Number(),
  denied: count,
});
const UsageSeriesAnswer = Type.Object({
  from: instant,
  to: instant,
  stepMs: count,
  feature: nullable(Type.String()),
  steps: Type.Array(UsageStep),
  missing: Type.Array(Type.String()),
});

const DenialsQuery = Type.Object(
  {
    from: Type.Optional(Type.String({ maxLength: INSTANT_CHARACTERS_MAX })),
    to: Type.Optional(Type.String({ maxLength: INSTANT_CHARACTERS_MAX })),
    feature: Type.Optional(name),
    user: Type.Optional(printable(NAME_CHARACTERS_MAX)),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE_ROWS_MAX })),
  },
  closed,
);
const DenialRow = Type.Object({
  at: instant,
  member: Type.String(),
  session: Type.String(),
  feature: Type.String(),
  seats: count,
  holder: AuthorizationRow.properties.holder,
  code: Type.String(),
});
const DenialsAnswer = Type.Object({
  denials: Type.Array(DenialRow),
  missing: Type.Array(Type.String()),
});

const LicenseHistoryRow = Type.Object({
  sequence: count,
  id: Type.String(),
  customer: Type.String(),
  issued: instant,
  features: count,
  seats: count,
  installedAt: instant,
  member: Type.String(),
  by: nullable(Type.String()),
  from: nullable(Type.String()),
});
const LicenseHistoryAnswer = Type.Object({ history: Type.Array(LicenseHistoryRow) });

const LicenseAnswer = Type.Object({
  sequence: count,
  license: Type.Unknown(),
  kept: Type.Optional(Type.String()),
});
const LicenseDocument = Type.Object({}, { description: "A license as the vendor signed it" });
const MemberEvent = Type.Object({
  type: Type.String(),
  at: instant,
  data: Type.Record(Type.String(), Type.Unknown()),
});

const RecentEventsAnswer = Type.Object({
  member: Type.String(),
  events: Type.Array(MemberEvent),
});

const Problem = Type.Object(
  {
    type: Type.String({ description: "urn:quorate:refusal:<code>" }),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.String({ description: "What to do, in a sentence; never a secret" }),
    code: Type.Enum(Object.keys(REFUSALS)),
    nonce: Type.Optional(Type.String()),
    leader: Type.Optional(Type.String()),
    retryAfterMs: Type.Optional(count),
    place: Type.Optional(count),
    ticket: Type.Optional(Type.String()),
  },
  { description: "RFC 9457" },
);

const ServiceAnswer = Type.Object({
  name: Type.String(),
  about: Type.String(),
  member: Type.String(),
  openapi: Type.String(),
  links: Type.Array(Type.String()),
});
const Alive = Type.Object({ alive: Type.Literal(true) });
const Ready = Type.Object({ ready: Type.Literal(true) });

/**
 * The signed words of one member to another. What a kind of call holds beside these is the members' own
 * business: they are authenticated, and one of a newer version may say more than this one knows.
 */
const PeerEnvelope = Type.Object({
  from: name,
  to: name,
  sequence: count,
  sentAtMs: count,
  call: Type.Object({ kind: Type.String(), epoch: count, term: count }),
});
const PeerAnswer = Type.Union([
  Type.Object({ ok: Type.Literal(true), body: Type.Optional(Type.Unknown()) }),
  Type.Object({
    ok: Type.Literal(false),
    refusal: Type.Object({ refused: Type.String(), detail: Type.String() }),
  }),
]);

/** Every shape by the name it has in `/openapi.json`. */
export const SCHEMAS = {
  Alive,
  AuditAnswer,
  AuditEntry,
  AuditQuery,
  AuthorizationRow,
  AuthorizationsPage,
  AuthorizationsQuery,
  CheckoutBody,
  DenialRow,
  DenialsAnswer,
  DenialsQuery,
  FeatureRow,
  FeaturesAnswer,
  Granted,
  HeartbeatBody,
  Holder,
  LicenseAnswer,
  LicenseDocument,
  LicenseHistoryAnswer,
  LicenseHistoryRow,
  LoginAnswer,
  LoginBody,
  LoginState,
  MemberBody,
  MemberEvent,
  NoQuery,
  PeerAnswer,
  PeerEnvelope,
  PoolAnswer,
  PoolMemberRow,
  Problem,
  Ready,
  RecentEventsAnswer,
  Released,
  ReleaseQuery,
  ServiceAnswer,
  TokenAnswer,
  TokenBody,
  TokenRow,
  TokensAnswer,
  UsageAnswer,
  UsageQuery,
  UsageRow,
  UsageSeriesAnswer,
  UsageSeriesQuery,
  UsageStep,
} as const;

export type SchemaName = keyof typeof SCHEMAS;
