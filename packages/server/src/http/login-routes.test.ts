/** Logging in with a browser, and everything that other pages and thieves might try. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AuditEntry } from "@quorate/protocol";
import { checkAudit } from "../audit/audit-check.ts";
import { type AuditLog, openAuditLog } from "../audit/audit-log.ts";
import type { TokenBook } from "../member/token-keeper.ts";
import {
  ADMIN_HEADERS,
  ADMIN_TOKEN,
  ask,
  CHECKOUT,
  fakeMember,
  JSON_HEADERS,
  memoryTokens,
  SESSION,
  SESSION_HEADERS,
  serverOf,
} from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";
import { LOGIN_IDLE_MS, LOGIN_MS_MAX } from "./logins.ts";

const OTHER_MEMBER = "http://127.0.0.1:1";
const FOREIGN = "http://evil.example";

let folder = "";
let audit: AuditLog;
let tokens: TokenBook;
let server: HttpServer;
let url = "";

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "quorate-logins-"));
  audit = await openAuditLog(folder);
  tokens = memoryTokens();
  server = await serverOf(fakeMember(), { audit, tokens, clients: "token", readers: "token" });
  url = server.url;
});
afterEach(async () => {
  vi.useRealTimers();
  await server.close();
  await audit.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Browser {
  readonly cookie: string;
  readonly csrf: string;
  readonly reads: Record<string, string>;
  readonly changes: Record<string, string>;
}

function logIn(token: string, headers: Record<string, string> = {}) {
  return ask(`${url}/v1/login`, "POST", { ...JSON_HEADERS, ...headers }, { token });
}

async function browser(token: string, headers: Record<string, string> = {}): Promise<Browser> {
  const answer = await logIn(token, headers);
  expect(answer.status).toBe(200);
  const cookie = (answer.headers.get("set-cookie") ?? "").split(";", 1)[0] ?? "";
  const { csrf } = answer.body as { csrf: string };
  return {
    cookie,
    csrf,
    reads: { Cookie: cookie },
    changes: { Cookie: cookie, "Quorate-CSRF": csrf },
  };
}

async function make(role: string): Promise<{ id: string; token: string }> {
  const body = { name: `${role}-1`, role };
  return (await ask(`${url}/v1/tokens`, "POST", ADMIN_HEADERS, body)).body as never;
}

async function entries(what: string): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  const { problem } = await checkAudit(folder, null, (entry) => found.push(entry));
  expect(problem).toBeNull();
  return found.filter((entry) => entry.what === what);
}

const state = (headers: Record<string, string> = {}) => ask(`${url}/v1/login`, "GET", headers);
const rebuild = async (headers: Record<string, string>): Promise<unknown> => {
  const { status, body } = await ask(`${url}/v1/pool/rebuild`, "POST", headers);
  return status === 200 ? 200 : [status, (body as { code: string }).code];
};

describe("logging in", () => {
  it("turns a token into a cookie, says who one is, and ends", async () => {
    expect((await state()).body).toEqual({ role: null, ways: ["token"], readers: "token" });
    const answer = await logIn(ADMIN_TOKEN);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      name: "admin-token-file",
      role: "administrator",
      csrf: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
      expiresAt: expect.stringMatching(/Z$/),
    });
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("set-cookie")).toMatch(/; HttpOnly; SameSite=Strict; Path=\/; /);

    const { cookie, csrf, reads, changes } = await browser(ADMIN_TOKEN);
    expect((await state(reads)).body).toMatchObject({
      name: "admin-token-file",
      role: "administrator",
      csrf,
      ways: ["token"],
      readers: "token",
    });
    const out = await ask(`${url}/v1/login`, "DELETE", changes);
    expect(out.status).toBe(204);
    expect(out.headers.get("set-cookie")).toMatch(/^quorate_login_\d+=; .*Max-Age=0/);
    expect((await state(reads)).body).toMatchObject({ role: null });
    expect(await rebuild({ Cookie: cookie, "Quorate-CSRF": csrf })).toEqual([401, "unauthorized"]);
    const revoked = await ask(`${url}/v1/authorizations/${SESSION}`, "DELETE", changes);
    expect(revoked.status).toBe(401);
    expect((await ask(`${url}/v1/login`, "DELETE")).status).toBe(204);
  });

  it("opens what the token opens, and nothing else", async () => {
    const admin = await browser(ADMIN_TOKEN);
    const viewer = await browser((await make("viewer")).token);
    const client = await browser((await make("client")).token);
    const get = async (path: string, { reads }: Browser): Promise<number> => {
      const stop = new AbortController();
      const { status } = await fetch(url + path, { headers: reads, signal: stop.signal });
      stop.abort();
      return status;
    };
    for (const path of ["/v1/authorizations", "/v1/events", "/metrics"]) {
      expect([path, (await ask(url + path, "GET")).status]).toEqual([path, 401]);
      const seen = [await get(path, admin), await get(path, viewer), await get(path, client)];
      expect([path, ...seen]).toEqual([path, 200, 200, 403]);
    }
    expect(await get("/v1/tokens", viewer)).toBe(403);
    expect(await rebuild(admin.changes)).toBe(200);
    expect(await rebuild(viewer.changes)).toEqual([403, "forbidden"]);
    const revoke = async ({ changes }: Browser): Promise<number> =>
      (await ask(`${url}/v1/authorizations/${SESSION}`, "DELETE", changes)).status;
    expect([await revoke(admin), await revoke(viewer)]).toEqual([204, 403]);
    const checkout = async ({ changes }: Browser): Promise<number> =>
      (await ask(`${url}/v1/authorizations`, "POST", { ...SESSION_HEADERS, ...changes }, CHECKOUT))
        .status;
    expect([await checkout(client), await checkout(viewer)]).toEqual([201, 403]);
  });

  it("is noted, and so is logging out", async () => {
    const { token } = await make("viewer");
    const { changes } = await browser(token);
    await ask(`${url}/v1/login`, "DELETE", changes);
    const who = { who: "viewer-1", role: "viewer", from: "127.0.0.1" };
    expect(await entries("login")).toMatchObject([
      { ...who, outcome: "begun", details: { way: "token" } },
      { ...who, outcome: "done" },
    ]);
    expect(await entries("logout")).toMatchObject([{ ...who, outcome: "done" }]);
    const text = JSON.stringify(await entries("login"));
    for (const secret of [token, changes["Cookie"], changes["Quorate-CSRF"]]) {
      expect(text).not.toContain(secret);
    }
  });

  it("does not happen when it cannot be noted", async () => {
    await audit.close();
    const answer = await logIn(ADMIN_TOKEN);
    expect([answer.status, answer.headers.get("set-cookie")]).toEqual([500, null]);
  });
});

describe("a page of another site", () => {
  it("changes nothing with the cookie alone, nor with a mark that is not the login's", async () => {
    const { csrf, reads } = await browser(ADMIN_TOKEN);
    const other = await browser(ADMIN_TOKEN);
    for (const wrong of [{}, { "Quorate-CSRF": "" }, { "Quorate-CSRF": other.csrf }]) {
      const headers: Record<string, string> = { ...reads, ...wrong };
      expect(await rebuild(headers)).toEqual([403, "csrf"]);
      const revoked = await ask(`${url}/v1/authorizations/${SESSION}`, "DELETE", headers);
      expect(revoked.body).toMatchObject({ code: "csrf" });
      expect((await ask(`${url}/v1/login`, "DELETE", headers)).body).toMatchObject({
        code: "csrf",
      });
      const license = await ask(
        `${url}/v1/license`,
        "PUT",
        { ...JSON_HEADERS, ...headers },
        { quorate: 1, sequence: 9 },
      );
      expect(license.body).toMatchObject({ code: "csrf" });
      const session = { ...SESSION_HEADERS, ...headers };
      expect((await ask(`${url}/v1/authorizations`, "POST", session, CHECKOUT)).body).toMatchObject(
        { code: "csrf" },
      );
    }
    expect(await rebuild({ ...reads, "Quorate-CSRF": csrf })).toBe(200);
  });

  it("gets nowhere even with cookie and mark, and cannot read who is logged in", async () => {
    const { changes, reads } = await browser(ADMIN_TOKEN);
    const own = url;
    for (const origin of [FOREIGN, "null", `${own}.evil.example`, "http://127.0.0.1:2"]) {
      expect([origin, await rebuild({ ...changes, Origin: origin })]).toEqual([
        origin,
        [403, "forbidden"],
      ]);
      const seen = await state({ ...reads, Origin: origin });
      expect(seen.body).toMatchObject({ role: null });
      expect(seen.headers.get("access-control-allow-origin")).toBeNull();
      const events = await ask(`${url}/v1/events`, "GET", { ...reads, Origin: origin });
      expect(events.status).toBe(403);
    }
    expect(await rebuild({ ...changes, "Sec-Fetch-Site": "cross-site" })).toEqual([
      403,
      "forbidden",
    ]);
    for (const origin of [own, OTHER_MEMBER]) {
      expect(await rebuild({ ...changes, Origin: origin })).toBe(200);
    }
  });

  it("logs nobody in or out", async () => {
    const { changes } = await browser(ADMIN_TOKEN);
    for (const headers of [{ Origin: FOREIGN }, { "Sec-Fetch-Site": "cross-site" }]) {
      const answer = await logIn(ADMIN_TOKEN, headers);
      expect([answer.status, answer.headers.get("set-cookie")]).toEqual([403, null]);
      const out = await ask(`${url}/v1/login`, "DELETE", { ...changes, ...headers });
      expect(out.status).toBe(403);
    }
    expect(await rebuild(changes)).toBe(200);
    const form = `token=${ADMIN_TOKEN}`;
    for (const type of [
      "application/x-www-form-urlencoded",
      "text/plain",
      "multipart/form-data; boundary=x",
    ]) {
      const answer = await ask(`${url}/v1/login`, "POST", { "Content-Type": type }, form);
      expect([type, answer.status]).toEqual([type, 415]);
    }
  });

  it("of the pool itself may log in and go on at another server", async () => {
    const answer = await logIn(ADMIN_TOKEN, { Origin: OTHER_MEMBER });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("access-control-allow-origin")).toBe(OTHER_MEMBER);
    expect(answer.headers.get("access-control-allow-credentials")).toBe("true");
  });
});

describe("a cookie", () => {
  it("that somebody planted before is worth nothing after the login", async () => {
    const name = (await browser(ADMIN_TOKEN)).cookie.split("=", 1)[0];
    const planted = `${name}=${"A".repeat(43)}`;
    const { cookie } = await browser(ADMIN_TOKEN, { Cookie: planted });
    expect(cookie).not.toBe(planted);
    expect((await state({ Cookie: planted })).body).toMatchObject({ role: null });
    const again = await browser(ADMIN_TOKEN, { Cookie: cookie });
    expect((await state({ Cookie: cookie })).body).toMatchObject({ role: null });
    expect((await state(again.reads)).body).toMatchObject({ role: "administrator" });
  });

  it("ends when its token is revoked or expires, and so does what it reads", async () => {
    for (const end of ["revoke", "expire"]) {
      const { id, token } = await make("viewer");
      const { reads } = await browser(token);
      const stream = await fetch(`${url}/v1/events`, { headers: reads });
      expect(stream.status).toBe(200);
      const known = tokens.find(id);
      if (known === null) throw new Error("it was just made");
      if (end === "revoke") await tokens.remove(id);
      else await tokens.add({ ...known, expiresAt: new Date(Date.now() - 1).toISOString() });
      if (end === "revoke") {
        expect((await ask(`${url}/v1/authorizations`, "GET", reads)).status).toBe(401);
        await expect(stream.text()).rejects.toThrow(/terminated/);
      } else await stream.body?.cancel();
      expect((await logIn(token)).status).toBe(401);
      await tokens.remove(id);
    }
  });

  it("ends at its time although an open page asks all the time, and so does what it reads", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { reads } = await browser((await make("viewer")).token);
    const stream = await fetch(`${url}/v1/events`, { headers: reads });
    const ended = stream.text().catch(() => "cut");
    const status = async () => (await ask(`${url}/v1/pool`, "GET", reads)).status;
    for (let passedMs = 0; passedMs < LOGIN_MS_MAX; passedMs += LOGIN_IDLE_MS / 2) {
      expect(await status()).toBe(200);
      vi.setSystemTime(Date.now() + LOGIN_IDLE_MS / 2);
    }
    expect(await status()).toBe(401);
    expect((await ask(`${url}/v1/login`, "GET", reads)).body).toMatchObject({ role: null });
    expect(await ended).toBe("cut");
  });

  it("does not stand in for a token that is wrong", async () => {
    const { changes } = await browser(ADMIN_TOKEN);
    expect(await rebuild({ ...changes, Authorization: "Bearer wrong" })).toEqual([
      403,
      "forbidden",
    ]);
  });
});

describe("whoever guesses", () => {
  it("waits after ten wrong tokens, is noted, and fills no disk", async () => {
    const { token } = await make("viewer");
    for (const wrong of ["x", `qrt_000000000000_${"A".repeat(43)}`, token.slice(0, -1)]) {
      const answer = await logIn(wrong);
      expect([answer.status, answer.headers.get("set-cookie")]).toEqual([401, null]);
      expect(answer.body).toMatchObject({ code: "unauthorized" });
    }
    for (let guess = 3; guess < 10; guess += 1) await logIn(`guess-${guess}`);
    const slowed = await logIn(ADMIN_TOKEN);
    expect(slowed.status).toBe(429);
    expect(slowed.headers.get("retry-after")).toBe("1");
    // Whoever has a token of the pool is not a guesser.
    expect((await logIn(token)).status).toBe(200);
    for (let guess = 0; guess < 60; guess += 1) await logIn(`guess-${guess}`);
    const failed = async () => (await entries("login")).filter(({ who }) => who === "");
    // Nobody waits for these lines, so they may come a moment later.
    await expect.poll(async () => (await failed()).length).toBe(30);
    const failures = await failed();
    expect(failures[0]).toMatchObject({ outcome: "unauthorized", from: "127.0.0.1" });
    expect(JSON.stringify(failures)).not.toContain("guess");
  });

  it("has no luck with odd bodies", async () => {
    for (const body of [
      {},
      { token: "" },
      { token: 1 },
      { token: "a b" },
      { token: "é" },
      [],
      null,
    ]) {
      const answer = await ask(`${url}/v1/login`, "POST", JSON_HEADERS, body);
      expect(answer.status).toBe(400);
    }
    const long = await ask(`${url}/v1/login`, "POST", JSON_HEADERS, { token: "x".repeat(99_999) });
    expect([400, 413]).toContain(long.status);
    const extra = { token: ADMIN_TOKEN, role: "administrator" };
    expect((await ask(`${url}/v1/login`, "POST", JSON_HEADERS, extra)).status).toBe(400);
  });

  it("cannot make a login of an own token again and again", async () => {
    const { token } = await make("viewer");
    const statuses: number[] = [];
    for (let each = 0; each < 31; each += 1) statuses.push((await logIn(token)).status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(30);
    expect(statuses.at(-1)).toBe(429);
    expect((await logIn(ADMIN_TOKEN)).status).toBe(200);
  });
});
