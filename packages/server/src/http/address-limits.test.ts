import { EventEmitter } from "node:events";
import type { IncomingMessage, Server } from "node:http";
import { describe, expect, it } from "vitest";
import { createAddressLimits } from "./address-limits.ts";
import {
  ADMIN_HEADERS,
  ask,
  CHECKOUT,
  fakeMember,
  serverOf,
  SESSION_HEADERS,
  externalAddress,
} from "./fake-member.ts";
import { HTTP_LIMITS } from "./http-limits.ts";

const LIMITS = {
  ...HTTP_LIMITS,
  addressConnectionsMax: 3,
  addressRequestsPerSecond: 2,
  addressBurst: 5,
};

function world(limits = LIMITS) {
  let nowMs = 0;
  const addresses = createAddressLimits(limits, () => nowMs);
  const server = new EventEmitter();
  // Only what is listened to and emitted is used of the two.
  addresses.watch(server as unknown as Server);
  const connect = (remoteAddress: string) => {
    const socket = Object.assign(new EventEmitter(), {
      remoteAddress,
      closed: false,
      destroy() {
        socket.closed = true;
        socket.emit("close");
      },
    });
    server.emit("connection", socket);
    const request = { socket } as unknown as IncomingMessage;
    return { socket, request };
  };
  const pass = (ms: number): void => void (nowMs += ms);
  return { addresses, connect, pass };
}

const bursts = (times: number, ask: () => unknown): number =>
  Array.from({ length: times }, ask).filter((refusal) => refusal === null).length;

describe("one address", () => {
  it("has so many connections at once, and gets a place back with each that ends", () => {
    const { connect } = world();
    const open = [1, 2, 3].map(() => connect("10.0.0.1").socket);
    expect(connect("10.0.0.1").socket.closed).toBe(true);
    expect(connect("10.0.0.2").socket.closed).toBe(false);
    open[0]?.destroy();
    expect(connect("10.0.0.1").socket.closed).toBe(false);
    expect(connect("10.0.0.1").socket.closed).toBe(true);
  });

  it("has so many requests in a stretch of time over all its connections", () => {
    const { addresses, connect, pass } = world();
    const [first, second] = [connect("10.0.0.1").request, connect("10.0.0.1").request];
    expect(bursts(4, () => addresses.request(first))).toBe(4);
    expect(bursts(4, () => addresses.request(second))).toBe(1);
    expect(addresses.request(first)).toMatchObject({ refused: "busy", retryAfterMs: 1_000 });
    expect(addresses.request(connect("10.0.0.2").request)).toBeNull();
    pass(1_000);
    expect(bursts(4, () => addresses.request(first))).toBe(2);
    pass(3_600_000);
    expect(bursts(9, () => addresses.request(first))).toBe(5);
  });

  it("is a whole network of IPv6, and the same IPv4 address however it is written", () => {
    const { addresses, connect } = world();
    const first = connect("2001:db8::1").request;
    const second = connect("2001:db8::a:b:c:d").request;
    expect(connect("2001:db8::2").socket.closed).toBe(false);
    expect(connect("2001:db8::3").socket.closed).toBe(true);
    expect(connect("2001:db8:0:1::3").socket.closed).toBe(false);
    expect(bursts(4, () => addresses.request(first))).toBe(4);
    expect(bursts(4, () => addresses.request(second))).toBe(1);
    const plain = connect("10.0.0.9").request;
    const mapped = connect("::ffff:10.0.0.9").request;
    expect(bursts(4, () => addresses.request(plain))).toBe(4);
    expect(bursts(4, () => addresses.request(mapped))).toBe(1);
  });

  it("waits for guesses from any address of its network", () => {
    const { addresses, connect } = world();
    const { guesses } = addresses;
    for (let guess = 0; guess < 10; guess += 1) {
      guesses.wrong(connect(`2001:db8::${guess.toString(16)}:1`).request);
    }
    expect(guesses.refusal(connect("2001:db8::ffff").request)).not.toBeNull();
    expect(guesses.refusal(connect("2001:db8:0:1::1").request)).toBeNull();
  });

  it("does not start anew by connecting anew", () => {
    const { addresses, connect } = world();
    const { socket, request } = connect("10.0.0.1");
    expect(bursts(9, () => addresses.request(request))).toBe(5);
    socket.destroy();
    expect(addresses.request(connect("10.0.0.1").request)).not.toBeNull();
  });

  it("of this machine has neither limit", () => {
    const { addresses, connect } = world();
    for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
      const requests = Array.from({ length: 9 }, () => connect(address).request);
      expect(bursts(50, () => requests.map(addresses.request).find(Boolean) ?? null)).toBe(50);
    }
  });

  it("waits longer with each wrong token, and begins anew after a while", () => {
    const { addresses, connect, pass } = world();
    const { guesses } = addresses;
    const { request } = connect("10.0.0.1");
    for (let guess = 0; guess < 9; guess += 1) guesses.wrong(request);
    expect(guesses.refusal(request)).toBeNull();
    const waits = Array.from({ length: 9 }, () => {
      guesses.wrong(request);
      const waitMs = guesses.refusal(request)?.retryAfterMs ?? 0;
      pass(waitMs);
      expect(guesses.refusal(request)).toBeNull();
      return waitMs / 1_000;
    });
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    expect(guesses.refusal(connect("10.0.0.2").request)).toBeNull();
    pass(16 * 60_000);
    guesses.wrong(request);
    expect(guesses.refusal(request)).toBeNull();
  });

  it("is forgotten when too many others guess: memory is bounded", () => {
    const { addresses, connect } = world();
    const { guesses } = addresses;
    const { request } = connect("10.0.0.1");
    for (let guess = 0; guess < 10; guess += 1) guesses.wrong(request);
    expect(guesses.refusal(request)).not.toBeNull();
    for (let other = 0; other < 10_000; other += 1) {
      guesses.wrong({ socket: { remoteAddress: `a${other}` } } as unknown as IncomingMessage);
    }
    expect(guesses.refusal(request)).toBeNull();
  });
});

describe("the server", () => {
  it("slows down who guesses the administrator's token, and tells nothing by it", async () => {
    const server = await serverOf(fakeMember());
    const guess = (token: string) =>
      ask(`${server.url}/v1/pool/rebuild`, "POST", { Authorization: `Bearer ${token}` });
    const made = await ask(`${server.url}/v1/tokens`, "POST", ADMIN_HEADERS, {
      name: "ana",
      role: "administrator",
    });
    const { token } = made.body as { token: string };
    const statuses: number[] = [];
    for (let n = 0; n < 12; n += 1) statuses.push((await guess(`guess-${n}`)).status);
    expect(statuses).toEqual([...Array<number>(10).fill(403), 429, 429]);
    const right = await ask(`${server.url}/v1/pool/rebuild`, "POST", ADMIN_HEADERS);
    expect(right).toMatchObject({ status: 429, body: { code: "busy" } });
    expect(Number(right.headers.get("retry-after"))).toBeGreaterThan(0);
    // A token of 32 random bytes is no guess: its owner goes on, and so does everybody without one.
    expect((await guess(token)).status).toBe(200);
    const taken = await ask(`${server.url}/v1/authorizations`, "POST", SESSION_HEADERS, CHECKOUT);
    expect(taken.status).toBe(201);
    await server.close();
  });

  const external = externalAddress();
  it.skipIf(external === undefined)(
    "tells who asks too much from another machine to back off",
    async () => {
      const limits = { addressBurst: 3, addressRequestsPerSecond: 0.001 };
      const server = await serverOf(fakeMember(), { host: external ?? "", limits });
      const statuses: number[] = [];
      for (let n = 0; n < 5; n += 1)
        statuses.push((await ask(`${server.url}/livez`, "GET")).status);
      expect(statuses).toEqual([200, 200, 200, 429, 429]);
      await server.close();
    },
  );
});
