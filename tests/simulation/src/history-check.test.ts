import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { overIssueCost, overIssues, type Hold, type Limit } from "./history-check.ts";

const limit = (atMs: number, seats: number): Limit => ({ atMs, feature: "cad", seats });
const hold = (fromMs: number, toMs: number, seats = 1): Hold => ({
  feature: "cad",
  seats,
  fromMs,
  toMs,
});

describe("the check of a history", () => {
  it("accepts as many holds as there are seats", () => {
    expect(overIssues([hold(1, 5), hold(2, 6)], [limit(0, 2)])).toEqual([]);
  });

  it("finds one hold too many, when it begins", () => {
    expect(overIssues([hold(1, 5), hold(2, 6), hold(4, 9)], [limit(0, 2)])).toEqual([
      { feature: "cad", atMs: 4, held: 3, allowed: 2 },
    ]);
  });

  it("lets a seat be taken in the instant in which it is given back", () => {
    expect(overIssues([hold(1, 5), hold(5, 6)], [limit(0, 1)])).toEqual([]);
  });

  it("counts holds that began together as one finding with the highest count", () => {
    expect(overIssues([hold(3, 5), hold(3, 6), hold(3, 6)], [limit(0, 1)])).toEqual([
      { feature: "cad", atMs: 3, held: 3, allowed: 1 },
    ]);
  });

  it("throws nobody out when the license shrinks, but lets nobody in", () => {
    const holds = [hold(1, 20), hold(2, 10), hold(3, 30)];
    expect(overIssues(holds, [limit(0, 3), limit(5, 1)])).toEqual([]);
    expect(overIssues([...holds, hold(12, 40)], [limit(0, 3), limit(5, 1)])).toEqual([
      { feature: "cad", atMs: 12, held: 3, allowed: 2 },
    ]);
  });

  it("does not make a seat too many lawful by a change of the license", () => {
    const holds = [hold(1, 20), hold(2, 20), hold(8, 20)];
    expect(overIssues(holds, [limit(0, 1), limit(5, 1)])).toEqual([
      { feature: "cad", atMs: 2, held: 2, allowed: 1 },
      { feature: "cad", atMs: 8, held: 3, allowed: 1 },
    ]);
  });

  it("keeps features apart and knows no seat of a feature without a license", () => {
    expect(overIssues([hold(1, 5), { ...hold(1, 5), feature: "cam" }], [limit(0, 1)])).toEqual([
      { feature: "cam", atMs: 1, held: 1, allowed: 0 },
    ]);
  });

  it("ignores intervals that are empty and takes those without an end", () => {
    expect(overIssues([hold(4, 4), hold(5, 3), hold(1, Infinity)], [limit(0, 1)])).toEqual([]);
    expect(overIssues([hold(1, Infinity), hold(9, 10)], [limit(0, 1)])).toHaveLength(1);
  });

  it("agrees with counting every pair", () => {
    const time = fc.integer({ min: 0, max: 12 });
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            feature: fc.constantFrom("cad", "cam"),
            seats: fc.integer({ min: 1, max: 3 }),
            fromMs: time,
            toMs: time,
          }),
          { maxLength: 14 },
        ),
        // The limits of one feature at one instant would have no order.
        fc.uniqueArray(
          fc.record({
            atMs: time,
            feature: fc.constantFrom("cad", "cam"),
            seats: fc.integer({ min: 0, max: 8 }),
          }),
          { maxLength: 6, selector: (entry) => `${entry.feature} ${entry.atMs}` },
        ),
        (holds, limits) => {
          expect(inOrder(overIssues(holds, limits))).toEqual(inOrder(everyPair(holds, limits)));
        },
      ),
      { numRuns: 500 },
    );
  });

  it("checks 100,000 holds in less than two seconds", () => {
    const holds = Array.from({ length: 100_000 }, (_, index) =>
      hold(index, index + 50 + (index % 7)),
    );
    const startMs = performance.now();
    expect(overIssues(holds, [limit(0, 60)])).toEqual([]);
    expect(performance.now() - startMs).toBeLessThan(2_000);
  });
});

type Finding = ReturnType<typeof overIssues>[number];

function inOrder(findings: Finding[]): Finding[] {
  return findings.sort((a, b) => a.atMs - b.atMs || (a.feature < b.feature ? -1 : 1));
}

/** The same by going through all holds at every instant. */
function everyPair(holds: readonly Hold[], limits: readonly Limit[]): Finding[] {
  const found: Finding[] = [];
  for (const feature of ["cad", "cam"]) {
    const own = holds.filter((hold) => hold.feature === feature && hold.toMs > hold.fromMs);
    const sum = (those: readonly Hold[]): number =>
      those.reduce((seats, hold) => seats + hold.seats, 0);
    let licensed = 0;
    let allowed = 0;
    for (let atMs = 0; atMs <= 12; atMs += 1) {
      const staying = sum(own.filter((hold) => hold.fromMs < atMs && atMs < hold.toMs));
      const before = sum(own.filter((hold) => hold.fromMs < atMs && atMs <= hold.toMs));
      if (staying < before) allowed = Math.max(licensed, Math.min(allowed, staying));
      const change = limits.find((limit) => limit.feature === feature && limit.atMs === atMs);
      if (change !== undefined) {
        licensed = change.seats;
        allowed = Math.max(licensed, Math.min(allowed, staying));
      }
      const held = sum(own.filter((hold) => hold.fromMs <= atMs && atMs < hold.toMs));
      if (held > staying && held > allowed) found.push({ feature, atMs, held, allowed });
    }
  }
  return found;
}

describe("the cost of an over-issue", () => {
  it("is nothing where nobody held too much", () => {
    expect(overIssueCost([hold(1, 5), hold(5, 6)], [limit(0, 1)])).toEqual({
      seatsMax: 0,
      seatMs: 0,
      longestMs: 0,
    });
  });

  it("counts seats, time and the longest interval", () => {
    const holds = [hold(0, 100), hold(10, 30), hold(20, 40), hold(50, 60)];
    expect(overIssueCost(holds, [limit(0, 1)])).toEqual({
      seatsMax: 2,
      seatMs: 10 + 2 * 10 + 10 + 10,
      longestMs: 30,
    });
  });
});
