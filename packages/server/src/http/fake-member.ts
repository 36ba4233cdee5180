/** A member for the tests of the HTTP face: answers at once, remembers what it was asked. */
import { networkInterfaces } from "node:os";
import { connect } from "node:net";
import { isRefusal, refuse } from "@quorate/core";
import type {
  AuthorizationsPage,
  DenialsAnswer,
  FeaturesAnswer,
  Granted,
  LicenseHistoryAnswer,
  MemberEvent,
  PoolAnswer,
  UsageAnswer,
  UsageSeriesAnswer,
} from "@quorate/protocol";
import type { MemberApi } from "../member/api.ts";
import type { Log } from "../member/ports.ts";
import type { StoredToken, TokenBook } from "../member/token-keeper.ts";
import { createHttpServer } from "./http-server.ts";
import type { HttpServer, HttpServerOptions } from "./http-server.ts";

export const ADMIN_TOKEN = "the-administrators-token";
export const SESSION = "s".repeat(43);
export const SECRET = "q".repeat(43);
export const JSON_HEADERS = { "Content-Type": "application/json" };
export const SESSION_HEADERS = { ...JSON_HEADERS, "Quorate-Session": SECRET };
export const ADMIN_HEADERS = { ...JSON_HEADERS, Authorization: `Bearer ${ADMIN_TOKEN}` };
export const CHECKOUT = {
  session: SESSION,
  n: 1,
  feature: "cad",
  version: "2026.1",
  seats: 2,
  holder: { user: "Ana Müller", host: "desk-7", process: "cad.exe 4711" },
  waitMs: 0,
};

export interface FakeMember extends MemberApi {
  readonly asked: { readonly call: string; readonly with: unknown }[];
  tell(event: MemberEvent): void;
}

export function fakeMember(overrides: Partial<MemberApi> = {}): FakeMember {
  const asked: { call: string; with: unknown }[] = [];
  const listeners = new Set<(event: MemberEvent) => void>();
  const heard = <Answer>(call: string, what: unknown, answer: Answer): Answer => {
    asked.push({ call, with: what });
    return answer;
  };
  return {
    id: "a",
    asked,
    tell: (event) => {
      for (const listener of listeners) listener(event);
    },
    readiness: () => null,
    checkout: async (request) => heard("checkout", request, granted(request.feature, true)),
    heartbeat: (request) => heard("heartbeat", request, granted("cad", false)),
    holds: (session) => session === SESSION,
    release: async (request) => heard("release", request, { released: true, reached: true }),
    authorizations: async (query) => heard("authorizations", query, PAGE),
    features: async () => FEATURES,
    pool: () => POOL,
    usage: async (query) => heard("usage", query, USAGE),
    usageSeries: async (query) => heard("usageSeries", query, SERIES),
    denials: async (query) => heard("denials", query, DENIALS),
    licenseHistory: () => HISTORY,
    license: () => ({ sequence: 7, license: { quorate: 1 } }),
    // Who it was is the history's, and has its own test.
    installLicense: async (text) => heard("installLicense", text, { sequence: 8, license: {} }),
    lead: async (member) => heard("lead", member, POOL),
    remove: async (member) => heard("remove", member, POOL),
    rebuild: async () => heard("rebuild", null, POOL),
    peer: async (from, call) => heard("peer", { from, call }, { ok: true, body: { from } }),
    memberKey: () => null,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop: async () => {},
    ...overrides,
  };
}

export function granted(feature: string, created: boolean): Granted {
  return {
    session: SESSION,
    feature,
    seats: 2,
    member: "a",
    lifeMs: 60_000,
    heartbeatMs: 20_000,
    token: "header.claims.signature",
    pool: { leader: null, servers: ["http://127.0.0.1:1"] },
    created,
  };
}

export const NO_MAJORITY = refuse("no-majority", "Only 1 of 3 members is seen.");

const PAGE: AuthorizationsPage = {
  authorizations: [
    {
      session: SESSION,
      feature: "cad",
      version: null,
      seats: 1,
      holder: { user: "ana", host: "desk-7" },
      member: "a",
      grantedAt: "2026-11-24T08:00:00Z",
      state: "active",
      converted: false,
    },
  ],
  found: 1,
  total: 3,
  missing: ["c"],
  next: null,
};

const FEATURES: FeaturesAnswer = {
  features: [
    {
      name: "cad",
      version: "2026.9",
      seats: 10,
      overdraft: 1,
      inUse: 3,
      free: 8,
      queued: 0,
      denied: 2,
      debt: 0,
      retired: 0,
      starts: null,
      expires: "2027-01-01T00:00:00Z",
      lifeMs: 60_000,
      members: { a: { seats: 5, inUse: 3 } },
    },
  ],
  missing: [],
};

const USAGE: UsageAnswer = {
  from: "2026-11-01T00:00:00.000Z",
  to: "2026-11-24T08:00:00.000Z",
  by: "feature",
  rows: [{ key: "cad", uses: 1, peakSeats: 2, averageSeats: 0.5, seatHours: 12, denied: 3 }],
  total: { uses: 1, peakSeats: 2, averageSeats: 0.5, seatHours: 12, denied: 3 },
  keys: 1,
  missing: ["c"],
};

const SERIES: UsageSeriesAnswer = {
  from: "2026-11-24T06:00:00.000Z",
  to: "2026-11-24T08:00:00.000Z",
  stepMs: 3_600_000,
  feature: "cad",
  steps: [
    { at: "2026-11-24T06:00:00.000Z", peakSeats: 2, averageSeats: 0.5, denied: 0 },
    { at: "2026-11-24T07:00:00.000Z", peakSeats: 3, averageSeats: 1.5, denied: 1 },
  ],
  missing: [],
};

const DENIALS: DenialsAnswer = {
  denials: [
    {
      at: "2026-11-24T07:30:00.000Z",
      member: "a",
      session: SESSION,
      feature: "cad",
      seats: 1,
      holder: { user: "ana", host: "desk-7" },
      code: "no-seats",
    },
  ],
  missing: [],
};

const HISTORY: LicenseHistoryAnswer = {
  history: [
    {
      sequence: 7,
      id: "L-7",
      customer: "Acme",
      issued: "2026-01-01T00:00:00Z",
      features: 1,
      seats: 10,
      installedAt: "2026-11-01T00:00:00.000Z",
      member: "a",
      by: "lea",
      from: "10.0.0.7",
    },
  ],
};

const POOL: PoolAnswer = {
  pool: "acme",
  self: "a",
  size: 3,
  leader: { id: "a", url: "http://127.0.0.1:1" },
  term: 4,
  leaseMs: 5_000,
  majority: { needed: 2, alive: 3, reached: true },
  members: [
    {
      id: "a",
      url: "http://127.0.0.1:1",
      alive: true,
      mandate: true,
      state: "granting",
      epoch: 2,
      priority: 0,
      licenseSequence: 7,
      sessions: 3,
      leaseAgeMs: 700,
    },
  ],
  store: { name: "memory", id: "x", state: "ok" },
  alarms: [],
};

export interface KeptLog extends Log {
  readonly lines: string[];
}

export function keptLog(): KeptLog {
  const lines: string[] = [];
  const keep = (message: string, fields?: Record<string, unknown>): void => {
    const error = fields?.["error"];
    const cause = error instanceof Error ? (error.stack ?? error.message) : "";
    lines.push(`${message} ${JSON.stringify(fields ?? {})} ${cause}`);
  };
  return { lines, info: keep, warn: keep, error: keep };
}

export function memoryTokens(): TokenBook {
  const byId = new Map<string, StoredToken>();
  return {
    find: (id) => byId.get(id) ?? null,
    list: () => [...byId.values()],
    add: async (token) => {
      byId.set(token.id, token);
      return token;
    },
    remove: async (id) => {
      const found = byId.get(id) ?? refuse("not-found", "there is no such token");
      if (!isRefusal(found)) byId.delete(found.id);
      return found;
    },
  };
}

/** A server on a free port that never thinks it is overloaded, unless told otherwise. */
export async function serverOf(
  member: MemberApi,
  more: Partial<HttpServerOptions> = {},
): Promise<HttpServer> {
  return createHttpServer({
    member,
    adminToken: ADMIN_TOKEN,
    tokens: memoryTokens(),
    log: keptLog(),
    host: "127.0.0.1",
    port: 0,
    lagMs: () => 0,
    ...more,
  });
}

/** Servers of one test file, and what else is to be closed after each of its tests. */
export function openThings(): {
  readonly open: { close(): unknown }[];
  serve(...of: Parameters<typeof serverOf>): Promise<HttpServer>;
  closeAll(): Promise<void>;
} {
  const open: { close(): unknown }[] = [];
  return {
    open,
    serve: async (...of) => {
      const server = await serverOf(...of);
      open.push(server);
      return server;
    },
    closeAll: async () => {
      for (const each of open.splice(0).reverse()) await each.close();
    },
  };
}

export interface Heard {
  readonly status: number;
  readonly type: string;
  readonly headers: Headers;
  readonly text: string;
  /** Undefined when the body is not JSON. */
  readonly body: unknown;
}

/** One request over real HTTP. A value as body is sent as JSON, a text as it is. */
export async function ask(
  url: string,
  method: string,
  headers: Record<string, string> = {},
  body?: unknown,
): Promise<Heard> {
  const response = await fetch(url, {
    method,
    headers,
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Not JSON: the test looks at the text.
  }
  return {
    status: response.status,
    type: response.headers.get("content-type") ?? "",
    headers: response.headers,
    text,
    body: parsed,
  };
}

/** Sends bytes as they are and gives all that comes back until the server closes. */
export async function askRaw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      answer += chunk;
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

/** An address of this machine that other machines could reach; missing where it has none. */
export function externalAddress(): string | undefined {
  return Object.values(networkInterfaces())
    .flat()
    .find((each) => each?.internal === false && each.family === "IPv4")?.address;
}
