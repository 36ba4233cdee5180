import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { refuse } from "@quorate/core";
import { problemOf } from "@quorate/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fetchTransport } from "./fetch-transport.ts";
import { RESPONSE_BYTES_MAX, httpWire, type Transport } from "./http-wire.ts";
import { nodeTransport } from "./node-transport.ts";

const GRANTED = {
  session: "s",
  feature: "cad",
  seats: 1,
  member: "a",
  lifeMs: 60_000,
  heartbeatMs: 20_000,
  token: "t",
  pool: { leader: null, servers: ["http://b"] },
};
const timers = {
  after(ms: number, callback: () => void) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};
const holder = { user: "ann", host: "desk" };
const checkout = { session: "s", secret: "secret", n: 1, feature: "cad", holder };

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly secret: string | string[] | undefined;
  readonly body: string;
}

let server: Server;
let url = "";
let seen: Seen[] = [];
/** What the server says next; null: it says nothing at all. */
let reply: { status: number; body: string; headers?: Record<string, string> } | null = null;

beforeAll(async () => {
  server = createServer((request, response) => {
    const { method, url: path } = request;
    const secret = request.headers["quorate-session"];
    void textOf(request).then((body) => {
      seen.push({ method, url: path, secret, body });
      if (reply === null) return;
      response.writeHead(reply.status, reply.headers);
      response.end(reply.body);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

const transports: readonly (readonly [string, Transport])[] = [
  ["fetch", fetchTransport(fetch, timers)],
  ["node:http", nodeTransport()],
];

describe.each(transports)("over %s", (_name, transport) => {
  const wire = httpWire(transport);

  test("a checkout carries the secret in its header and nowhere else", async () => {
    seen = [];
    reply = { status: 201, body: JSON.stringify(GRANTED) };
    const answer = await wire.checkout(`${url}/`, checkout, 2_000);
    expect(answer).toEqual({ ...GRANTED, created: true });
    expect(seen).toMatchObject([{ method: "POST", url: "/v1/authorizations", secret: "secret" }]);
    expect(seen[0]?.body).not.toContain("secret");
  });

  test("a heartbeat names its session in the path", async () => {
    seen = [];
    reply = { status: 200, body: JSON.stringify({ ...GRANTED, token: undefined }) };
    const answer = await wire.heartbeat(url, { session: "s", secret: "x", n: 7 }, 2_000);
    expect(answer).toMatchObject({ member: "a", created: false });
    expect(seen).toMatchObject([{ url: "/v1/authorizations/s/heartbeat", body: '{"n":7}' }]);
  });

  test("a problem document becomes the refusal with all that it brings", async () => {
    const refusal = refuse("confirm", "still there?", { nonce: "x" });
    reply = { status: 409, body: JSON.stringify(problemOf(refusal)) };
    expect(await wire.heartbeat(url, { session: "s", secret: "x" }, 2_000)).toEqual(refusal);
  });

  test("a release says n and only, and what 204 and 202 mean", async () => {
    seen = [];
    reply = { status: 204, body: "" };
    const call = { session: "s", secret: "x", n: 3, only: "a" };
    expect(await wire.release(url, call, 2_000)).toEqual({ released: true, reached: true });
    reply = { status: 202, body: '{"released":true,"reached":false}' };
    expect(await wire.release(url, call, 2_000)).toEqual({ released: true, reached: false });
    expect(seen[0]).toMatchObject({ method: "DELETE", url: "/v1/authorizations/s?n=3&only=a" });
  });

  test.each([
    ["a proxy's page", 502, "<html>bad gateway</html>"],
    ["half an answer", 201, '{"session":"s"'],
    ["a life without end", 201, JSON.stringify({ ...GRANTED, lifeMs: 1e300 })],
    ["a negative life", 201, JSON.stringify({ ...GRANTED, lifeMs: -1 })],
    ["a list", 201, "[]"],
    ["an unknown code", 409, '{"code":"of-tomorrow"}'],
    ["a refusal in good spirits", 200, '{"code":"no-seats"}'],
    ["a redirect", 302, ""],
  ])("%s is no answer", async (_what, status, body) => {
    reply = { status, body, headers: status === 302 ? { location: `${url}/elsewhere` } : {} };
    expect(await wire.checkout(url, checkout, 2_000)).toBeNull();
  });

  test("an answer without end is no answer", async () => {
    reply = { status: 200, body: " ".repeat(RESPONSE_BYTES_MAX + 1) };
    expect(await wire.pool(url, 5_000)).toBeNull();
  });

  test("silence and a closed port are no answer", async () => {
    reply = null;
    expect(await wire.checkout(url, checkout, 50)).toBeNull();
    expect(await wire.checkout("http://127.0.0.1:1", checkout, 2_000)).toBeNull();
    expect(await wire.checkout("no url", checkout, 2_000)).toBeNull();
  });
});

// By its standard `fetch` repeats a request that was answered 421, which Node's own sometimes fails at; then
// there is no answer, and the client asks the servers in turn.
test("over node:http a member that is not the leader names it", async () => {
  const moved = refuse("not-leader", "there", { leader: "http://b", retryAfterMs: 5 });
  reply = { status: 421, body: JSON.stringify(problemOf(moved)) };
  expect(await httpWire(nodeTransport()).checkout(url, checkout, 2_000)).toEqual(moved);
});
