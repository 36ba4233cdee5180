/** Plain answers of a healthy pool, for tests to change. */
import type { FeatureRow, PoolAnswer, PoolMemberRow } from "@quorate/protocol";

export function member(change: Partial<PoolMemberRow>): PoolMemberRow {
  return {
    id: "a",
    url: "http://127.0.0.1:7350",
    alive: true,
    mandate: true,
    state: "active",
    epoch: 1,
    priority: 0,
    licenseSequence: 1,
    sessions: 0,
    leaseAgeMs: 300,
    ...change,
  };
}

export function pool(change: Partial<PoolAnswer> = {}): PoolAnswer {
  return {
    pool: "engineering",
    self: "a",
    size: 3,
    leader: { id: "a", url: "http://127.0.0.1:7350" },
    term: 1,
    leaseMs: 5_000,
    majority: { needed: 2, alive: 3, reached: true },
    members: ["a", "b", "c"].map((id) => member({ id })),
    store: { name: "sqlite", id: "x", state: "ok" },
    alarms: [],
    ...change,
  };
}

export function feature(change: Partial<FeatureRow>): FeatureRow {
  return {
    name: "cad",
    version: "2026.1",
    seats: 30,
    overdraft: 0,
    inUse: 0,
    free: 30,
    queued: 0,
    denied: 0,
    debt: 0,
    retired: 0,
    starts: null,
    expires: null,
    lifeMs: 60_000,
    members: {},
    ...change,
  };
}
