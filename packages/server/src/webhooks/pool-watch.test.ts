import { describe, expect, test } from "vitest";
import type { FeatureRow, PoolAnswer, PoolMemberRow } from "@quorate/protocol";
import { PoolWatch } from "./pool-watch.ts";
import type { WatchedMember } from "./pool-watch.ts";

const NOW_MS = Date.parse("2026-11-24T08:00:00Z");
const DAY_MS = 24 * 3_600_000;

function memberRow(id: string, more: Partial<PoolMemberRow> = {}): PoolMemberRow {
  const row = { id, url: `http://${id}`, alive: true, mandate: true, state: "active", epoch: 1 };
  return { ...row, priority: 0, licenseSequence: 1, sessions: 0, leaseAgeMs: 0, ...more };
}

function featureRow(inUse: number, more: Partial<FeatureRow> = {}): FeatureRow {
  const seats = { name: "cad", version: "1", seats: 10, overdraft: 0, inUse, free: 10 - inUse };
  const counts = { queued: 0, denied: 0, debt: 0, retired: 0, starts: null, expires: null };
  return { ...seats, ...counts, lifeMs: 60_000, members: {}, ...more };
}

/** The pool as one of its members sees it. */
class Seen implements WatchedMember {
  readonly id: string;
  readonly told: unknown[] = [];
  leader = "a";
  members = [memberRow("a"), memberRow("b"), memberRow("c")];
  rows = [featureRow(0)];
  missing: string[] = [];
  expires: string | null = null;
  readonly watch: PoolWatch;
  nowMs = NOW_MS;

  constructor(id: string) {
    this.id = id;
    this.watch = new PoolWatch(this);
  }

  pool(): PoolAnswer {
    const alive = this.members.filter((each) => each.alive).length;
    return {
      pool: "acme",
      self: this.id,
      size: 3,
      leader: this.leader === "" ? null : { id: this.leader, url: "" },
      term: 1,
      leaseMs: 5_000,
      majority: { needed: 2, alive, reached: alive >= 2 },
      members: this.members,
      store: { name: "memory", id: null, state: "ok" },
      alarms: [],
    };
  }

  features = async () => ({ features: this.rows, missing: this.missing });
  license = () => ({
    sequence: 1,
    license: {
      features: [{ name: "cad", ...(this.expires === null ? {} : { expires: this.expires }) }],
    },
  });

  tell(type: string, data: Readonly<Record<string, unknown>>): void {
    this.told.push({ type, ...data });
  }

  set(id: string, more: Partial<PoolMemberRow>): void {
    this.members = this.members.map((each) => (each.id === id ? { ...each, ...more } : each));
  }

  async look(times = 1): Promise<unknown[]> {
    for (let each = 0; each < times; each += 1) {
      this.nowMs += 1_000;
      await this.watch.look(this.nowMs);
    }
    return this.told.splice(0);
  }
}

describe("the seat limit", () => {
  test("is told by the leader when it is reached, and again only after a seat was free", async () => {
    const [a, b] = [new Seen("a"), new Seen("b")];
    const both = async (row: FeatureRow): Promise<unknown[]> => {
      a.rows = [row];
      b.rows = [row];
      return [...(await a.look(2)), ...(await b.look(2))];
    };
    expect(await both(featureRow(9))).toEqual([]);
    expect(await both(featureRow(10))).toEqual([
      { type: "seat-limit-reached", feature: "cad", seats: 10 },
    ]);
    expect(await both(featureRow(10))).toEqual([]);
    expect(await both(featureRow(9))).toEqual([]);
    expect(await both(featureRow(10))).toHaveLength(1);
  });

  test("is not told again by a leader that comes when it is reached, nor in a failover", async () => {
    const b = new Seen("b");
    b.rows = [featureRow(10)];
    expect(await b.look(2)).toEqual([]);
    b.leader = "b";
    b.rows = [featureRow(4)];
    b.missing = ["c"];
    expect(await b.look(2)).toEqual([]);
    b.missing = [];
    b.rows = [featureRow(10)];
    expect(await b.look(2)).toEqual([]);
    b.rows = [featureRow(5, { free: 0, retired: 5 })];
    expect(await b.look(2)).toEqual([]);
  });
});

test("a pool that is full at its first leader's first look has reached its limit", async () => {
  const a = new Seen("a");
  a.rows = [featureRow(10)];
  a.missing = ["c"];
  expect(await a.look(2)).toEqual([]);
  a.missing = [];
  expect(await a.look(2)).toEqual([{ type: "seat-limit-reached", feature: "cad", seats: 10 }]);
});

describe("a lost member", () => {
  test("is told once, by the leader, with its epoch", async () => {
    const [a, b] = [new Seen("a"), new Seen("b")];
    for (const seen of [a, b]) {
      await seen.look();
      seen.set("c", { alive: false });
    }
    // Silence alone is not a loss: the others wait until it is certain.
    expect(await a.look(5)).toEqual([]);
    for (const seen of [a, b]) seen.set("c", { alive: false, state: "retired", epoch: 2 });
    expect(await a.look(3)).toEqual([
      { type: "member-lost", member: "c", epoch: 2, state: "retired" },
    ]);
    expect(await b.look(3)).toEqual([]);
    a.set("c", { alive: true, state: "active", epoch: 3 });
    await a.look();
    a.set("c", { alive: false, state: "broken", epoch: 4 });
    expect(await a.look(2)).toHaveLength(1);
    a.set("c", { alive: false, state: "stopped", epoch: 5 });
    expect(await a.look(2)).toEqual([]);
  });

  test("that led is told by the one that leads next, though it was seen before", async () => {
    const b = new Seen("b");
    await b.look();
    b.leader = "";
    b.set("a", { alive: false, state: "retired", epoch: 2 });
    expect(await b.look(3)).toEqual([]);
    b.leader = "b";
    expect(await b.look(3)).toEqual([
      { type: "member-lost", member: "a", epoch: 2, state: "retired" },
    ]);
  });

  test("is old news to a leader that came long after, and to one that just started", async () => {
    const b = new Seen("b");
    await b.look();
    b.set("c", { alive: false, state: "retired", epoch: 2 });
    await b.look(70);
    b.leader = "b";
    expect(await b.look(3)).toEqual([]);
    const late = new Seen("a");
    late.set("c", { alive: false, state: "retired", epoch: 2 });
    expect(await late.look(3)).toEqual([]);
  });
});

describe("a license that ends", () => {
  test("is told 30, 7 and 1 days before, each once, by the leader", async () => {
    const [a, b] = [new Seen("a"), new Seen("b")];
    const expires = new Date(NOW_MS + 40 * DAY_MS).toISOString();
    const days: unknown[] = [];
    for (let day = 0; day <= 41; day += 1) {
      for (const seen of [a, b]) {
        seen.expires = expires;
        seen.nowMs = NOW_MS + day * DAY_MS;
        for (const told of await seen.look(2)) days.push([seen.id, day, told]);
      }
    }
    const told = (left: number): object => ({
      type: "license-expires",
      feature: "cad",
      expires,
      days: left,
    });
    expect(days).toEqual([
      ["a", 10, told(30)],
      ["a", 33, told(7)],
      ["a", 39, told(1)],
    ]);
  });

  test("is not told again by the next leader, but for a new license", async () => {
    const b = new Seen("b");
    b.expires = new Date(NOW_MS + 5 * DAY_MS).toISOString();
    expect(await b.look(2)).toEqual([]);
    b.leader = "b";
    expect(await b.look(2)).toEqual([]);
    b.expires = new Date(NOW_MS + 20 * DAY_MS).toISOString();
    expect(await b.look(2)).toMatchObject([{ type: "license-expires", days: 30 }]);
  });
});

describe("the majority", () => {
  test("is told lost and reached again by the leader, if it lives", async () => {
    const a = new Seen("a");
    expect(await a.look(3)).toEqual([]);
    for (const id of ["b", "c"]) a.set(id, { alive: false });
    expect(await a.look(5)).toEqual([{ type: "majority-lost", alive: 1, needed: 2 }]);
    a.set("b", { alive: true });
    expect(await a.look(2)).toEqual([{ type: "majority-reached", alive: 2, needed: 2 }]);
  });

  test("is told by the first that lives, if the leader does not", async () => {
    const c = new Seen("c");
    await c.look();
    for (const id of ["a", "b"]) c.set(id, { alive: false });
    expect(await c.look(2)).toEqual([{ type: "majority-lost", alive: 1, needed: 2 }]);
  });

  test("that was missed for a moment is not lost", async () => {
    const a = new Seen("a");
    await a.look();
    for (const id of ["b", "c"]) a.set(id, { alive: false });
    await a.look();
    for (const id of ["b", "c"]) a.set(id, { alive: true });
    expect(await a.look(3)).toEqual([]);
  });
});
