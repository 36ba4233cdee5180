/** Logging in at a real issuer, and calls with its tokens. */
import { createHmac } from "node:crypto";
import { get } from "node:http";
import { exportSPKI, generateKeyPair, importSPKI, SignJWT } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { PoolAnswer } from "@quorate/protocol";
import type { AuditLog } from "../audit/audit-log.ts";
import {
  ADMIN_HEADERS,
  ADMIN_TOKEN,
  ask,
  CHECKOUT,
  fakeMember,
  keptLog,
  SESSION_HEADERS,
  serverOf,
} from "./fake-member.ts";
import type { HttpLimits } from "./http-limits.ts";
import type { HttpServer } from "./http-server.ts";
import type { OidcOptions } from "./oidc-issuer.ts";
import { CLIENT_ID, CLIENT_SECRET, startIssuer, type TestIssuer } from "./test-issuer.ts";

const ADMINISTRATOR = { preferred_username: "ana", groups: ["staff", "license-admins"] };

let issuer: TestIssuer;
let server: HttpServer;
let ownUrl = "";
const log = keptLog();
const noted: object[] = [];
const audit: AuditLog = {
  append: async (fact) => {
    noted.push(fact);
  },
  entriesBefore: async () => [],
  close: async () => {},
};

beforeAll(async () => {
  // The issuer knows where browsers may be sent back to, so the server keeps its port for the whole file.
  issuer = await startIssuer(() => [`${ownUrl}/v1/login/oidc/callback`]);
  server = await serve();
});
afterAll(async () => {
  await server.close();
  await issuer.close();
});
beforeEach(() => {
  issuer.person = { id: "u1", claims: ADMINISTRATOR };
  issuer.isGenerous = true;
});

const options = (more: Partial<OidcOptions> = {}): OidcOptions => ({
  issuer: issuer.url,
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  scope: "openid profile",
  roleClaim: "groups",
  roles: [
    { role: "viewer", value: "license-viewers" },
    { role: "administrator", value: "license-admins" },
    { role: "client", value: "builders" },
  ],
  audience: null,
  ...more,
});

async function serve(
  more: Partial<OidcOptions> = {},
  limits: Partial<HttpLimits> = {},
): Promise<HttpServer> {
  const plain = fakeMember().pool();
  const pool = (): PoolAnswer => ({
    ...plain,
    members: plain.members.map((member) => ({ ...member, url: ownUrl })),
  });
  const made = await serverOf(fakeMember({ pool }), {
    clients: "token",
    readers: "token",
    oidc: options(more),
    audit,
    log,
    limits,
  });
  if (ownUrl === "") ownUrl = made.url;
  return made;
}

interface Step {
  readonly status: number;
  readonly location: string;
  readonly cookies: readonly string[];
}

async function go(url: string, headers: Record<string, string> = {}): Promise<Step> {
  const response = await fetch(url, {
    redirect: "manual",
    headers: { accept: "text/html", ...headers },
  });
  return {
    status: response.status,
    location: response.headers.get("location") ?? "",
    cookies: response.headers.getSetCookie(),
  };
}

const cookieOf = (step: Step, name: string): string =>
  step.cookies.find((each) => each.startsWith(name))?.split(";", 1)[0] ?? "";

async function begin(): Promise<{ location: string; cookie: string }> {
  const begun = await go(`${server.url}/v1/login/oidc`);
  expect(begun.status).toBe(302);
  expect(begun.cookies[0]).toMatch(/HttpOnly; SameSite=Lax; Path=\/; Max-Age=600$/);
  return { location: begun.location, cookie: cookieOf(begun, "quorate_oidc") };
}

async function logIn(): Promise<Step> {
  const { location, cookie } = await begin();
  return go(await issuer.visit(location), { Cookie: cookie });
}

const stateOf = async (step: Step): Promise<unknown> => {
  const headers = { Cookie: cookieOf(step, "quorate_login") };
  return (await ask(`${server.url}/v1/login`, "GET", headers)).body;
};

describe("logging in at the issuer", () => {
  it("asks with PKCE, state and nonce, and comes back as who the issuer says it is", async () => {
    const { location } = await begin();
    const asked = new URL(location).searchParams;
    expect(Object.fromEntries(asked)).toMatchObject({
      response_type: "code",
      client_id: CLIENT_ID,
      redirect_uri: `${ownUrl}/v1/login/oidc/callback`,
      scope: "openid profile",
      code_challenge_method: "S256",
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
    });
    const back = await logIn();
    expect(back).toMatchObject({ status: 303, location: "/" });
    expect(await stateOf(back)).toMatchObject({
      name: "ana",
      role: "administrator",
      ways: ["token", "oidc"],
    });
    const { csrf } = (await stateOf(back)) as { csrf: string };
    const headers = { Cookie: cookieOf(back, "quorate_login"), "Quorate-CSRF": csrf };
    expect((await ask(`${server.url}/v1/pool/rebuild`, "POST", headers)).status).toBe(200);
    expect(issuer.paths).not.toContain("/me");
    // Names are chosen at the issuer, so what is noted says more.
    const ana = { who: "ana", role: "administrator", details: { subject: "u1" } };
    const login = { what: "login", details: { way: "oidc", subject: "u1" } };
    expect(noted.slice(-4)).toMatchObject([
      { ...ana, ...login, outcome: "begun" },
      { ...ana, ...login, outcome: "done" },
      { ...ana, what: "pool-rebuild", outcome: "begun" },
      { ...ana, what: "pool-rebuild", outcome: "done" },
    ]);
    expect((await ask(`${server.url}/v1/login`, "DELETE", headers)).status).toBe(204);
    expect(noted.at(-1)).toMatchObject({ ...ana, what: "logout", outcome: "done" });
  });

  it("asks the issuer for what the ID token leaves out", async () => {
    issuer.isGenerous = false;
    expect(await stateOf(await logIn())).toMatchObject({ name: "ana", role: "administrator" });
    expect(issuer.paths).toContain("/me");
  });

  it("gives the role that may most, and none to who has none", async () => {
    issuer.person = { id: "u2", claims: { groups: ["license-viewers", "builders"] } };
    expect(await stateOf(await logIn())).toMatchObject({ name: "u2", role: "viewer" });
    for (const groups of [
      [],
      "license-admins-not",
      { "license-admins": true },
      null,
      ["LICENSE-ADMINS"],
    ]) {
      issuer.person = { id: "u3", claims: { groups } };
      const back = await logIn();
      expect(back.location).toBe("/?login-refused=forbidden");
      expect(await stateOf(back)).toMatchObject({ role: null });
    }
  });

  it("shows no name that would break a table, but the issuer's own", async () => {
    issuer.person = { id: "u4", claims: { ...ADMINISTRATOR, preferred_username: "a\u202eb\n" } };
    expect(await stateOf(await logIn())).toMatchObject({ name: "u4" });
  });
});

describe("an answer that is not this browser's", () => {
  it("is refused: no cookie, another's cookie, another state, a code used twice", async () => {
    const first = await begin();
    const second = await begin();
    const back = await issuer.visit(first.location);
    const refused = async (url: string, cookie: string, code: string): Promise<void> => {
      const step = await go(url, cookie === "" ? {} : { Cookie: cookie });
      expect(step.location).toBe(`/?login-refused=${code}`);
      expect(cookieOf(step, "quorate_login")).toBe("");
    };
    await refused(back, "", "bad-request");
    await refused(back, second.cookie, "bad-request");
    await refused(back, first.cookie.replace(/=.{5}/, "=AAAAA"), "bad-request");
    const other = new URL(back);
    other.searchParams.set("state", new URL(second.location).searchParams.get("state") ?? "");
    await refused(other.href, first.cookie, "bad-request");
    // The other's state and cookie, with a code that was made for this one's verifier and nonce.
    await refused(other.href, second.cookie, "unauthorized");
    expect((await go(back, { Cookie: first.cookie })).location).toBe("/");
    await refused(back, first.cookie, "unauthorized");
  });

  it("is refused when it comes from another issuer, or says no", async () => {
    const { location, cookie } = await begin();
    const back = new URL(await issuer.visit(location));
    const foreign = new URL(back);
    foreign.searchParams.set("iss", "https://evil.example");
    const denied = new URL(back);
    denied.searchParams.delete("code");
    denied.searchParams.set("error", "access_denied");
    for (const url of [foreign, denied]) {
      const step = await go(url.href, { Cookie: cookie });
      expect(step.location).toMatch(/^\/\?login-refused=(unauthorized|busy)$/);
      expect(cookieOf(step, "quorate_login")).toBe("");
    }
    const program = await ask(denied.href, "GET", { Cookie: cookie });
    expect(program.status).toBe(401);
    expect(program.body).toMatchObject({ code: "unauthorized" });
  });

  it("is refused where a member does not know its own URL yet and the host is none", async () => {
    const pool = (): PoolAnswer => ({ ...fakeMember().pool(), members: [] });
    const young = await serverOf(fakeMember({ pool }), { oidc: options(), log });
    const random = "A".repeat(43);
    const cookie = `quorate_oidc_${young.port}=${random}.${random}.${random}`;
    const path = `/v1/login/oidc/callback?state=${random}`;
    const status = await new Promise((resolve) => {
      const headers = { Host: "[", Cookie: cookie };
      get({ port: young.port, host: "127.0.0.1", path, headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
    });
    await young.close();
    expect(status).toBe(400);
  });

  it("makes the server ask the issuer no more than people log in", async () => {
    const flooded = await serverOf(fakeMember(), { oidc: options(), log });
    const random = "A".repeat(43);
    const cookie = `quorate_oidc_${flooded.port}=${random}.${random}.${random}`;
    const url = `${flooded.url}/v1/login/oidc/callback?code=x&state=${random}&iss=${issuer.url}`;
    const asked = (): number => issuer.paths.filter((path) => path === "/token").length;
    const before = asked();
    const codes = new Map<number, number>();
    for (let sent = 0; sent < 90; sent += 1) {
      const { status } = await ask(url, "GET", { Cookie: cookie });
      codes.set(status, (codes.get(status) ?? 0) + 1);
    }
    await flooded.close();
    expect(Object.fromEntries(codes)).toEqual({ 401: 60, 429: 30 });
    expect(asked() - before).toBe(60);
  });

  it("is taken nowhere but to the own address, whatever host was called", async () => {
    const { port } = server;
    const begun = await go(`http://localhost:${port}/v1/login/oidc`);
    expect(new URL(begun.location).searchParams.get("redirect_uri")).toBe(
      `http://localhost:${port}/v1/login/oidc/callback`,
    );
  });
});

describe("an issuer of another kind, or none", () => {
  let other: HttpServer | null = null;
  afterEach(async () => {
    await other?.close();
    other = null;
  });

  it("that does not answer keeps nobody with a token of the pool out", async () => {
    other = await serve({ issuer: "http://127.0.0.1:9" });
    const begun = await go(`${other.url}/v1/login/oidc`);
    expect(begun.location).toBe("/?login-refused=busy");
    expect((await ask(`${other.url}/v1/login/oidc`, "GET")).status).toBe(503);
    const token = await issuer.sign({ sub: "u1", exp: 9_999_999_999, ...ADMINISTRATOR });
    const bearer = { Authorization: `Bearer ${token}` };
    expect((await ask(`${other.url}/v1/tokens`, "GET", bearer)).status).toBe(503);
    expect((await ask(`${other.url}/v1/tokens`, "GET", ADMIN_HEADERS)).status).toBe(200);
    const body = { token: ADMIN_TOKEN };
    const headers = { "Content-Type": "application/json" };
    expect((await ask(`${other.url}/v1/login`, "POST", headers, body)).status).toBe(200);
  });

  it("may take the secret in the body alone", async () => {
    const strict = await startIssuer(
      () => [`${ownUrl}/v1/login/oidc/callback`],
      "client_secret_post",
    );
    other = await serve({ issuer: strict.url });
    strict.person = issuer.person;
    const begun = await go(`${other.url}/v1/login/oidc`);
    const cookie = cookieOf(begun, "quorate_oidc");
    // The pool's address in this file is the first server's; this one is asked as if it were it.
    const back = (await strict.visit(begun.location)).replace(ownUrl, other.url);
    expect((await go(back, { Cookie: cookie })).location).toBe("/");
    await strict.close();
  });

  it("is not asked by a pool that has none", async () => {
    other = await serverOf(fakeMember());
    expect((await ask(`${other.url}/v1/login/oidc`, "GET")).status).toBe(403);
    expect((await ask(`${other.url}/v1/login`, "GET")).body).toMatchObject({ ways: ["token"] });
  });
});

describe("calls with a token of the issuer's", () => {
  const inAnHour = (): number => Math.floor(Date.now() / 1_000) + 3_600;
  const good = () => ({ sub: "u1", exp: inAnHour(), ...ADMINISTRATOR });
  const tokens = async (token: string): Promise<number> =>
    (await ask(`${server.url}/v1/tokens`, "GET", { Authorization: `Bearer ${token}` })).status;
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

  it("are one client for each person, however many tokens there are", async () => {
    const limited = await serve({}, { clientBurst: 3, clientRequestsPerSecond: 0.001 });
    const read = async (claims: object, more: object): Promise<number> => {
      const token = await issuer.sign({ ...good(), ...claims }, more);
      const headers = { Authorization: `Bearer ${token}` };
      return (await ask(`${limited.url}/v1/pool`, "GET", headers)).status;
    };
    const found: number[] = [];
    for (const iat of [1, 2, 3, 4]) found.push(await read({ iat }, {}));
    expect(found).toEqual([200, 200, 200, 429]);
    expect(await read({}, { typ: "at+jwt" })).toBe(429);
    // Another person, whom the issuer lets have the same name.
    expect(await read({ sub: "u2" }, {})).toBe(200);
    await limited.close();
  });

  it("may do what the person's role may", async () => {
    expect(await tokens(await issuer.sign(good()))).toBe(200);
    const access = await issuer.sign(good(), { typ: "at+jwt" });
    expect(await tokens(access)).toBe(200);
    const bearer = { Authorization: `Bearer ${access}` };
    expect((await ask(`${server.url}/v1/pool/rebuild`, "POST", bearer)).status).toBe(200);
    expect(noted.at(-1)).toMatchObject({ who: "ana", details: { subject: "u1" } });
    const viewer = await issuer.sign({ ...good(), groups: ["license-viewers"] });
    expect(await tokens(viewer)).toBe(403);
    expect(
      (await ask(`${server.url}/metrics`, "GET", { Authorization: `Bearer ${viewer}` })).status,
    ).toBe(200);
    const client = await issuer.sign({ ...good(), groups: "builders" });
    const headers = { ...SESSION_HEADERS, Authorization: `Bearer ${client}` };
    for (let each = 0; each < 2; each += 1) {
      const granted = await ask(`${server.url}/v1/authorizations`, "POST", headers, CHECKOUT);
      expect(granted.status).toBe(201);
    }
    expect(await tokens(await issuer.sign({ ...good(), groups: ["nobody"] }))).toBe(403);
  });

  it("are refused when they are not the issuer's, not for this pool, over, or of another kind", async () => {
    const { groups, ...nobody } = good();
    const wrong: readonly (readonly [string, Promise<string>])[] = [
      ["another issuer", issuer.sign({ ...good(), iss: "https://evil.example" })],
      ["another client", issuer.sign({ ...good(), aud: "another" })],
      ["no audience", issuer.sign({ ...good(), aud: [] })],
      ["over", issuer.sign({ ...good(), exp: inAnHour() - 7_200 })],
      ["not yet", issuer.sign({ ...good(), nbf: inAnHour() })],
      ["without an end", issuer.sign({ sub: "u1", groups })],
      ["without a subject", issuer.sign({ exp: inAnHour(), groups })],
      ["a logout token", issuer.sign(good(), { typ: "logout+jwt" })],
      ["an unknown key", issuer.sign(good(), { kid: "k2" })],
    ];
    for (const [why, token] of wrong) expect([why, await tokens(await token)]).toEqual([why, 401]);
    expect(await tokens(await issuer.sign(nobody))).toBe(403);
    const whole = await issuer.sign(good());
    const [header = "", , signature = ""] = whole.split(".");
    const changed = `${header}.${part({ ...good(), iss: issuer.url, aud: CLIENT_ID, sub: "u9" })}.${signature}`;
    expect(await tokens(changed)).toBe(401);
    expect(await tokens(whole.slice(0, -2))).toBe(401);
  });

  it("are refused with algorithm none, with a public key as a secret, and with a key of one's own", async () => {
    const claims = part({ iss: issuer.url, aud: CLIENT_ID, ...good() });
    for (const alg of ["none", "None", "NONE", "nOnE"]) {
      expect([alg, await tokens(`${part({ alg })}.${claims}.`)]).toEqual([alg, 401]);
    }
    const { keys } = (await (await fetch(`${issuer.url}/jwks`)).json()) as {
      keys: Record<string, string>[];
    };
    const jwk = keys[0] ?? {};
    const publicKey = await crypto.subtle.importKey(
      "jwk",
      jwk,
      { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
      true,
      ["verify"],
    );
    const pem = await exportSPKI(publicKey);
    expect(await importSPKI(pem, "RS256")).toBeDefined();
    for (const secret of [pem, pem.trim(), JSON.stringify(jwk), jwk["n"] ?? "", CLIENT_SECRET]) {
      const signed = `${part({ alg: "HS256", kid: "k1" })}.${claims}`;
      const mac = createHmac("sha256", secret).update(signed).digest("base64url");
      expect(await tokens(`${signed}.${mac}`)).toBe(401);
    }
    const own = await generateKeyPair("RS256", { extractable: true });
    const { n, e } = (await crypto.subtle.exportKey("jwk", own.publicKey)) as {
      n: string;
      e: string;
    };
    for (const more of [{}, { jwk: { kty: "RSA", n, e } }, { jku: "https://evil.example/jwks" }]) {
      const forged = await new SignJWT({ iss: issuer.url, aud: CLIENT_ID, ...good() })
        .setProtectedHeader({ alg: "RS256", kid: "k1", ...more })
        .sign(own.privateKey);
      expect(await tokens(forged)).toBe(401);
    }
    expect(await tokens(`${part({ alg: "RS256" })}.${claims}.${"A".repeat(9_000)}`)).not.toBe(200);
  });

  it("end with their time although they are known", async () => {
    const soon = Math.floor(Date.now() / 1_000) - 4;
    // Within what clocks may differ, and then not any more.
    const token = await issuer.sign({ ...good(), exp: soon });
    expect(await tokens(token)).toBe(200);
    await expect.poll(() => tokens(token), { timeout: 5_000 }).toBe(401);
  });

  it("are no guesses: a script whose token is over does not slow down the administrator", async () => {
    for (let each = 0; each < 15; each += 1) {
      const over = await issuer.sign({ ...good(), exp: inAnHour() - 7_200 - each });
      expect(await tokens(over)).toBe(401);
    }
    expect(await tokens(ADMIN_TOKEN)).toBe(200);
  });
});
