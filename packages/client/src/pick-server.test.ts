import type { FeatureRow, PoolAnswer } from "@quorate/protocol";
import { expect, test } from "vitest";
import { FakeWorld } from "./fake-world.ts";
import { orderServers } from "./pick-server.ts";

const SERVERS = ["http://a", "http://b", "http://c"];

function wireOf(free: Readonly<Record<string, number>>) {
  const { wire } = new FakeWorld(["a"]);
  const entries = Object.entries(free).map(([id, seats]) => [id, { seats, inUse: 0 }] as const);
  const row: FeatureRow = {
    name: "cad",
    version: "1",
    seats: 9,
    overdraft: 0,
    inUse: 0,
    free: 9,
    queued: 0,
    denied: 0,
    debt: 0,
    retired: 0,
    starts: null,
    expires: null,
    lifeMs: 60_000,
    members: Object.fromEntries(entries),
  };
  const member = { alive: true, mandate: true, state: "up", epoch: 1, priority: 0 };
  const more = { licenseSequence: 1, sessions: 0, leaseAgeMs: 0 };
  const pool: PoolAnswer = {
    pool: "p",
    self: "b",
    size: 3,
    leader: null,
    term: 1,
    leaseMs: 5_000,
    majority: { needed: 2, alive: 3, reached: true },
    members: ["a", "b", "c"].map((id) => ({ id, url: `http://${id}/`, ...member, ...more })),
    store: { name: "fake", id: null, state: "ok" },
    alarms: [],
  };
  // The server asked first knows nothing, so that the next one is asked.
  return {
    ...wire,
    pool: async (server: string) => (server === "http://a" ? null : pool),
    features: async () => ({ features: [row], missing: [] }),
  };
}

test("`first` keeps the order of the program", async () => {
  const order = await orderServers("first", SERVERS, "cad", wireOf({}), () => 0);
  expect(order).toEqual(SERVERS);
});

test("`random` loses and repeats no server", async () => {
  const order = await orderServers("random", SERVERS, "cad", wireOf({}), () => 0);
  expect(order).not.toEqual(SERVERS);
  expect(order.toSorted()).toEqual(SERVERS);
});

test("`most-free` goes where the most unused seats are, by whoever knows", async () => {
  const wire = wireOf({ a: 1, b: 2, c: 6 });
  const order = await orderServers("most-free", SERVERS, "cad", wire, () => 0.999);
  expect(order).toEqual(["http://c", "http://b", "http://a"]);
});

test("`most-free` falls back to a random order when nobody knows the feature", async () => {
  const order = await orderServers("most-free", SERVERS, "cam", wireOf({ a: 1 }), () => 0.999);
  expect(order).toEqual(SERVERS);
});
