/** What one token, login or certificate may take, whatever address it comes from. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request as askPlainly } from "node:http";
import { request as askSecurely } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Answer } from "@quorate/protocol";
import { CLIENTS_MAX, createClientLimits, type ShareKind } from "./client-limits.ts";
import {
  ADMIN_HEADERS,
  ask,
  CHECKOUT,
  fakeMember,
  granted,
  SECRET,
  SESSION,
  SESSION_HEADERS,
  openThings,
  externalAddress,
} from "./fake-member.ts";
import { HTTP_LIMITS, type HttpLimits } from "./http-limits.ts";
import type { HttpServer } from "./http-server.ts";
import { type TestAuthority, testAuthority } from "./test-certificates.ts";
import { readTls } from "./tls.ts";

const FEW: Partial<HttpLimits> = {
  clientRequestsPerSecond: 0.001,
  clientBurst: 3,
  clientUnderWayMax: 2,
  clientHeartbeatsPerSecond: 0.001,
  clientHeartbeatBurst: 5,
  clientHeartbeatsUnderWayMax: 2,
};

const passed = (times: number, take: () => unknown): number =>
  Array.from({ length: times }, take).filter((refusal) => refusal === null).length;

describe("a client's share", () => {
  function world() {
    let nowMs = 0;
    const limits = { ...HTTP_LIMITS, ...FEW, clientRequestsPerSecond: 2 };
    return {
      clients: createClientLimits(limits, () => nowMs),
      pass: (ms: number) => (nowMs += ms),
    };
  }

  it("is so many requests in a stretch of time, and another client's is its own", () => {
    const { clients, pass } = world();
    const take = (source: string, kind: ShareKind = "requests") => clients.of(source).take(kind);
    expect(passed(9, () => take("token a"))).toBe(3);
    expect(take("token a")).toMatchObject({ refused: "busy", retryAfterMs: 1_000 });
    expect(passed(9, () => take("token b"))).toBe(3);
    pass(1_000);
    expect(passed(9, () => take("token a"))).toBe(2);
    pass(3_600_000);
    expect(passed(9, () => take("token a"))).toBe(3);
  });

  it("of heartbeats is left when new requests have taken theirs, and the other way round", () => {
    const { clients } = world();
    const share = clients.of("token a");
    expect(passed(9, () => share.take("requests"))).toBe(3);
    expect(passed(9, () => share.take("heartbeats"))).toBe(5);
    const other = clients.of("token b");
    expect(passed(9, () => other.take("heartbeats"))).toBe(5);
    expect(passed(9, () => other.take("requests"))).toBe(3);
  });

  it("is so many that wait for their answers, and one more with each that is answered", () => {
    const { clients } = world();
    const share = clients.of("token a");
    share.begin("requests");
    share.begin("requests");
    expect(share.take("requests")).toMatchObject({ refused: "busy", retryAfterMs: 1_000 });
    expect(share.take("heartbeats")).toBeNull();
    share.end("requests");
    expect(share.take("requests")).toBeNull();
  });

  it("is forgotten when too many others come, and never that of who asks all the time", () => {
    const { clients } = world();
    expect(passed(9, () => clients.of("busy").take("requests"))).toBe(3);
    expect(passed(9, () => clients.of("silent").take("requests"))).toBe(3);
    for (let other = 0; other < CLIENTS_MAX / 2 - 2; other += 1) clients.of(`other ${other}`);
    expect(clients.of("silent").take("requests")).not.toBeNull();
    for (let other = 0; other < CLIENTS_MAX; other += 1) {
      clients.of(`more ${other}`);
      expect(clients.of("busy").take("requests")).not.toBeNull();
    }
    expect(clients.of("silent").take("requests")).toBeNull();
  });
});

const { serve, closeAll, open } = openThings();
afterEach(closeAll);

const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` });

async function tokenOf(server: HttpServer, name: string, role = "client"): Promise<string> {
  const made = await ask(`${server.url}/v1/tokens`, "POST", ADMIN_HEADERS, { name, role });
  return (made.body as { token: string }).token;
}

const checkout = async (server: HttpServer, headers: object = {}): Promise<number> => {
  const all = { ...SESSION_HEADERS, ...headers };
  return (await ask(`${server.url}/v1/authorizations`, "POST", all, CHECKOUT)).status;
};
const statusesOf = async (times: number, one: () => Promise<number>): Promise<number[]> => {
  const statuses: number[] = [];
  for (let each = 0; each < times; each += 1) statuses.push(await one());
  return statuses;
};
const heartbeat = async (
  server: HttpServer,
  headers: object,
  session = SESSION,
  body: object = {},
): Promise<number> => {
  const path = `/v1/authorizations/${session}/heartbeat`;
  return (await ask(server.url + path, "POST", { ...SESSION_HEADERS, ...headers }, body)).status;
};

describe("a token", () => {
  it.skipIf(process.platform !== "linux")(
    "has one share from however many addresses, and the refusal says when to come back",
    async () => {
      const server = await serve(fakeMember(), { clients: "token", limits: FEW });
      const [one, other] = [await tokenOf(server, "one"), await tokenOf(server, "other")];
      const from = (localAddress: string, token: string) =>
        new Promise<{ status: number; retryAfter: string; text: string }>((resolve, reject) => {
          const asked = askPlainly(`${server.url}/v1/authorizations`, {
            method: "POST",
            localAddress,
            agent: false,
            headers: { ...SESSION_HEADERS, ...bearer(token) },
          });
          asked.on("error", reject);
          asked.on("response", (response) => {
            let text = "";
            response.on("data", (chunk) => (text += String(chunk)));
            response.on("end", () =>
              resolve({
                status: response.statusCode ?? 0,
                retryAfter: response.headers["retry-after"] ?? "",
                text,
              }),
            );
          });
          asked.end(JSON.stringify(CHECKOUT));
        });
      const found: number[] = [];
      for (const address of ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2", "127.0.0.3"]) {
        found.push((await from(address, one)).status);
      }
      expect(found).toEqual([201, 201, 201, 429, 429]);
      const refused = await from("127.0.0.4", one);
      expect(refused).toMatchObject({ status: 429, retryAfter: "1" });
      expect(JSON.parse(refused.text)).toMatchObject({ status: 429, code: "busy" });
      expect((await from("127.0.0.2", other)).status).toBe(201);
      const { text } = await ask(`${server.url}/metrics`, "GET");
      expect(text).toContain('quorate_requests_limited_total{by="client"} 3');
      expect(text).toContain('quorate_requests_limited_total{by="address"} 0');
    },
  );

  const external = externalAddress();
  it.skipIf(external === undefined)(
    "that runs wild leaves the share of its address to the others there",
    async () => {
      const limits = { ...FEW, addressBurst: 12, addressRequestsPerSecond: 0.001 };
      const server = await serve(fakeMember(), { clients: "token", limits, host: external ?? "" });
      const [wild, other] = [await tokenOf(server, "wild"), await tokenOf(server, "other")];
      const wildly = await statusesOf(40, () => checkout(server, bearer(wild)));
      expect(wildly).toEqual([201, 201, 201, ...Array<number>(37).fill(429)]);
      expect(await statusesOf(3, () => checkout(server, bearer(other)))).toEqual([201, 201, 201]);
    },
  );

  it.skipIf(external === undefined)(
    "keeps its sessions when nothing of the address's share is left",
    async () => {
      const limits = { addressBurst: 2, addressRequestsPerSecond: 0.001, addressHeartbeatBurst: 3 };
      const server = await serve(fakeMember(), { limits, host: external ?? "" });
      expect(await statusesOf(3, () => checkout(server))).toEqual([201, 201, 429]);
      expect(await statusesOf(3, () => heartbeat(server, {}))).toEqual([200, 200, 200]);
      // Of a session that is not here it may be a new request.
      expect(await heartbeat(server, {}, "u".repeat(43))).toBe(429);
    },
  );

  it("keeps its sessions when it has asked too much, and converts those of others", async () => {
    const server = await serve(fakeMember(), { clients: "token", limits: FEW });
    const token = await tokenOf(server, "one");
    expect(await statusesOf(5, () => checkout(server, bearer(token)))).toEqual([
      201, 201, 201, 429, 429,
    ]);
    expect(await heartbeat(server, bearer(token))).toBe(200);
    const elsewhere = "u".repeat(43);
    const withToken = { token: "header.claims.signature" };
    expect(await heartbeat(server, bearer(token), elsewhere, withToken)).toBe(200);
    // Without one it would be a way around the share of new requests.
    expect(await heartbeat(server, bearer(token), elsewhere)).toBe(429);
    const left = await statusesOf(4, () => heartbeat(server, bearer(token)));
    expect(left).toEqual([200, 200, 429, 429]);
    const released = await ask(
      `${server.url}/v1/authorizations/${SESSION}`,
      "DELETE",
      SESSION_HEADERS,
    );
    expect(released.status).toBe(204);
  });

  it("and the logins with it are one client; a read that is an administrator's counts once", async () => {
    const limits = { ...FEW, clientBurst: 4 };
    const server = await serve(fakeMember(), { readers: "token", limits });
    const token = await tokenOf(server, "ana", "administrator");
    const login = await fetch(`${server.url}/v1/login`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    const Cookie = login.headers.getSetCookie()[0]?.split(";", 1)[0] ?? "";
    const read = async (path: string, headers: Record<string, string>): Promise<number> =>
      (await ask(server.url + path, "GET", headers)).status;
    expect(await statusesOf(2, () => read("/v1/tokens", { Cookie }))).toEqual([200, 200]);
    expect(await statusesOf(2, () => read("/v1/pool", bearer(token)))).toEqual([200, 200]);
    expect(await read("/v1/tokens", { Cookie })).toBe(429);
    expect(await read("/metrics", bearer(token))).toBe(429);
    expect(await read("/v1/pool", { Authorization: ADMIN_HEADERS.Authorization })).toBe(200);
  });

  it("has so many requests under way, on both ways of a request", async () => {
    const waiting: ((answer: Answer) => void)[] = [];
    const member = fakeMember({
      checkout: () => new Promise<Answer>((resolve) => waiting.push(resolve)),
    });
    const limits = { ...FEW, clientBurst: 100 };
    const server = await serve(member, { clients: "token", limits });
    const [one, other] = [await tokenOf(server, "one"), await tokenOf(server, "other")];
    // An Origin keeps a request out of the quick lane.
    const slow = { ...bearer(one), Origin: server.url };
    const asked = [checkout(server, bearer(one)), checkout(server, slow)];
    await expect.poll(() => waiting.length).toBe(2);
    expect(await checkout(server, bearer(one))).toBe(429);
    expect(await checkout(server, slow)).toBe(429);
    expect(await heartbeat(server, bearer(one))).toBe(200);
    asked.push(checkout(server, bearer(other)));
    await expect.poll(() => waiting.length).toBe(3);
    for (const answer of waiting.splice(0)) answer(granted("cad", true));
    expect(await Promise.all(asked)).toEqual([201, 201, 201]);
    asked.push(checkout(server, slow));
    await expect.poll(() => waiting.length).toBe(1);
    waiting[0]?.(granted("cad", true));
    expect(await asked.at(-1)).toBe(201);
  });

  it("has so many event streams, and reads all the same when they are taken", async () => {
    const limits = { ...FEW, clientBurst: 100, clientStreamsMax: 2 };
    const server = await serve(fakeMember(), { readers: "token", limits });
    const [one, other] = [
      bearer(await tokenOf(server, "one", "viewer")),
      bearer(await tokenOf(server, "other", "viewer")),
    ];
    const streamOf = (headers: Record<string, string>) => {
      const leaving = new AbortController();
      open.push({ close: () => leaving.abort() });
      return fetch(`${server.url}/v1/events`, { headers, signal: leaving.signal });
    };
    const status = async (headers: Record<string, string>) => (await streamOf(headers)).status;
    expect([await status(one), await status(one), await status(one)]).toEqual([200, 200, 429]);
    expect(await status(other)).toBe(200);
    expect((await ask(`${server.url}/v1/pool`, "GET", one)).status).toBe(200);
  });

  it("has so many reads under way, and none is left over when its reader goes away", async () => {
    let reads = 0;
    const member = fakeMember({
      features: () => {
        reads += 1;
        return new Promise(() => {});
      },
    });
    const limits = { ...FEW, clientBurst: 100, closeGraceMs: 10 };
    const server = await serve(member, { readers: "token", limits });
    const headers = bearer(await tokenOf(server, "one", "viewer"));
    const leaving = new AbortController();
    const { signal } = leaving;
    const left = [1, 2].map(() =>
      fetch(`${server.url}/v1/features`, { headers, signal }).catch(() => "gone"),
    );
    await expect.poll(() => reads).toBe(2);
    expect((await ask(`${server.url}/v1/pool`, "GET", headers)).status).toBe(429);
    leaving.abort();
    expect(await Promise.all(left)).toEqual(["gone", "gone"]);
    const readPool = async () => (await ask(`${server.url}/v1/pool`, "GET", headers)).status;
    await expect.poll(readPool).toBe(200);
  });
});

describe("open clients", () => {
  it("have no share, whatever they bring", async () => {
    const server = await serve(fakeMember(), { limits: FEW });
    const token = await tokenOf(server, "one");
    for (const headers of [{}, bearer(token)]) {
      expect(await statusesOf(9, () => checkout(server, headers))).toEqual(Array(9).fill(201));
      expect(await statusesOf(9, () => heartbeat(server, headers))).toEqual(Array(9).fill(200));
    }
  });
});

describe("a certificate", () => {
  let folder = "";
  let authority: TestAuthority;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "quorate-shares-"));
    authority = testAuthority(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("has a share of its own over all its connections, those that were resumed too", async () => {
    const files = {
      ...authority.issue("server"),
      ca: authority.ca,
      clientAuth: "request",
    } as const;
    const server = await serve(fakeMember(), {
      clients: "certificate",
      tls: readTls(files),
      limits: FEW,
    });
    const pem = (file: string): string => readFileSync(file, "utf8");
    const certificates = ["one", "other"].map((name) => authority.issue(name));
    let session: Buffer | undefined;
    let resumed = 0;
    const take = (own: { readonly cert: string; readonly key: string }) =>
      new Promise<number>((resolve, reject) => {
        const asked = askSecurely({
          host: "127.0.0.1",
          port: server.port,
          method: "POST",
          path: "/v1/authorizations",
          headers: { ...SESSION_HEADERS, "Quorate-Session": SECRET },
          agent: false,
          ca: pem(authority.ca),
          cert: pem(own.cert),
          key: pem(own.key),
          ...(session === undefined ? {} : { session }),
        });
        asked.on("error", reject);
        asked.on("socket", (socket) =>
          socket.on("session", (given: Buffer) => {
            session = given;
          }),
        );
        asked.on("response", (response) => {
          if (
            "isSessionReused" in response.socket &&
            (response.socket as { isSessionReused(): boolean }).isSessionReused()
          )
            resumed += 1;
          response.resume();
          response.on("end", () => resolve(response.statusCode ?? 0));
        });
        asked.end(JSON.stringify(CHECKOUT));
      });
    const [one, other] = certificates;
    if (one === undefined || other === undefined) throw new Error("both were just issued");
    expect(await statusesOf(5, () => take(one))).toEqual([201, 201, 201, 429, 429]);
    expect(resumed).toBeGreaterThan(0);
    session = undefined;
    expect(await take(other)).toBe(201);
  });
});
