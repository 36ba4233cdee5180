import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { originsOf } from "./cross-origin.ts";
import {
  ADMIN_HEADERS,
  ask,
  askRaw,
  CHECKOUT,
  fakeMember,
  serverOf,
  SESSION,
  SESSION_HEADERS,
} from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";

const PAGE = "<!doctype html><title>Quorate</title>";
const SCRIPT = `console.log(${JSON.stringify("x".repeat(2_000))});`;
/** As a browser asks for a page. */
const BROWSER = { Accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" };
/** The URL of the one member that the fake pool has. */
const OTHER_MEMBER = "http://127.0.0.1:1";

let folder: string;
let server: HttpServer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "quorate-console-files-"));
  mkdirSync(join(folder, "assets"));
  writeFileSync(join(folder, "index.html"), PAGE);
  writeFileSync(join(folder, "assets", "index-abc.js"), SCRIPT);
  writeFileSync(join(folder, "secret.txt"), "secret");
  symlinkSync(join(folder, "secret.txt"), join(folder, "assets", "link.js"));
  server = await serverOf(fakeMember(), { consoleFolder: folder });
});

afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("the console's page", () => {
  test("is what a browser gets, with a policy that lets in nothing foreign", async () => {
    const answer = await ask(`${server.url}/`, "GET", BROWSER);
    expect(answer.text).toBe(PAGE);
    expect(answer.type).toBe("text/html; charset=utf-8");
    const policy = answer.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain(`connect-src 'self' ${OTHER_MEMBER} http://localhost:1;`);
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    expect(answer.headers.get("x-frame-options")).toBe("DENY");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.headers.get("cache-control")).toBe("no-cache");
    expect(answer.headers.get("vary")).toContain("Accept");
  });

  test.each([[{ Accept: "application/json" }], [{}], [{ Accept: "*/*" }]])(
    "is not what a program gets that sends %j",
    async (headers) => {
      const answer = await ask(`${server.url}/`, "GET", headers);
      expect(answer.body).toMatchObject({ name: "Quorate", member: "a" });
    },
  );

  test("is not there without a console, and everybody gets the JSON", async () => {
    for (const consoleFolder of [null, join(folder, "nowhere"), join(folder, "assets")]) {
      await server.close();
      server = await serverOf(fakeMember(), { consoleFolder });
      expect((await ask(`${server.url}/`, "GET", BROWSER)).body).toMatchObject({ name: "Quorate" });
      expect((await ask(`${server.url}/assets/index-abc.js`, "GET")).status).toBe(404);
    }
  });
});

describe("the console's assets", () => {
  test("are kept for good by browsers, and sent compressed to whoever can read that", async () => {
    const answer = await ask(`${server.url}/assets/index-abc.js`, "GET");
    expect(answer.text).toBe(SCRIPT);
    expect(answer.type).toBe("text/javascript; charset=utf-8");
    expect(answer.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
    expect(answer.headers.get("content-encoding")).toBe("gzip");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    const plain = await ask(`${server.url}/assets/index-abc.js`, "GET", {
      "Accept-Encoding": "identity",
    });
    expect(plain.text).toBe(SCRIPT);
    expect(plain.headers.get("content-encoding")).toBeNull();
  });

  test.each([
    "/assets/../secret.txt",
    "/assets/..%2fsecret.txt",
    "/assets/%2e%2e/secret.txt",
    "/assets/..%5csecret.txt",
    "/assets//etc/passwd",
    "/assets/%00",
    "/assets/link.js",
    "/assets/",
    "/secret.txt",
    "/index.html",
    "/assets/__proto__",
  ])("do not lead to %s", async (path) => {
    const request = `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    const answer = await askRaw(server.port, request);
    expect(answer).toMatch(/^HTTP\/1\.1 (404|400) /);
    expect(answer).not.toMatch(/\r\n\r\nsecret|root:/);
  });
});

describe("a page from another origin", () => {
  const preflight = (origin: string) => ({
    Origin: origin,
    "Access-Control-Request-Method": "DELETE",
    "Access-Control-Request-Headers": "authorization",
  });

  test("may read when a member of the pool served it", async () => {
    for (const path of ["/v1/pool", "/v1/features", "/v1/authorizations", "/v1/license"]) {
      const answer = await ask(server.url + path, "GET", { Origin: OTHER_MEMBER });
      expect(answer.status).toBe(200);
      expect(answer.headers.get("access-control-allow-origin")).toBe(OTHER_MEMBER);
      expect(answer.headers.get("vary")).toBe("Origin");
    }
    // Refusals, too: a console must read why.
    const missing = await ask(`${server.url}/nowhere`, "GET", { Origin: OTHER_MEMBER });
    expect(missing.headers.get("access-control-allow-origin")).toBe(OTHER_MEMBER);
  });

  test("may read events when a member of the pool served it", async () => {
    const stop = new AbortController();
    const response = await fetch(`${server.url}/v1/events`, {
      headers: { Origin: OTHER_MEMBER },
      signal: stop.signal,
    });
    expect(response.headers.get("access-control-allow-origin")).toBe(OTHER_MEMBER);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    stop.abort();
  });

  test("may ask to revoke, and still needs the administrator's token", async () => {
    const url = `${server.url}/v1/authorizations/${SESSION}`;
    const allowed = await ask(url, "OPTIONS", preflight(OTHER_MEMBER));
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get("access-control-allow-methods")).toBe("GET, POST, PUT, DELETE");
    expect(allowed.headers.get("access-control-allow-headers")).toBe(
      "Authorization, Content-Type, Quorate-CSRF",
    );
    expect(allowed.headers.get("access-control-allow-credentials")).toBe("true");
    const token = await ask(url, "DELETE", { ...ADMIN_HEADERS, Origin: OTHER_MEMBER });
    expect(token.status).toBe(204);
    expect(token.headers.get("access-control-allow-origin")).toBe(OTHER_MEMBER);
    expect((await ask(url, "DELETE", { Origin: OTHER_MEMBER })).status).toBe(403);
  });

  test.each(["http://evil.example", "null", "http://127.0.0.1:2", "https://127.0.0.1:1", "*"])(
    "%s is not let in",
    async (origin) => {
      const answer = await ask(`${server.url}/v1/pool`, "GET", { Origin: origin });
      expect(answer.headers.get("access-control-allow-origin")).toBeNull();
      const asked = await ask(`${server.url}/v1/pool`, "OPTIONS", preflight(origin));
      expect(asked.headers.get("access-control-allow-methods")).toBeNull();
      expect(asked.headers.get("access-control-allow-credentials")).toBeNull();
      expect(asked.status).toBeGreaterThanOrEqual(400);
    },
  );

  test("changes nothing for programs, which send no origin", async () => {
    const url = `${server.url}/v1/authorizations`;
    const answer = await ask(url, "POST", SESSION_HEADERS, CHECKOUT);
    expect(answer.status).toBe(201);
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  });
});

test("on the machine itself a member is also called localhost", () => {
  expect(originsOf("http://127.0.0.1:7350/")).toEqual([
    "http://127.0.0.1:7350",
    "http://localhost:7350",
  ]);
  expect(originsOf("http://[::1]:7350")).toEqual(["http://[::1]:7350", "http://localhost:7350"]);
  expect(originsOf("https://licenses.example/pool")).toEqual(["https://licenses.example"]);
  expect(originsOf("")).toEqual([]);
  expect(originsOf("file:///etc/passwd")).toEqual([]);
});
