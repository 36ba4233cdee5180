import { createHmac } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import type { TokenBook } from "../member/token-keeper.ts";
import type { Door } from "./access.ts";
import {
  ADMIN_HEADERS,
  ask,
  askRaw,
  CHECKOUT,
  fakeMember,
  memoryTokens,
  SESSION,
  SESSION_HEADERS,
  serverOf,
} from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";

let server: HttpServer | null = null;
afterEach(async () => {
  await server?.close();
  server = null;
});

async function guarded(
  doors: { clients?: Door; readers?: Door } = {},
  tokens: TokenBook = memoryTokens(),
) {
  server = await serverOf(fakeMember(), { tokens, ...doors });
  const { url, port } = server;
  const make = async (role: string, more: object = {}): Promise<{ id: string; token: string }> => {
    const { status, body } = await ask(`${url}/v1/tokens`, "POST", ADMIN_HEADERS, {
      name: `${role}-1`,
      role,
      ...more,
    });
    expect(status).toBe(201);
    return body as { id: string; token: string };
  };
  const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` });
  const checkout = async (token: string | null): Promise<number> => {
    const headers = { ...SESSION_HEADERS, ...(token === null ? {} : bearer(token)) };
    return (await ask(`${url}/v1/authorizations`, "POST", headers, CHECKOUT)).status;
  };
  const beat = async (token: string | null): Promise<number> => {
    const headers = { ...SESSION_HEADERS, ...(token === null ? {} : bearer(token)) };
    return (await ask(`${url}/v1/authorizations/${SESSION}/heartbeat`, "POST", headers, {})).status;
  };
  const get = async (path: string, token: string | null): Promise<number> =>
    (await ask(url + path, "GET", token === null ? {} : bearer(token))).status;
  return { url, port, tokens, make, bearer, checkout, beat, get };
}

describe("roles", () => {
  it("a client checks out and sees what it needs, but not who uses what", async () => {
    const { url, make, bearer, checkout, beat, get } = await guarded({
      clients: "token",
      readers: "token",
    });
    const { token } = await make("client");
    expect([await checkout(null), await checkout(token)]).toEqual([401, 201]);
    expect([await beat(null), await beat(token)]).toEqual([401, 200]);
    // A seat that is held here is given back by whoever has its secret; any other release needs the token.
    const release = async (session: string, more: object): Promise<number> =>
      (await ask(`${url}/v1/authorizations/${session}`, "DELETE", { ...SESSION_HEADERS, ...more }))
        .status;
    const unknown = "u".repeat(43);
    expect([await release(SESSION, {}), await release(unknown, {})]).toEqual([204, 401]);
    expect(await release(unknown, bearer(token))).toBe(204);
    for (const path of ["/v1/pool", "/v1/features", "/v1/license"]) {
      expect([path, await get(path, null), await get(path, token)]).toEqual([path, 401, 200]);
    }
    for (const path of ["/v1/authorizations", "/v1/events", "/metrics", "/v1/tokens"]) {
      expect([path, await get(path, null), await get(path, token)]).toEqual([path, 401, 403]);
    }
  });

  it("a viewer reads and neither checks out nor administers", async () => {
    const { url, make, bearer, checkout, get } = await guarded({
      clients: "token",
      readers: "token",
    });
    const { token } = await make("viewer");
    expect(await checkout(token)).toBe(403);
    for (const path of ["/v1/authorizations", "/v1/pool", "/metrics"]) {
      expect(await get(path, token)).toBe(200);
    }
    expect(await get("/v1/tokens", token)).toBe(403);
    expect((await ask(`${url}/v1/pool/rebuild`, "POST", bearer(token))).status).toBe(403);
    expect((await ask(`${url}/v1/authorizations/${SESSION}`, "DELETE", bearer(token))).status).toBe(
      403,
    );
  });

  it("an administrator's token of the pool does what the one of the file does", async () => {
    const { url, make, bearer, checkout, get } = await guarded({
      clients: "token",
      readers: "token",
    });
    const { token } = await make("administrator");
    expect(await checkout(token)).toBe(201);
    expect(await get("/v1/authorizations", token)).toBe(200);
    expect((await ask(`${url}/v1/pool/rebuild`, "POST", bearer(token))).status).toBe(200);
    expect((await ask(`${url}/v1/authorizations/${SESSION}`, "DELETE", bearer(token))).status).toBe(
      204,
    );
  });

  it("open doors ask nobody; probes and the page never do", async () => {
    const open = await guarded();
    expect([await open.checkout(null), await open.get("/v1/authorizations", null)]).toEqual([
      201, 200,
    ]);
    await server?.close();
    const { get } = await guarded({ clients: "token", readers: "token" });
    for (const path of ["/", "/livez", "/readyz", "/openapi.json"]) {
      expect([path, await get(path, null)]).toEqual([path, 200]);
    }
  });

  it("a release takes the session's secret and no token: giving back is always welcome", async () => {
    const { url } = await guarded({ clients: "token" });
    const released = await ask(`${url}/v1/authorizations/${SESSION}`, "DELETE", SESSION_HEADERS);
    expect(released.status).toBe(204);
  });
});

describe("tokens", () => {
  it("are shown once, listed without secret or hash, and refused once revoked", async () => {
    const { url, make, bearer, checkout } = await guarded({ clients: "token" });
    const { id, token } = await make("client");
    const list = await ask(`${url}/v1/tokens`, "GET", ADMIN_HEADERS);
    expect(list.body).toMatchObject({
      tokens: [{ id, name: "client-1", role: "client", createdBy: "admin-token-file" }],
    });
    expect(list.text).not.toContain(token);
    expect(list.text).not.toContain("hash");
    expect((await ask(`${url}/v1/tokens/${id}`, "DELETE", bearer(token))).status).toBe(403);
    const headers = { Authorization: ADMIN_HEADERS.Authorization };
    expect((await ask(`${url}/v1/tokens/${id}`, "DELETE", headers)).status).toBe(200);
    expect((await ask(`${url}/v1/tokens/${id}`, "DELETE", headers)).status).toBe(404);
    expect(await checkout(token)).toBe(403);
  });

  it("read on in no stream that they opened, once they are revoked", async () => {
    const { url, make, bearer, tokens } = await guarded({ readers: "token" });
    const { id, token } = await make("viewer");
    const stream = await fetch(`${url}/v1/events`, { headers: bearer(token) });
    expect(stream.status).toBe(200);
    const ended = stream.text().catch(() => "cut");
    await tokens.remove(id);
    expect(await ended).toBe("cut");
  });

  it("are revoked by their names as well, whatever their length", async () => {
    const asked: string[] = [];
    const tokens = memoryTokens();
    const remove: TokenBook["remove"] = (name) => {
      asked.push(name);
      return tokens.remove(name);
    };
    const { url } = await guarded({}, { ...tokens, remove });
    const name = "n".repeat(128);
    const headers = { Authorization: ADMIN_HEADERS.Authorization };
    await ask(`${url}/v1/tokens/${name}`, "DELETE", headers);
    for (const wrong of ["%C2%9B1m", "%E2%80%A8", "%00", "a%20b"]) {
      const refused = await ask(`${url}/v1/tokens/${wrong}`, "DELETE", headers);
      expect([wrong, refused.status]).toEqual([wrong, 404]);
    }
    expect(asked).toEqual([name]);
  });

  it("end at their time", async () => {
    const { url, tokens, make, checkout } = await guarded({ clients: "token" });
    const { id, token } = await make("client", { expiresAt: "2999-01-01T00:00:00Z" });
    expect(await checkout(token)).toBe(201);
    const known = tokens.find(id);
    if (known === null) throw new Error("it was just made");
    await tokens.add({ ...known, expiresAt: new Date(Date.now() - 1).toISOString() });
    expect(await checkout(token)).toBe(401);
    for (const expiresAt of ["yesterday", "2001-01-01T00:00:00Z"]) {
      const body = { name: "x", role: "client", expiresAt };
      expect((await ask(`${url}/v1/tokens`, "POST", ADMIN_HEADERS, body)).status).toBe(400);
    }
  });

  it("of another pool, forged, cut or with another secret are refused", async () => {
    const other = await guarded();
    const foreign = (await other.make("administrator")).token;
    await server?.close();
    const { url, make, bearer, checkout } = await guarded({ clients: "token" });
    const { id, token } = await make("administrator");
    const forged = [
      foreign,
      `qrt_${id}_${"A".repeat(43)}`,
      token.slice(0, -1),
      `${token}A`,
      token.toUpperCase(),
      `qrt_${id}_`,
      `qrt_000000000000_${token.slice(17)}`,
    ];
    for (const each of forged) {
      expect([each, await checkout(each)]).toEqual([each, 403]);
      const rebuilt = await ask(`${url}/v1/pool/rebuild`, "POST", bearer(each));
      expect([each, rebuilt.status]).toEqual([each, 403]);
    }
  });

  it("have names that break out of no header, log or table", async () => {
    const { url } = await guarded();
    for (const name of [
      "a\r\nX-Role: administrator",
      "a b",
      "",
      "\u202eana",
      "a/../b",
      "x".repeat(300),
    ]) {
      const made = await ask(`${url}/v1/tokens`, "POST", ADMIN_HEADERS, { name, role: "client" });
      expect([name, made.status]).toEqual([name, 400]);
    }
    for (const more of [
      { role: "root" },
      { role: "client", hash: "x" },
      { role: ["administrator"] },
    ]) {
      const made = await ask(`${url}/v1/tokens`, "POST", ADMIN_HEADERS, { name: "a", ...more });
      expect(made.status).toBe(400);
    }
  });

  it("are no JSON web tokens: alg none and HS256 with a public key open nothing", async () => {
    const { url, bearer, get } = await guarded({ readers: "token" });
    const part = (value: object): string =>
      Buffer.from(JSON.stringify(value)).toString("base64url");
    const claims = part({ role: "administrator", pool: "acme", exp: 9_999_999_999 });
    const none = `${part({ alg: "none" })}.${claims}.`;
    const signed = `${part({ alg: "HS256" })}.${claims}`;
    const mac = createHmac("sha256", "ed25519:public").update(signed).digest("base64url");
    for (const token of [none, `${signed}.${mac}`]) {
      expect(await get("/v1/authorizations", token)).toBe(403);
      expect((await ask(`${url}/v1/tokens`, "GET", bearer(token))).status).toBe(403);
    }
  });

  it("are asked for whatever way the path is written", async () => {
    const { port } = await guarded({ readers: "token" });
    for (const path of [
      "/v1/%61uthorizations",
      "//v1/authorizations",
      "/v1/authorizations?x=1",
      "/v1/./authorizations",
      "/livez/../v1/authorizations",
      "/assets/../v1/authorizations",
      "http://elsewhere/v1/authorizations",
      "/v1/authorizations;/livez",
    ]) {
      const answer = await askRaw(
        port,
        `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      );
      expect([path, /^HTTP\/1.1 (40[014]) /.test(answer)]).toEqual([path, true]);
      expect(answer).not.toContain("desk-7");
    }
  });
});
