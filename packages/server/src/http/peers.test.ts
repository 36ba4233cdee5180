import { createServer } from "node:http";
import type { RequestListener, Server } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PEER_BODY_BYTES_MAX, refuse } from "@quorate/core";
import { generatePrivateKey, publicKeyOf, sign } from "../keys/node-keys.ts";
import type { PeerCall } from "../member/peer-calls.ts";
import { ask, fakeMember, JSON_HEADERS, serverOf } from "./fake-member.ts";
import type { FakeMember } from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";
import { createPeers } from "./peer-client.ts";
import { createReplayWindow, REPLAY_WINDOW_CALLS, signedBytes } from "./peer-envelope.ts";

const DEADLINE_MS = 5_000;
const keyOfB = generatePrivateKey();
const keyOfStranger = generatePrivateKey();
const COLLECT: PeerCall = { kind: "collect", epoch: 3, term: 1 };
const CALLS: PeerCall[] = [
  {
    kind: "report",
    page: 1,
    epoch: 3,
    term: 1,
    full: true,
    more: false,
    changed: [],
    ended: ["x"],
    features: [{ feature: "cad", seats: 5, inUse: 2, unused: 3, denied: 0 }],
    licenseSequence: 7,
  },
  COLLECT,
  {
    kind: "seats",
    epoch: 3,
    term: 1,
    feature: "cad",
    unused: 0,
    wants: [{ session: "s", seats: 1, waitMs: 0, ticket: null, holder: { user: "u", host: "h" } }],
  },
  { kind: "give-back", epoch: 3, term: 1, feature: "cad", seats: 2 },
  {
    kind: "hand-over",
    epoch: 3,
    term: 1,
    session: "s".repeat(43),
    n: 4,
    seats: 1,
    feature: "cad",
    memberEpoch: 2,
  },
  { kind: "pass-on", epoch: 3, term: 1, what: "release", body: { session: "s" } },
];

let member: FakeMember;
let server: HttpServer;
const peers = createPeers({ id: "b", sign: (bytes) => sign(keyOfB, bytes) });

beforeEach(async () => {
  member = fakeMember({ memberKey: (id) => (id === "b" ? publicKeyOf(keyOfB) : null) });
  server = await serverOf(member);
});

afterEach(async () => {
  peers.close();
  await server.close();
});

describe("a call of another member", () => {
  test.each(CALLS)("of the kind $kind arrives as it was sent", async (call) => {
    expect(await peers.call(server.url, "a", call, DEADLINE_MS)).toEqual({
      ok: true,
      body: { from: "b" },
    });
    expect(member.asked).toEqual([{ call: "peer", with: { from: "b", call } }]);
  });

  test("may be refused by the member, which is an answer", async () => {
    await server.close();
    const refusal = refuse("no-mandate", "Not now.");
    server = await serverOf({ ...member, peer: async () => ({ ok: false, refusal }) });
    expect(await peers.call(`${server.url}/`, "a", COLLECT, DEADLINE_MS)).toEqual({
      ok: false,
      refusal,
    });
  });

  test("that is meant for another member, or signed by another key, is no call", async () => {
    expect(await peers.call(server.url, "c", COLLECT, DEADLINE_MS)).toBeNull();
    const thief = createPeers({ id: "b", sign: (bytes) => sign(keyOfStranger, bytes) });
    expect(await thief.call(server.url, "a", COLLECT, DEADLINE_MS)).toBeNull();
    const stranger = createPeers({ id: "z", sign: (bytes) => sign(keyOfStranger, bytes) });
    expect(await stranger.call(server.url, "a", COLLECT, DEADLINE_MS)).toBeNull();
    thief.close();
    stranger.close();
    expect(member.asked).toEqual([]);
  });

  test("is refused the second time, changed, unsigned, or under another kind", async () => {
    const body = envelope(1, COLLECT);
    const signature = sign(keyOfB, signedBytes(Buffer.from(body)));
    const headers = { ...JSON_HEADERS, "Quorate-Signature": signature };
    const url = `${server.url}/v1/peer/collect`;
    expect(await ask(url, "POST", JSON_HEADERS, body)).toMatchObject({
      status: 401,
      body: { code: "unauthorized" },
    });
    const changed = body.replace('"term":1', '"term":2');
    for (const forged of [
      { headers, body: changed },
      { headers: { ...headers, "Quorate-Signature": "x".repeat(86) }, body },
      { headers: { ...headers, "Quorate-Signature": "short" }, body },
      {
        // Signed by the right key, but as something else than a member's call.
        headers: { ...headers, "Quorate-Signature": sign(keyOfB, Buffer.from(body)) },
        body,
      },
    ]) {
      expect(await ask(url, "POST", forged.headers, forged.body)).toMatchObject({
        status: 403,
        body: { code: "forbidden" },
      });
    }
    expect((await ask(`${server.url}/v1/peer/give-back`, "POST", headers, body)).status).toBe(400);
    expect((await ask(url, "POST", headers, body)).status).toBe(200);
    expect(await ask(url, "POST", headers, body)).toMatchObject({
      status: 403,
      body: { code: "forbidden" },
    });
    expect(member.asked).toHaveLength(1);
  });

  test("goes through after a restart of the caller", async () => {
    expect(await peers.call(server.url, "a", COLLECT, DEADLINE_MS)).not.toBeNull();
    const restarted = createPeers({ id: "b", sign: (bytes) => sign(keyOfB, bytes) });
    expect(await restarted.call(server.url, "a", COLLECT, DEADLINE_MS)).not.toBeNull();
    restarted.close();
  });
});

describe("a call gets null and never an error", () => {
  const answering = async (listener: RequestListener): Promise<{ server: Server; url: string }> => {
    const other = createServer(listener);
    await new Promise<void>((resolve) => {
      other.listen(0, "127.0.0.1", resolve);
    });
    const address = other.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return { server: other, url: `http://127.0.0.1:${address.port}` };
  };

  const cases: [string, RequestListener][] = [
    ["nothing at all", () => {}],
    ["half an answer", (_request, response) => response.writeHead(200).write('{"ok":')],
    ["a hang-up", (request) => request.socket.destroy()],
    ["no JSON", (_request, response) => response.end("<html>")],
    ["another shape", (_request, response) => response.end('{"ok":false,"refusal":{}}')],
    ["an unknown code", (_r, response) => response.end('{"ok":false,"refusal":{"refused":"x"}}')],
    ["a problem", (_request, response) => response.writeHead(403).end('{"ok":true}')],
    ["too much", (_r, response) => response.end(`{"ok":"${"x".repeat(PEER_BODY_BYTES_MAX)}"}`)],
  ];
  test.each(cases)("for %s", async (name, listener) => {
    const other = await answering(listener);
    try {
      const waits = name === "nothing at all" || name === "half an answer";
      const deadlineMs = waits ? 50 : DEADLINE_MS;
      expect(await peers.call(other.url, "a", COLLECT, deadlineMs)).toBeNull();
    } finally {
      other.server.closeAllConnections();
      other.server.close();
    }
  });

  test("where nobody listens, a call says that it certainly was not taken", async () => {
    const answer = await peers.call("http://127.0.0.1:1", "a", COLLECT, DEADLINE_MS);
    expect(answer).toMatchObject({ ok: false, reached: false });
  });

  test("for an address that is none, or a call that is too long", async () => {
    for (const url of ["", "nonsense", "ftp://127.0.0.1"]) {
      expect(await peers.call(url, "a", COLLECT, DEADLINE_MS), url).toBeNull();
    }
    const long: PeerCall = {
      kind: "pass-on",
      epoch: 1,
      term: 1,
      what: "list",
      body: "x".repeat(5_000_000),
    };
    expect(await peers.call(server.url, "a", long, DEADLINE_MS)).toBeNull();
  });
});

describe("the replay window", () => {
  test("takes each sequence once, also late ones, but none below the window", () => {
    const window = createReplayWindow();
    expect([5, 7, 6, 7, 5].map((sequence) => window.take(1, sequence))).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
    expect(window.take(1, 7 + REPLAY_WINDOW_CALLS)).toBe(true);
    expect(window.take(1, 4)).toBe(false);
    expect(window.take(1, 8)).toBe(true);
    expect(window.take(1, 8)).toBe(false);
  });

  test("stays exact over many calls", () => {
    const window = createReplayWindow();
    for (let sequence = 0; sequence < 10 * REPLAY_WINDOW_CALLS; sequence += 1) {
      expect(window.take(1, sequence)).toBe(true);
      expect(window.take(1, sequence)).toBe(false);
      expect(window.take(1, Math.max(0, sequence - 700))).toBe(false);
    }
  });

  test("starts again with a higher epoch, and refuses what is left of a lower one", () => {
    const window = createReplayWindow();
    expect(window.take(1, 1_000_000)).toBe(true);
    expect(window.take(2, 10)).toBe(true);
    expect(window.take(1, 1_000_001)).toBe(false);
    expect(window.take(2, 10)).toBe(false);
    expect(window.take(2, 11)).toBe(true);
  });
});

function envelope(sequence: number, call: PeerCall): string {
  return JSON.stringify({ from: "b", to: "a", sequence, sentAtMs: 1, call });
}
