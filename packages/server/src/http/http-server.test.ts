import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { refuse } from "@quorate/core";
import { ROUTES } from "@quorate/protocol";
import {
  ADMIN_HEADERS,
  ask,
  CHECKOUT,
  fakeMember,
  granted,
  JSON_HEADERS,
  NO_MAJORITY,
  SECRET,
  serverOf,
  SESSION,
  SESSION_HEADERS,
} from "./fake-member.ts";
import type { FakeMember } from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";

let member: FakeMember;
let server: HttpServer;

beforeEach(async () => {
  member = fakeMember();
  server = await serverOf(member);
});

afterEach(async () => {
  await server.close();
});

async function serve(changed: FakeMember, more: Parameters<typeof serverOf>[1] = {}) {
  await server.close();
  member = changed;
  server = await serverOf(member, more);
}

const heartbeatUrl = (): string => `${server.url}/v1/authorizations/${SESSION}/heartbeat`;
const sessionUrl = (query = ""): string => `${server.url}/v1/authorizations/${SESSION}${query}`;

describe("a checkout", () => {
  test("that is granted is answered with 201 and all but `created`", async () => {
    const answer = await ask(`${server.url}/v1/authorizations`, "POST", SESSION_HEADERS, CHECKOUT);
    expect(answer.status).toBe(201);
    const { created: _created, ...body } = granted("cad", true);
    expect(answer.body).toEqual(body);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(member.asked).toEqual([{ call: "checkout", with: { ...CHECKOUT, secret: SECRET } }]);
  });

  test("of a session that is known here is answered with 200", async () => {
    await serve(fakeMember({ checkout: async () => granted("cad", false) }));
    const answer = await ask(`${server.url}/v1/authorizations`, "POST", SESSION_HEADERS, CHECKOUT);
    expect(answer.status).toBe(200);
  });

  test("that has to wait gets its place, its ticket and a Retry-After in whole seconds", async () => {
    const queued = refuse("queued", "Two are before you.", {
      place: 3,
      ticket: "t-1",
      retryAfterMs: 1_200,
    });
    await serve(fakeMember({ checkout: async () => queued }));
    const answer = await ask(`${server.url}/v1/authorizations`, "POST", SESSION_HEADERS, CHECKOUT);
    expect(answer.status).toBe(409);
    expect(answer.type).toBe("application/problem+json");
    expect(answer.headers.get("retry-after")).toBe("2");
    expect(answer.body).toEqual({
      type: "urn:quorate:refusal:queued",
      title: "Waiting for a seat; repeat to keep the place",
      status: 409,
      detail: "Two are before you.",
      code: "queued",
      place: 3,
      ticket: "t-1",
      retryAfterMs: 1_200,
    });
  });
});

describe("a heartbeat", () => {
  test("of a known session is renewed with 200", async () => {
    const answer = await ask(heartbeatUrl(), "POST", SESSION_HEADERS, { n: 5 });
    expect(answer.status).toBe(200);
    expect(member.asked).toEqual([
      { call: "heartbeat", with: { n: 5, session: SESSION, secret: SECRET } },
    ]);
  });

  test("needs no body", async () => {
    const answer = await ask(heartbeatUrl(), "POST", { "Quorate-Session": SECRET });
    expect(answer.status).toBe(200);
  });

  test("that was converted, after a while, is answered with 201", async () => {
    await serve(
      fakeMember({ heartbeat: async () => ({ ...granted("cad", true), converted: true }) }),
    );
    const answer = await ask(heartbeatUrl(), "POST", SESSION_HEADERS, { n: 5, token: "a.b.c" });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({ converted: true });
  });

  test("that must be confirmed or said to the leader gets the nonce or the address", async () => {
    await serve(fakeMember({ heartbeat: () => refuse("confirm", "Repeat it.", { nonce: "n-1" }) }));
    expect((await ask(heartbeatUrl(), "POST", SESSION_HEADERS, {})).body).toMatchObject({
      code: "confirm",
      nonce: "n-1",
    });
    await serve(
      fakeMember({ heartbeat: () => refuse("not-leader", "Go.", { leader: "http://b:1" }) }),
    );
    const answer = await ask(heartbeatUrl(), "POST", SESSION_HEADERS, {});
    expect(answer.status).toBe(421);
    expect(answer.body).toMatchObject({ leader: "http://b:1" });
  });
});

describe("a release", () => {
  test("is answered with 204 and passes `n` and `only` on", async () => {
    const answer = await ask(sessionUrl("?n=9&only=b"), "DELETE", { "Quorate-Session": SECRET });
    expect(answer.status).toBe(204);
    expect(answer.text).toBe("");
    expect(member.asked).toEqual([
      {
        call: "release",
        with: { session: SESSION, secret: SECRET, administrator: false, n: 9, only: "b" },
      },
    ]);
  });

  test("that did not reach the member that holds it is answered with 202", async () => {
    await serve(fakeMember({ release: async () => ({ released: true, reached: false }) }));
    const answer = await ask(sessionUrl(), "DELETE", { "Quorate-Session": SECRET });
    expect(answer.status).toBe(202);
    expect(answer.body).toEqual({ released: true, reached: false });
  });

  test("by an administrator revokes, with a reason", async () => {
    const answer = await ask(sessionUrl("?reason=left%20us"), "DELETE", {
      Authorization: ADMIN_HEADERS.Authorization,
    });
    expect(answer.status).toBe(204);
    expect(member.asked).toEqual([
      { call: "release", with: { session: SESSION, administrator: true, reason: "left us" } },
    ]);
  });

  test("by a stranger is refused", async () => {
    expect(await ask(sessionUrl(), "DELETE")).toMatchObject({
      status: 403,
      body: { code: "not-your-session" },
    });
    expect(await ask(sessionUrl(), "DELETE", { Authorization: "Bearer nonsense" })).toMatchObject({
      status: 403,
      body: { code: "forbidden" },
    });
    expect(member.asked).toEqual([]);
  });
});

describe("what anybody may read", () => {
  test("is answered as the member says it", async () => {
    expect((await ask(`${server.url}/v1/features`, "GET")).body).toEqual(await member.features());
    expect((await ask(`${server.url}/v1/pool`, "GET")).body).toEqual(member.pool());
    expect((await ask(`${server.url}/v1/license`, "GET")).body).toEqual(member.license());
  });

  test("may be a page of authorizations, filtered", async () => {
    const answer = await ask(
      `${server.url}/v1/authorizations?feature=cad&user=Ana%20M%C3%BCller&limit=20&after=x`,
      "GET",
    );
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ missing: ["c"], next: null });
    expect(member.asked[0]?.with).toEqual({
      feature: "cad",
      user: "Ana Müller",
      limit: 20,
      after: "x",
    });
  });

  test.each(["limit=0", "limit=1001", "limit=ten", "limit=1&limit=2", "colour=red", "feature="])(
    "is refused for the query %s",
    async (query) => {
      const answer = await ask(`${server.url}/v1/authorizations?${query}`, "GET");
      expect(answer).toMatchObject({ status: 400, body: { code: "bad-request" } });
    },
  );

  test("is also a license that is missing", async () => {
    await serve(fakeMember({ license: () => refuse("license-invalid", "There is none yet.") }));
    expect(await ask(`${server.url}/v1/license`, "GET")).toMatchObject({
      status: 422,
      body: { code: "license-invalid" },
    });
  });

  test("tells what this is, whether it lives and whether it may grant", async () => {
    expect((await ask(server.url, "GET")).body).toMatchObject({ openapi: "/openapi.json" });
    expect((await ask(`${server.url}/livez`, "GET")).body).toEqual({ alive: true });
    expect((await ask(`${server.url}/readyz`, "GET")).status).toBe(200);
    await serve(fakeMember({ readiness: () => NO_MAJORITY }));
    expect(await ask(`${server.url}/readyz`, "GET")).toMatchObject({
      status: 503,
      body: { code: "no-majority" },
    });
    expect((await ask(`${server.url}/livez`, "HEAD")).status).toBe(200);
  });

  test("are metrics of features, members and refusals", async () => {
    await ask(sessionUrl(), "DELETE");
    const { text, type } = await ask(`${server.url}/metrics`, "GET");
    expect(type).toContain("text/plain");
    expect(text).toContain('quorate_seats{feature="cad"} 11');
    expect(text).toContain('quorate_member_leads{member="a"} 1');
    expect(text).toContain('quorate_refusals_total{code="not-your-session"} 1');
    expect(text).toContain("process_cpu_seconds_total");
  });

  test("is a description of every route", async () => {
    const { body } = await ask(`${server.url}/openapi.json`, "GET");
    expect(body).toMatchObject({ openapi: "3.1.0" });
  });
});

describe("an administrator", () => {
  test("asks for the usage of a time, and nobody else does", async () => {
    const path = `${server.url}/v1/usage?from=2026-11-01T00:00:00Z&by=user&limit=5`;
    const answer = await ask(path, "GET", ADMIN_HEADERS);
    expect(answer).toMatchObject({ status: 200, body: { missing: ["c"] } });
    const query = { from: "2026-11-01T00:00:00Z", by: "user", limit: 5 };
    expect(member.asked).toEqual([{ call: "usage", with: query }]);
    expect((await ask(path, "GET")).status).toBe(401);
    expect((await ask(`${path}&since=1`, "GET", ADMIN_HEADERS)).status).toBe(400);
  });

  test("installs a license as the text that it is", async () => {
    const text = '{ "quorate": 1,\n  "sequence": 8 }';
    const answer = await ask(`${server.url}/v1/license`, "PUT", ADMIN_HEADERS, text);
    expect(answer.body).toEqual({ sequence: 8, license: {} });
    expect(member.asked).toEqual([{ call: "installLicense", with: text }]);
  });

  test("moves the leadership, removes a member and rebuilds", async () => {
    for (const call of ["lead", "remove"]) {
      const answer = await ask(`${server.url}/v1/pool/${call}`, "POST", ADMIN_HEADERS, {
        member: "b",
      });
      expect(answer.status).toBe(200);
    }
    const rebuilt = await ask(`${server.url}/v1/pool/rebuild`, "POST", {
      Authorization: ADMIN_HEADERS.Authorization,
    });
    expect(rebuilt.body).toEqual(member.pool());
    expect(member.asked.map(({ call }) => call)).toEqual(["lead", "remove", "rebuild"]);
  });

  test("meets the member's refusals", async () => {
    await serve(fakeMember({ installLicense: async () => refuse("license-older", "Have 9.") }));
    expect(await ask(`${server.url}/v1/license`, "PUT", ADMIN_HEADERS, {})).toMatchObject({
      status: 409,
      body: { code: "license-older" },
    });
  });

  test("is nobody without the token, and nobody at all where none was configured", async () => {
    const url = `${server.url}/v1/pool/rebuild`;
    const missing = await ask(url, "POST");
    expect(missing).toMatchObject({ status: 401, body: { code: "unauthorized" } });
    expect(missing.headers.get("www-authenticate")).toContain("Bearer");
    expect(await ask(url, "POST", { Authorization: "Basic eDp5" })).toMatchObject({ status: 401 });
    expect(await ask(url, "POST", { Authorization: "Bearer x" })).toMatchObject({ status: 403 });
    await serve(fakeMember(), { adminToken: null });
    expect(await ask(`${server.url}/v1/pool/rebuild`, "POST", ADMIN_HEADERS)).toMatchObject({
      status: 403,
      body: { code: "forbidden" },
    });
    expect(member.asked).toEqual([]);
  });
});

describe("under overload", () => {
  test("new requests are told to back off first, heartbeats last, releases never", async () => {
    let lagMs = 51;
    await serve(fakeMember(), { lagMs: () => lagMs });
    const checkout = () =>
      ask(`${server.url}/v1/authorizations`, "POST", SESSION_HEADERS, CHECKOUT);
    const heartbeat = () => ask(heartbeatUrl(), "POST", SESSION_HEADERS, {});
    const busy = await checkout();
    expect(busy).toMatchObject({ status: 503, body: { code: "busy", retryAfterMs: 500 } });
    expect(busy.headers.get("retry-after")).toBe("1");
    expect((await heartbeat()).status).toBe(200);
    lagMs = 501;
    expect((await heartbeat()).status).toBe(503);
    expect((await ask(sessionUrl(), "DELETE", { "Quorate-Session": SECRET })).status).toBe(204);
    lagMs = 50;
    expect((await checkout()).status).toBe(201);
  });
});

describe("every route of the table", () => {
  test("is served: none is answered with 404 or 405", async () => {
    for (const route of ROUTES) {
      if (route.operation === "events") continue;
      const path = route.path.replace(/\{\w+\}/, SESSION);
      const answer = await ask(server.url + path, route.method, JSON_HEADERS);
      expect([404, 405], `${route.method} ${path}`).not.toContain(answer.status);
    }
  });

  test("refuses the methods that it does not know, and names those it does", async () => {
    for (const path of new Set(ROUTES.map((route) => route.path))) {
      const answer = await ask(server.url + path.replace("{session}", SESSION), "PATCH");
      expect(answer, path).toMatchObject({ status: 405, body: { code: "method-not-allowed" } });
      expect(answer.headers.get("allow"), path).toMatch(/^[A-Z]+(, [A-Z]+)*$/);
    }
    const answer = await ask(`${server.url}/v1/authorizations`, "PUT");
    expect(answer.headers.get("allow")).toBe("POST, GET, HEAD");
  });
});
