/** What an issuer said of itself is kept while it does not answer, and as long as its keys are there. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { keptLog } from "./fake-member.ts";
import { createOidcBearer } from "./oidc-bearer.ts";
import { CONFIGURATION_MS_MAX, createIssuer, ISSUER_SILENT, REREAD_MS } from "./oidc-issuer.ts";
import type { RequestHead } from "./raw-header.ts";

const DISCOVERY = "/.well-known/openid-configuration";

let server: Server;
let url = "";
let nowMs = 0;
let asked: string[] = [];
/** What answers 503. */
const silent = new Set<string>();
let keysPath = "";
let keys: Awaited<ReturnType<typeof generateKeyPair>>;

beforeEach(async () => {
  nowMs = Date.now();
  asked = [];
  silent.clear();
  keysPath = "/keys-1";
  keys = await generateKeyPair("RS256", { extractable: true });
  const jwk = { ...(await exportJWK(keys.publicKey)), kid: "k1", alg: "RS256", use: "sig" };
  server = createServer((request, response) => {
    const path = request.url ?? "";
    asked.push(path);
    response.setHeader("Content-Type", "application/json");
    if (silent.has(path) || (path !== DISCOVERY && path !== keysPath)) {
      response.statusCode = 503;
      response.end("{}");
    } else if (path === DISCOVERY) {
      response.end(
        JSON.stringify({
          issuer: url,
          authorization_endpoint: `${url}/authorize`,
          token_endpoint: `${url}/token`,
          jwks_uri: `${url}${keysPath}`,
        }),
      );
    } else response.end(JSON.stringify({ keys: [jwk] }));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
});

function world() {
  const log = keptLog();
  const options = {
    issuer: url,
    clientId: "quorate",
    clientSecret: null,
    scope: "openid",
    roleClaim: "groups",
    roles: [{ role: "viewer", value: "viewers" }],
    audience: null,
  } as const;
  const issuer = createIssuer(options, log, () => nowMs);
  const bearer = createOidcBearer(issuer, () => nowMs);
  const keysUri = async (): Promise<string | undefined> =>
    (await issuer.configuration()).serverMetadata().jwks_uri;
  /** Who a new token stands for. */
  let made = 0;
  const callerOfNew = async (): Promise<unknown> => {
    const exp = Math.floor(nowMs / 1_000) + 60;
    made += 1;
    const token = await new SignJWT({ groups: ["viewers"], jti: String(made), exp })
      .setProtectedHeader({ alg: "RS256", kid: "k1" })
      .setIssuer(url)
      .setAudience("quorate")
      .setSubject("u1")
      .sign(keys.privateKey);
    const head = { rawHeaders: ["Authorization", `Bearer ${token}`] } as unknown as RequestHead;
    await bearer.prepare(head);
    return bearer.callerOf(token);
  };
  return { issuer, keysUri, callerOfNew, log };
}

const VIEWER = { name: "u1", role: "viewer" };
const reads = (): number => asked.filter((path) => path === DISCOVERY).length;

describe("what the issuer says of itself", () => {
  it("is kept when the hourly look fails, and replaced when a later one does not", async () => {
    const { keysUri, callerOfNew, log } = world();
    expect(await callerOfNew()).toMatchObject(VIEWER);
    expect(reads()).toBe(1);
    silent.add(DISCOVERY);
    nowMs += CONFIGURATION_MS_MAX;
    expect(await callerOfNew()).toMatchObject(VIEWER);
    await expect.poll(() => log.lines.length).toBe(1);
    expect(reads()).toBe(2);
    for (let each = 0; each < 5; each += 1) expect(await callerOfNew()).toMatchObject(VIEWER);
    expect(reads()).toBe(2);
    silent.clear();
    keysPath = "/keys-2";
    nowMs += REREAD_MS;
    await expect.poll(keysUri).toBe(`${url}/keys-2`);
    expect(await callerOfNew()).toMatchObject(VIEWER);
    expect(reads()).toBe(3);
  });

  it("is not believed any more once its keys are refused", async () => {
    const { keysUri, callerOfNew } = world();
    expect(await keysUri()).toBe(`${url}/keys-1`);
    keysPath = "/keys-2";
    silent.add(DISCOVERY);
    nowMs += REREAD_MS;
    expect(await callerOfNew()).toBe(ISSUER_SILENT);
    await expect(keysUri()).rejects.toThrow();
    // And it is back as soon as the issuer answers, with where the keys are now.
    silent.clear();
    nowMs += 2_000;
    expect(await callerOfNew()).toMatchObject(VIEWER);
    expect(asked.at(-1)).toBe("/keys-2");
  });

  it("is asked for once by all who wait, and not at once again when there is no answer", async () => {
    const { keysUri } = world();
    silent.add(DISCOVERY);
    const waiting = [keysUri(), keysUri(), keysUri()].map((each) => each.catch(() => "silent"));
    expect(await Promise.all(waiting)).toEqual(["silent", "silent", "silent"]);
    await expect(keysUri()).rejects.toThrow();
    expect(reads()).toBe(1);
    silent.clear();
    nowMs += 2_000;
    expect(await keysUri()).toBe(`${url}/keys-1`);
  });
});
