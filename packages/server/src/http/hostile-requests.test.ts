/** Whatever a client sends: never a status of 500 or above, always a problem document with a known code. */
import { connect } from "node:net";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BODY_BYTES_MAX, LICENSE_BYTES_MAX, REFUSALS } from "@quorate/core";
import { ROUTES } from "@quorate/protocol";
import {
  ADMIN_HEADERS,
  ADMIN_TOKEN,
  ask,
  askRaw,
  CHECKOUT,
  fakeMember,
  JSON_HEADERS,
  keptLog,
  SECRET,
  serverOf,
  SESSION,
  SESSION_HEADERS,
} from "./fake-member.ts";
import type { FakeMember, Heard } from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";

const log = keptLog();
let member: FakeMember;
let server: HttpServer;

beforeAll(async () => {
  member = fakeMember();
  server = await serverOf(member, { log });
});

afterAll(async () => {
  await server.close();
});

function expectRefused(answer: Heard, status?: number): void {
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.status).toBeLessThan(500);
  expect(answer.type).toMatch(/^application\/problem\+json/);
  const problem = problemIn(answer.text);
  expect(Object.keys(REFUSALS)).toContain(problem.code);
  expect(problem.status).toBe(answer.status);
  expect(answer.text).not.toMatch(/node:|\.ts:|at \w+ \(/);
  if (status !== undefined) expect(answer.status).toBe(status);
}

function problemIn(text: string): { code: string; status: number } {
  return JSON.parse(text);
}

/** The text as UTF-8 can carry it: half a character becomes the sign for "broken". */
function carried(text: string): string {
  return Buffer.from(text).toString();
}

describe("a request that is wrong", () => {
  const checkoutUrl = (): string => `${server.url}/v1/authorizations`;

  test.each([
    ["text that is not JSON", "{", 400],
    ["no body", undefined, 400],
    ["bytes that stand for nothing", "\u0000", 400],
    ["a number", "7", 400],
    ["a list", "[]", 400],
    ["a key of prototypes", '{"__proto__":{"administrator":true}}', 400],
    ["a constructor", '{"constructor":{"prototype":{"x":1}}}', 400],
    ["a nest of lists", "[".repeat(30_000), 400],
    ["a nest of objects", `${'{"holder":'.repeat(5_000)}1${"}".repeat(5_000)}`, 400],
    ["too many bytes", JSON.stringify({ ...CHECKOUT, version: "9".repeat(70_000) }), 413],
    ["far too many bytes", "x".repeat(BODY_BYTES_MAX * 10), 413],
    [
      "half a character",
      JSON.stringify({ ...CHECKOUT, holder: { user: "\ud800", host: "h" } }),
      400,
    ],
    ["negative seats", JSON.stringify({ ...CHECKOUT, seats: -1 }), 400],
    ["seats as text", JSON.stringify({ ...CHECKOUT, seats: "1" }), 400],
    ["a session as a path", JSON.stringify({ ...CHECKOUT, session: "../etc" }), 400],
  ])("with %s is refused, by the hot path and by Fastify", async (_name, body, status) => {
    expectRefused(await ask(checkoutUrl(), "POST", SESSION_HEADERS, body), status);
    expectRefused(await ask(`${server.url}/v1/pool/lead`, "POST", ADMIN_HEADERS, body), status);
  });

  test("with a license that is too large is refused in words", async () => {
    const body = "x".repeat(LICENSE_BYTES_MAX + 1);
    expectRefused(await ask(`${server.url}/v1/license`, "PUT", ADMIN_HEADERS, body), 413);
  });

  test("in bytes that are not UTF-8 is refused", async () => {
    const response = await fetch(checkoutUrl(), {
      method: "POST",
      headers: SESSION_HEADERS,
      body: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]),
    });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("UTF-8");
  });

  test("in another media type is refused", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"]) {
      const headers = { ...SESSION_HEADERS, "Content-Type": type };
      expectRefused(await ask(checkoutUrl(), "POST", headers, CHECKOUT), 415);
      expectRefused(
        await ask(
          `${server.url}/v1/license`,
          "PUT",
          { ...ADMIN_HEADERS, "Content-Type": type },
          {},
        ),
        415,
      );
    }
    const charset = { ...SESSION_HEADERS, "Content-Type": "Application/JSON; charset=utf-8" };
    expect((await ask(checkoutUrl(), "POST", charset, CHECKOUT)).status).toBe(201);
  });

  test("without the secret, or with one of another shape, is not about its session", async () => {
    for (const secret of [undefined, "short", `${SECRET}x`, `${SECRET}, ${SECRET}`]) {
      const headers: Record<string, string> =
        secret === undefined ? JSON_HEADERS : { ...JSON_HEADERS, "Quorate-Session": secret };
      const url = `${checkoutUrl()}/${SESSION}`;
      expectRefused(await ask(checkoutUrl(), "POST", headers, CHECKOUT), 403);
      expectRefused(await ask(`${url}/heartbeat`, "POST", headers, {}), 403);
      expectRefused(await ask(url, "DELETE", headers), 403);
    }
  });

  test("at a path that is nothing is refused", async () => {
    for (const path of [
      "/nothing",
      "/v1",
      "/v1/authorizations/",
      "/v1/authorizationsx",
      `/v1/authorizations/${SESSION}/`,
      `/v1/authorizations/${SESSION}/heartbeat/again`,
      "/v1/authorizations//heartbeat",
      "/v1/peer/gossip",
      "//v1/pool",
    ]) {
      expectRefused(await ask(server.url + path, "POST", SESSION_HEADERS, CHECKOUT), 404);
    }
    expectRefused(await ask(`${checkoutUrl()}/x/heartbeat`, "POST", SESSION_HEADERS, {}), 400);
    expectRefused(await ask(`${checkoutUrl()}/${SESSION}?m=1`, "DELETE", SESSION_HEADERS), 400);
    expectRefused(await ask(`${checkoutUrl()}?n=1`, "POST", SESSION_HEADERS, CHECKOUT), 400);
  });
});

describe("bytes that are no request", () => {
  test.each([
    ["nonsense", "nonsense\r\n\r\n", 400],
    ["a method nobody knows", "BREW /v1/pool HTTP/1.1\r\nHost: x\r\n\r\n", 400],
    ["no host", "GET /v1/pool HTTP/1.1\r\nConnection: close\r\n\r\n", 400],
    ["headers without end", `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431],
    ["a path of half an escape", "GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400],
    ["a tunnel", "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", 405],
    [
      "an expectation",
      "GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nConnection: close\r\n\r\n",
      417,
    ],
    [
      "two lengths",
      "POST /v1/authorizations HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
      400,
    ],
    [
      "a length and chunks",
      "POST /v1/authorizations HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
      400,
    ],
  ])("such as %s are refused with a problem document", async (_name, bytes, status) => {
    const answer = await askRaw(server.port, bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer.toLowerCase()).toContain("content-type: application/problem+json");
    const problem = problemIn(answer.slice(answer.indexOf("\r\n\r\n") + 4));
    expect(Object.keys(REFUSALS)).toContain(problem.code);
  });
});

describe("whatever is generated", () => {
  const anything = fc.oneof(
    fc.json({ maxDepth: 3 }),
    fc.string({ unit: "binary", maxLength: 200 }),
    fc
      .record(
        {
          session: fc.oneof(fc.constant(SESSION), fc.jsonValue()),
          n: fc.oneof(fc.integer(), fc.double(), fc.jsonValue()),
          feature: fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue()),
          seats: fc.oneof(fc.integer(), fc.jsonValue()),
          holder: fc.dictionary(fc.string(), fc.jsonValue()),
          member: fc.jsonValue(),
          from: fc.string(),
          call: fc.dictionary(
            fc.constantFrom("kind", "epoch", "term", "__proto__"),
            fc.jsonValue(),
          ),
          refused: fc.constant("bad-request"),
          detail: fc.string(),
        },
        { requiredKeys: [] },
      )
      .map((value) => JSON.stringify(value)),
  );
  const writes = ROUTES.filter((route) => route.body !== undefined);

  test("is granted or refused in words, at every route that takes a body", async () => {
    const headers = { ...ADMIN_HEADERS, "Quorate-Session": SECRET };
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...writes), anything, async (route, body) => {
        const path = route.path.replace("{session}", SESSION);
        const answer = await ask(server.url + path, route.method, headers, carried(body));
        if (answer.status >= 300) expectRefused(answer);
      }),
      { numRuns: 600 },
    );
  });

  test("in a path and a query is answered or refused in words", async () => {
    const words = fc.string({ unit: "binary", maxLength: 30 }).map(carried);
    const paths = fc.constantFrom(
      "/",
      "/v1/authorizations",
      `/v1/authorizations/${SESSION}`,
      "/v1/pool",
      "/v1/license",
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("GET", "DELETE", "POST"),
        paths,
        words,
        fc.dictionary(fc.oneof(fc.constantFrom("n", "limit", "feature", "only"), words), words),
        async (method, path, more, query) => {
          const url = `${server.url}${path}${encodeURIComponent(more)}?${new URLSearchParams(query).toString()}`;
          const answer = await ask(url, method, { "Quorate-Session": SECRET });
          if (answer.status >= 300) expectRefused(answer);
        },
      ),
      { numRuns: 400 },
    );
  });

  test("leaves prototypes and the log clean", () => {
    expect("administrator" in {}).toBe(false);
    expect(log.lines).toEqual([]);
  });
});

describe("a member that throws", () => {
  test("is a 500 with general words; the log has the cause and no secret", async () => {
    const kept = keptLog();
    const broken = await serverOf(
      fakeMember({
        checkout: async () => {
          throw new Error("the disk said no");
        },
        heartbeat: () => {
          throw new Error("the disk said no");
        },
        features: async () => {
          throw new Error("the disk said no");
        },
      }),
      { log: kept },
    );
    try {
      for (const answer of [
        await ask(`${broken.url}/v1/authorizations`, "POST", SESSION_HEADERS, CHECKOUT),
        await ask(
          `${broken.url}/v1/authorizations/${SESSION}/heartbeat`,
          "POST",
          SESSION_HEADERS,
          {},
        ),
        await ask(`${broken.url}/v1/features`, "GET", ADMIN_HEADERS),
      ]) {
        expect(answer).toMatchObject({ status: 500, body: { code: "internal-error" } });
        expect(answer.text).not.toContain("disk");
      }
      expect(kept.lines).toHaveLength(3);
      expect(kept.lines.join("\n")).toContain("the disk said no");
      expect(kept.lines.join("\n")).not.toContain(SECRET);
      expect(kept.lines.join("\n")).not.toContain(ADMIN_TOKEN);
    } finally {
      await broken.close();
    }
  });
});

describe("long bodies", () => {
  test("share a bound: past it they are told to come again, short ones are not", async () => {
    const strict = await serverOf(fakeMember(), { limits: { pendingBytesMax: 100_000 } });
    const url = `${strict.url}/v1/license`;
    const long = JSON.stringify({ text: "x".repeat(400_000) });
    try {
      expect(await ask(url, "PUT", ADMIN_HEADERS, long)).toMatchObject({
        status: 503,
        body: { code: "busy" },
      });
      const short = await ask(`${strict.url}/v1/authorizations`, "POST", SESSION_HEADERS, CHECKOUT);
      expect(short.status).toBe(201);
    } finally {
      await strict.close();
    }
  });

  test("give their share back, whether they end or break off", async () => {
    const strict = await serverOf(fakeMember(), { limits: { pendingBytesMax: 450_000 } });
    const long = JSON.stringify({ text: "x".repeat(400_000) });
    try {
      for (let round = 0; round < 3; round += 1) {
        const aborted = connect(strict.port, "127.0.0.1");
        aborted.on("error", () => {});
        aborted.write(
          `PUT /v1/license HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
            `Authorization: Bearer ${ADMIN_TOKEN}\r\nContent-Length: 500000\r\n\r\n`,
        );
        await new Promise<void>((resolve) => {
          aborted.write("x".repeat(400_000), () => resolve());
        });
        aborted.destroy();
        await expect
          .poll(
            async () => (await ask(`${strict.url}/v1/license`, "PUT", ADMIN_HEADERS, long)).status,
          )
          .toBe(200);
      }
    } finally {
      await strict.close();
    }
  });
});

describe("a connection", () => {
  test("lives on after a refusal, so that the next request on it is answered", async () => {
    const wrong = (path: string, length: number): string =>
      `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
      `Authorization: Bearer ${ADMIN_TOKEN}\r\nQuorate-Session: ${SECRET}\r\n` +
      `Content-Length: ${length}\r\n\r\n${"x".repeat(length)}`;
    const answer = await askRaw(
      server.port,
      wrong("/v1/authorizations", 10) +
        wrong("/v1/pool/lead", 10) +
        wrong("/v1/authorizations", 100_000) +
        wrong("/v1/pool/lead", 100_000) +
        wrong("/nothing", 10) +
        "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    const statuses = [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]);
    expect(statuses).toEqual(["400", "400", "413", "413", "404", "200"]);
  });

  test("to a name that stands for two addresses is served once", async () => {
    const both = await serverOf(fakeMember(), { host: "localhost" });
    expect((await ask(`${both.url}/livez`, "GET")).status).toBe(200);
    await both.close();
  });

  test("to a port that is taken fails, and leaves no listener at the member", async () => {
    let listeners = 0;
    const counting = fakeMember({
      subscribe: () => {
        listeners += 1;
        return () => {
          listeners -= 1;
        };
      },
    });
    await expect(serverOf(counting, { port: server.port })).rejects.toThrow("EADDRINUSE");
    expect(listeners).toBe(0);
  });
});

describe("a slow sender", () => {
  test("keeps nobody else waiting and is cut with 408", async () => {
    const strict = await serverOf(fakeMember(), { limits: { requestMs: 300, headersMs: 300 } });
    try {
      const head =
        "POST /v1/authorizations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" +
        `Quorate-Session: ${SECRET}\r\nContent-Length: 100\r\n\r\n{"session":`;
      const slow = Array.from({ length: 20 }, () => askRaw(strict.port, head));
      const quick = await ask(`${strict.url}/v1/authorizations`, "POST", SESSION_HEADERS, CHECKOUT);
      expect(quick.status).toBe(201);
      for (const answer of await Promise.all(slow)) {
        expect(answer).toMatch(/^HTTP\/1.1 408 /);
        expect(answer).toContain('"code":"bad-request"');
      }
    } finally {
      await strict.close();
    }
  });

  test("that hangs up in the middle leaves nothing behind", async () => {
    const before = member.asked.length;
    await new Promise<void>((resolve) => {
      const socket = connect(server.port, "127.0.0.1", () => {
        socket.write(
          "POST /v1/authorizations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" +
            `Quorate-Session: ${SECRET}\r\nContent-Length: 100\r\n\r\n{`,
          () => socket.destroy(),
        );
      });
      socket.on("close", () => resolve());
    });
    expect((await ask(`${server.url}/livez`, "GET")).status).toBe(200);
    expect(member.asked.length).toBe(before);
    expect(log.lines).toEqual([]);
  });
});
