import { clientLifeMs, refuse } from "@quorate/core";
import { afterEach, describe, expect, test } from "vitest";
import type { Authorization } from "./authorization.ts";
import { NoServerError, RefusedError } from "./errors.ts";
import { type Call, FakeWorld } from "./fake-world.ts";

function record(authorization: Authorization): string[] {
  const heard: string[] = [];
  authorization.on("lost", ({ reason, retrying }) =>
    heard.push(`lost ${reason}${retrying ? "" : " for good"}`),
  );
  authorization.on("regained", ({ member }) => heard.push(`regained ${member}`));
  authorization.on("moved", ({ member }) => heard.push(`moved ${member}`));
  authorization.on("revoked", () => heard.push("revoked"));
  return heard;
}

function isCheckout(call: Call): call is Extract<Call, { kind: "checkout" }> {
  return call.kind === "checkout";
}

let world = new FakeWorld(["a"]);

afterEach(() => {
  // Whatever a test did, no session ever repeats or lowers its numbers.
  const highest = new Map<string, number>();
  for (const { request } of world.calls) {
    const { session, n = -1 } = request;
    expect(n).toBeGreaterThan(highest.get(session) ?? 0);
    highest.set(session, n);
  }
});

async function held(ids: readonly string[]) {
  world = new FakeWorld(ids);
  const client = world.client();
  const authorization = await world.outcome(client.checkout({ feature: "cad" }));
  return { client, authorization, heard: record(authorization) };
}

describe("in good weather", () => {
  test("a checkout is granted, kept by bare heartbeats, and given back", async () => {
    const { authorization } = await held(["a", "b"]);
    expect(authorization.held).toBe(true);
    expect(authorization.member).toBe("a");
    await world.passUntil(50_000);
    const [first, second, ...more] = world.callsTo("a", "heartbeat");
    expect([first?.atMs, second?.atMs, more.length]).toEqual([20_000, 40_000, 0]);
    expect(Object.keys(first?.request ?? {})).toEqual(["session", "n", "secret"]);
    expect(authorization.expiresInMs()).toBe(clientLifeMs(60_000) - 10_000);
    await world.outcome(authorization.release());
    expect(authorization.held).toBe(false);
    expect(world.server("a").sessions.size).toBe(0);
    await world.pass(1_000);
    expect(world.timersSet).toBe(0);
  });

  test("a token past half of its age is sent along and replaced", async () => {
    const { authorization } = await held(["a"]);
    const before = authorization.token;
    await world.pass(330_000);
    const withToken = world.callsTo("a", "heartbeat").filter(({ request }) => "token" in request);
    expect(withToken.map(({ atMs }) => atMs)).toEqual([300_000]);
    expect(authorization.token).not.toBe(before);
  });

  test("an authorization is released at the end of its scope", async () => {
    const { client } = await held(["a"]);
    await world.outcome(client[Symbol.asyncDispose]());
    expect(world.server("a").sessions.size).toBe(0);
    await expect(client.checkout({ feature: "cad" })).rejects.toThrow("closed");
  });

  test("closing takes two seconds at most when nobody answers", async () => {
    const { client } = await held(["a", "b"]);
    for (const server of world.servers) server.script = () => null;
    world.server("a").mode = "down";
    world.server("b").mode = "down";
    const before = world.nowMs;
    await world.outcome(client.close());
    expect(world.nowMs - before).toBeLessThanOrEqual(2_050);
  });
});

describe("at a checkout", () => {
  test("a server that does not answer is passed over", async () => {
    world = new FakeWorld(["a", "b"]);
    world.server("a").mode = "down";
    const authorization = await world.outcome(world.client().checkout({ feature: "cad" }));
    expect(authorization.member).toBe("b");
  });

  test("a duplicate at the server whose answer was lost is released, and that alone", async () => {
    world = new FakeWorld(["a", "b"]);
    const a = world.server("a");
    a.mode = "deaf";
    const authorization = await world.outcome(world.client().checkout({ feature: "cad" }));
    expect(authorization.member).toBe("b");
    expect(a.sessions.size).toBe(1);
    a.mode = "up";
    await world.pass(25_000);
    expect(a.sessions.size).toBe(0);
    expect(world.callsTo("a", "release").map(({ request }) => request)).toMatchObject([
      { only: "a" },
    ]);
    expect(world.server("b").sessions.size).toBe(1);
    expect(authorization.held).toBe(true);
  });

  test("a full pool refuses at once with its code", async () => {
    world = new FakeWorld(["a"]);
    world.server("a").seats = 0;
    const refusal = world.outcome(world.client().checkout({ feature: "cad" }));
    await expect(refusal).rejects.toThrow(RefusedError);
    await expect(refusal).rejects.toMatchObject({ code: "no-seats" });
  });

  test("no server at all is an error of its own, after some patience", async () => {
    world = new FakeWorld(["a", "b"]);
    for (const server of world.servers) server.mode = "down";
    await expect(world.outcome(world.client().checkout({ feature: "cad" }))).rejects.toThrow(
      NoServerError,
    );
    expect(world.nowMs).toBeGreaterThan(3_000);
    expect(world.nowMs).toBeLessThan(6_000);
  });

  test("a queued client repeats the same session with the time it has left", async () => {
    world = new FakeWorld(["a"]);
    let asked = 0;
    world.server("a").script = () => {
      asked += 1;
      return asked < 3 ? refuse("queued", "wait", { place: 1, ticket: "t" }) : undefined;
    };
    await world.outcome(world.client().checkout({ feature: "cad", waitMs: 30_000 }));
    const calls = world.callsTo("a", "checkout").filter(isCheckout);
    expect(new Set(calls.map(({ request }) => request.session)).size).toBe(1);
    expect(calls.map(({ request }) => request.waitMs)).toEqual([30_000, 29_500, 29_000]);
  });

  test("waiting ends in a refusal when the time runs out", async () => {
    world = new FakeWorld(["a"]);
    world.server("a").script = () => refuse("queued", "wait", { place: 2 });
    const waiting = world.outcome(world.client().checkout({ feature: "cad", waitMs: 3_000 }));
    await expect(waiting).rejects.toMatchObject({ code: "no-seats" });
    expect(world.nowMs).toBeLessThanOrEqual(3_100);
  });

  test("a session whose unheard grant would have to be confirmed gives way to a new one", async () => {
    world = new FakeWorld(["a"]);
    world.server("a").script = ({ request }) =>
      request.session === "session-1" ? refuse("confirm", "?", { nonce: "x" }) : undefined;
    const authorization = await world.outcome(world.client().checkout({ feature: "cad" }));
    expect(authorization.session).toBe("session-2");
    expect(world.calls).toHaveLength(2);
  });

  test("the place in the queue is told while it waits", async () => {
    world = new FakeWorld(["a"]);
    let place = 3;
    world.server("a").script = () => {
      place -= 1;
      return place > 0 ? refuse("queued", "wait", { place }) : undefined;
    };
    const places: (number | null)[] = [];
    const onQueued = (told: number | null): number => places.push(told);
    await world.outcome(world.client().checkout({ feature: "cad", waitMs: 9_000, onQueued }));
    expect(places).toEqual([2, 1]);
  });

  test("a checkout that is aborted gives back what was granted meanwhile", async () => {
    world = new FakeWorld(["a"]);
    const controller = new AbortController();
    const { signal } = controller;
    const checkout = world.client().checkout({ feature: "cad", signal });
    checkout.catch(() => undefined);
    await world.pass(7);
    expect(world.server("a").sessions.size).toBe(1);
    controller.abort(new Error("changed my mind"));
    await expect(world.outcome(checkout)).rejects.toThrow("changed my mind");
    await world.pass(1_000);
    expect(world.server("a").sessions.size).toBe(0);
  });
});

describe("when the own server dies", () => {
  test("the leader converts the heartbeat, which brings token and terms", async () => {
    const { authorization, heard } = await held(["a", "b", "c"]);
    world.server("a").mode = "down";
    world.leader = world.server("c");
    await world.pass(25_000);
    expect(heard).toEqual(["moved c"]);
    expect(authorization.held).toBe(true);
    const converted = world.callsTo("c", "heartbeat")[0]?.request;
    expect(converted).toMatchObject({ feature: "cad", seats: 1, holder: { user: "ann" } });
    expect(converted).toHaveProperty("token", expect.stringContaining("token-of-a"));
    await world.pass(20_000);
    expect(Object.keys(world.callsTo("c", "heartbeat")[1]?.request ?? {})).not.toContain("token");
  });

  test("a confirmation is repeated at once with the nonce", async () => {
    const { authorization, heard } = await held(["a", "b"]);
    world.server("a").mode = "down";
    const b = world.server("b");
    world.leader = b;
    b.script = ({ request }) =>
      "confirm" in request && request.confirm === "nonce-1"
        ? undefined
        : refuse("confirm", "still there?", { nonce: "nonce-1" });
    await world.pass(25_000);
    expect(heard).toEqual(["moved b"]);
    expect(authorization.held).toBe(true);
    const [first, second] = world.callsTo("b", "heartbeat");
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBe(10);
  });

  test("a server that lost its journal is told the token, and nothing is lost", async () => {
    const { authorization, heard } = await held(["a"]);
    world.server("a").script = ({ request }) =>
      "token" in request ? undefined : refuse("bad-request", "send its token");
    await world.pass(25_000);
    expect(heard).toEqual([]);
    expect(authorization.held).toBe(true);
    const beats = world.callsTo("a", "heartbeat").map(({ request }) => "token" in request);
    expect(beats).toEqual([false, true]);
  });

  test("a busy server is asked again after the pause it names, and the session stays there", async () => {
    const { authorization, heard } = await held(["a", "b"]);
    let refused = 0;
    world.server("a").script = () => {
      refused += 1;
      return refused <= 2 ? refuse("busy", "later", { retryAfterMs: 1_000 }) : undefined;
    };
    await world.passUntil(30_000);
    expect(world.callsTo("a", "heartbeat").map(({ atMs }) => atMs)).toEqual([
      20_000, 21_235, 22_470,
    ]);
    expect(heard).toEqual([]);
    expect(world.callsTo("b", "heartbeat")).toEqual([]);
    expect(authorization.member).toBe("a");
  });

  test("a server that asks for one confirmation after another is left alone for a while", async () => {
    const { heard } = await held(["a", "b"]);
    world.server("a").mode = "down";
    world.leader = world.server("b");
    world.server("b").script = () => refuse("confirm", "still there?", { nonce: "x" });
    await world.passUntil(21_000);
    expect(world.callsTo("b", "heartbeat").length).toBeLessThan(20);
    expect(heard).toEqual([]);
  });

  test("a late answer to an older message changes nothing", async () => {
    const { authorization, heard } = await held(["a", "b"]);
    world.leader = world.server("b");
    world.server("a").mode = "deaf";
    await world.passUntil(30_000);
    expect(heard).toEqual(["moved b"]);
    expect(authorization.member).toBe("b");
  });

  test("nothing is confirmed once the authorization has ended by the own clock", async () => {
    const { heard } = await held(["a", "b"]);
    world.server("a").mode = "down";
    const b = world.server("b");
    world.leader = b;
    const endMs = clientLifeMs(60_000);
    b.script = ({ kind }) => {
      if (kind !== "heartbeat") return null;
      return world.nowMs < endMs - 100
        ? refuse("no-mandate", "not yet")
        : refuse("confirm", "still there?", { nonce: "late" });
    };
    await world.pass(70_000);
    expect(heard).toEqual(["lost expired"]);
    const late = world.calls.filter(({ atMs, kind }) => kind === "heartbeat" && atMs >= endMs);
    expect(late).toEqual([]);
  });

  test("belief ends on time, the program is told, and a new session regains a seat", async () => {
    const { authorization, heard } = await held(["a"]);
    const old = authorization.session;
    world.server("a").mode = "down";
    await world.passUntil(clientLifeMs(60_000) - 1);
    expect(heard).toEqual([]);
    expect(authorization.held).toBe(true);
    await world.pass(1);
    expect(heard).toEqual(["lost expired"]);
    expect(authorization.held).toBe(false);
    expect(authorization.expiresInMs()).toBe(0);
    world.server("a").mode = "up";
    world.server("a").sessions.clear();
    await world.pass(10_000);
    expect(heard).toEqual(["lost expired", "regained a"]);
    expect(authorization.session).not.toBe(old);
    expect([...world.server("a").sessions]).toEqual([authorization.session]);
  });
});

describe("when the pool ends the session", () => {
  test("a revoked session is over for good", async () => {
    const { client, authorization, heard } = await held(["a"]);
    world.server("a").script = () => refuse("revoked", "by an administrator");
    await world.pass(60_000);
    expect(heard).toEqual(["lost revoked for good", "revoked"]);
    expect(authorization.held).toBe(false);
    expect(client.authorizations).toEqual([]);
    expect(world.callsTo("a", "heartbeat")).toHaveLength(1);
  });

  test("a session that was released by others is replaced by a new one", async () => {
    const { authorization, heard } = await held(["a"]);
    world.server("a").script = ({ kind }) =>
      kind === "heartbeat" ? refuse("released", "too late") : undefined;
    await world.pass(21_000);
    expect(heard).toEqual(["lost released", "regained a"]);
    expect(authorization.session).toBe("session-2");
  });

  test("a refusal by a server that is not the own one ends nothing", async () => {
    const { authorization, heard } = await held(["a", "b"]);
    world.server("a").mode = "down";
    world.server("b").script = () => refuse("unknown-feature", "an older license");
    await world.pass(50_000);
    expect(heard).toEqual([]);
    expect(authorization.held).toBe(true);
  });
});

describe("when clocks jump", () => {
  test("a machine that slept past the end hears `lost` soon after it wakes, and nothing is confirmed", async () => {
    const { authorization, heard } = await held(["a"]);
    world.server("a").script = ({ kind }) =>
      kind === "heartbeat" ? refuse("confirm", "still there?", { nonce: "x" }) : undefined;
    await world.pass(1_000);
    world.sleptMs = 3_600_000;
    expect(authorization.held).toBe(false);
    await world.pass(300);
    expect(heard).toEqual(["lost expired", "regained a"]);
    expect(world.callsTo("a", "heartbeat")).toEqual([]);
  });

  test("a wall clock set forward alone makes a heartbeat, and costs nobody the seat", async () => {
    const { authorization, heard } = await held(["a"]);
    await world.pass(1_000);
    world.wallOffsetMs += 7_200_000;
    await world.pass(300);
    expect(world.callsTo("a", "heartbeat")).toHaveLength(1);
    expect(heard).toEqual([]);
    expect(authorization.held).toBe(true);
    await world.pass(30_000);
    expect(heard).toEqual([]);
  });

  test("the word is held back for two seconds and no longer, and nothing is confirmed meanwhile", async () => {
    const { authorization, heard } = await held(["a"]);
    await world.pass(1_000);
    world.server("a").script = () => refuse("confirm", "still there?", { nonce: "x" });
    world.wallOffsetMs += 7_200_000;
    await world.pass(250);
    const noticedMs = world.callsTo("a", "heartbeat")[0]?.atMs ?? 0;
    await world.passUntil(noticedMs + 1_999);
    expect(heard).toEqual([]);
    expect(authorization.held).toBe(true);
    await world.pass(1);
    expect(heard).toEqual(["lost expired"]);
    const confirmed = world.callsTo("a", "heartbeat").filter(({ request }) => "confirm" in request);
    expect(confirmed).toEqual([]);
  });

  test("without a boot clock a jump of the wall clock is believed", async () => {
    world = new FakeWorld(["a"]);
    const client = world.client({ clocks: { hasBootClock: false, now: () => world.clocks() } });
    const authorization = await world.outcome(client.checkout({ feature: "cad" }));
    const heard = record(authorization);
    world.wallOffsetMs += 7_200_000;
    await world.pass(300);
    expect(heard[0]).toBe("lost expired");
  });
});

describe("at a release", () => {
  test("another server passes it on when the own one does not answer", async () => {
    const { authorization } = await held(["a", "b"]);
    world.server("a").script = () => null;
    world.server("a").mode = "down";
    await world.outcome(authorization.release());
    expect(world.callsTo("b", "release")).toHaveLength(1);
  });

  test("a release while a heartbeat is in flight ends the session all the same", async () => {
    const { authorization, heard } = await held(["a"]);
    await world.passUntil(20_000);
    expect(world.callsTo("a", "heartbeat")).toHaveLength(1);
    await world.outcome(authorization.release());
    await world.pass(100_000);
    expect(authorization.held).toBe(false);
    expect(heard).toEqual([]);
    expect(world.callsTo("a", "heartbeat")).toHaveLength(1);
  });
});
