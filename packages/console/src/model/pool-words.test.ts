import { describe, expect, test } from "vitest";
import type { FeatureRow, PoolAnswer } from "@quorate/protocol";
import { healthOf, listWords, memberLook, memberWords, runsOut, seatsInUse } from "./pool-words.ts";
import { addSample } from "./usage.ts";
import type { Usage } from "./usage.ts";
import { feature, member, pool } from "./test-values.ts";

const NOW_MS = Date.parse("2026-11-24T12:00:00Z");

describe("is the pool healthy", () => {
  test("all is well with every server up", () => {
    expect(healthOf(pool())).toMatchObject({ tone: "good", short: "All well: 3 of 3 servers up" });
  });

  test("with the smallest majority no other server may fail", () => {
    const health = healthOf(withAlive(2));
    expect(health.tone).toBe("warn");
    expect(health.more).toMatch(
      /^c is missing\. The majority is reached: .* no other server may fail/,
    );
  });

  test("a larger pool says how many more may fail", () => {
    const majority = { needed: 3, alive: 4, reached: true };
    expect(healthOf(pool({ size: 5, majority })).more).toContain("1 more may fail");
  });

  test("without a majority nothing is granted", () => {
    expect(healthOf(withAlive(1))).toMatchObject({
      tone: "bad",
      short: "No majority: 1 of 3 servers up",
      more: "Nothing new is granted or renewed until 2 of 3 are up.",
    });
  });

  test("without a leader seats don't move", () => {
    expect(healthOf(pool({ leader: null })).short).toBe("3 of 3 servers up, no leader");
  });

  test("a pool without a license is told to get one", () => {
    expect(healthOf(pool({ size: 0 })).short).toBe("No license yet");
  });

  function withAlive(alive: number): PoolAnswer {
    return pool({
      majority: { needed: 2, alive, reached: alive >= 2 },
      members: ["a", "b", "c"].map((id, index) => member({ id, alive: index < alive })),
    });
  }
});

describe("a member", () => {
  test("that the pool counts as alive but that broke its stream is silent, not gone", () => {
    expect(memberLook(member({}), true)).toBe("silent");
    expect(memberLook(member({ alive: false }), true)).toBe("gone");
    expect(memberLook(member({ mandate: false }), false)).toBe("waiting");
    expect(memberLook(member({}), false)).toBe("granting");
  });

  test("that was stopped on purpose is told apart from one that died", () => {
    expect(memberWords(member({ state: "stopped" }), "gone")).toBe("stopped on purpose");
    expect(memberWords(member({ state: "retired" }), "gone")).toBe("down");
  });
});

test("the busiest features are named first", () => {
  const { short, more } = seatsInUse([
    feature({ name: "cad", inUse: 3, seats: 30 }),
    feature({ name: "sim", inUse: 8, seats: 8 }),
    feature({ name: "idle", inUse: 0, seats: 5 }),
  ]);
  expect(short).toBe("11 of 43 seats in use");
  expect(more).toBe("sim 8/8 · cad 3/30");
});

describe("when something runs out", () => {
  test("a feature that ended comes before everything", () => {
    const ended = feature({ name: "sim", expires: "2026-11-01T00:00:00Z", free: 0 });
    expect(out([ended])).toMatchObject({ tone: "bad", short: "sim ended" });
  });

  test("a full feature with people waiting is bad, without is a warning", () => {
    const full = feature({ name: "sim", free: 0, inUse: 8, queued: 2 });
    expect(out([full])).toMatchObject({ tone: "bad", short: "sim full now" });
    expect(out([full]).more).toBe("2 waiting. No feature has an end.");
    expect(out([{ ...full, queued: 0 }]).tone).toBe("warn");
  });

  test("a steady rise says when the last seat goes", () => {
    const row = feature({ name: "cad", seats: 30, free: 10, inUse: 20 });
    let usage: Usage | undefined;
    // One seat a minute for five minutes.
    for (let second = 300; second >= 0; second -= 2) {
      const inUse = 20 - Math.floor(second / 60);
      usage = addSample(usage, { ...row, inUse }, NOW_MS - second * 1_000);
    }
    const usages = new Map(usage === undefined ? [] : [["cad", usage]]);
    expect(runsOut([row], usages, NOW_MS).short).toMatch(/^cad in about (9|10|11) min$/);
  });

  test("plenty of seats and a far term is no matter", () => {
    const row = feature({ name: "cad", free: 20, expires: "2027-11-24T12:00:00Z" });
    expect(out([row])).toEqual({
      tone: "good",
      short: "Not soon: cad has 20 of 30 free",
      more: "cad ends in 365 days.",
    });
  });

  test("a last seat is a warning even when nothing moves", () => {
    expect(out([feature({ name: "cad", free: 1 })])).toMatchObject({
      tone: "warn",
      short: "cad has 1 of 30 free",
    });
  });

  function out(rows: FeatureRow[]) {
    return runsOut(rows, new Map(), NOW_MS);
  }
});

test("long lists of names are cut", () => {
  expect(listWords(["a"])).toBe("a");
  expect(listWords(["a", "b"])).toBe("a and b");
  expect(listWords(["a", "b", "c"])).toBe("a, b and c");
  expect(listWords(["a", "b", "c", "d", "e"])).toBe("a, b and 3 more");
});
