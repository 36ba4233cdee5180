import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JournaledUse } from "../journal/journal.ts";
import { USAGE_KEYS_MAX, UsageTally } from "./usage-tally.ts";

const HOUR_MS = 3_600_000;

function use(
  session: string,
  startHour: number,
  endHour: number | null,
  more: Partial<JournaledUse> = {},
): JournaledUse {
  return {
    session,
    key: "ana",
    seats: 1,
    startMs: startHour * HOUR_MS,
    endMs: endHour === null ? null : endHour * HOUR_MS,
    ...more,
  };
}

function tallied(uses: readonly JournaledUse[], fromHour: number, toHour: number) {
  const tally = new UsageTally(fromHour * HOUR_MS, toHour * HOUR_MS);
  for (const one of uses) tally.add(one);
  return tally.finish(100);
}

describe("a tally of usage", () => {
  test("says peak, average and hours by key", () => {
    const uses = [use("a", 1, 3), use("b", 2, 4, { seats: 2 }), use("c", 5, 7, { key: "bo" })];
    const { rows, total, keys } = tallied(uses, 0, 10);
    expect(rows).toEqual([
      { key: "ana", uses: 2, peakSeats: 3, averageSeats: 0.6, seatHours: 6, denied: 0 },
      { key: "bo", uses: 1, peakSeats: 1, averageSeats: 0.2, seatHours: 2, denied: 0 },
    ]);
    expect(total).toEqual({ uses: 3, peakSeats: 3, averageSeats: 0.8, seatHours: 8, denied: 0 });
    expect(keys).toBe(2);
  });

  test("counts of a use only what lies in the asked time", () => {
    expect(tallied([use("a", 0, 8), use("b", 2, null)], 4, 10).total).toEqual({
      uses: 2,
      peakSeats: 2,
      averageSeats: 1.667,
      seatHours: 10,
      denied: 0,
    });
  });

  test("a seat that is given back and taken at one instant is one seat", () => {
    expect(tallied([use("a", 0, 2), use("b", 2, 4)], 0, 4).total.peakSeats).toBe(1);
  });

  test("a session that another server took over is one use of one seat", () => {
    // The server that died comes back later and ends what its journal holds.
    const { total } = tallied([use("a", 0, 5), use("a", 2, 4)], 0, 10);
    expect(total).toMatchObject({ uses: 1, peakSeats: 1, seatHours: 4 });
  });

  test("what was in use together only before the asked time is no peak", () => {
    const uses = [use("a", 0, 9), use("b", 0, 9, { seats: 5 }), use("b", 1, 9, { seats: 2 })];
    expect(tallied(uses, 4, 9).total.peakSeats).toBe(3);
  });

  test("counts denials, also of who never had a seat", () => {
    const tally = new UsageTally(0, HOUR_MS);
    tally.deny("ana", 2);
    tally.deny("ana", 1);
    expect(tally.finish(1)).toMatchObject({
      rows: [{ key: "ana", uses: 0, denied: 3 }],
      total: { denied: 3 },
    });
  });

  test("beyond its bound of keys counts in the total alone", () => {
    const tally = new UsageTally(0, HOUR_MS);
    for (let key = 0; key < USAGE_KEYS_MAX + 5; key += 1) tally.deny(`k${key}`, 1);
    const { rows, total, keys } = tally.finish(10);
    expect([rows.length, keys, total.denied]).toEqual([10, USAGE_KEYS_MAX, USAGE_KEYS_MAX + 5]);
  });

  test("agrees with counting every hour one by one", () => {
    const anyUse = fc.record({
      start: fc.integer({ min: 0, max: 20 }),
      length: fc.option(fc.integer({ min: 0, max: 10 })),
      seats: fc.integer({ min: 1, max: 4 }),
      key: fc.constantFrom("ana", "bo"),
    });
    const anyTime = fc.tuple(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 11, max: 25 }));
    fc.assert(
      fc.property(fc.array(anyUse, { maxLength: 30 }), anyTime, (made, [from, to]) => {
        const uses = made
          .toSorted((a, b) => a.start - b.start)
          .map(({ start, length, seats, key }, index) =>
            use(`s${index}`, start, length === null ? null : start + length, { seats, key }),
          )
          .filter(({ endMs }) => endMs === null || endMs > from * HOUR_MS);
        const hours = Array.from({ length: to - from }, (_, index) => from + index);
        const inUse = (hour: number): number =>
          uses
            .filter(
              ({ startMs, endMs }) =>
                startMs <= hour * HOUR_MS && (endMs ?? Infinity) > hour * HOUR_MS,
            )
            .reduce((sum, { seats }) => sum + seats, 0);
        const { total } = tallied(uses, from, to);
        const perHour = hours.map(inUse);
        expect(total.seatHours).toBe(perHour.reduce((sum, each) => sum + each, 0));
        expect(total.peakSeats).toBeGreaterThanOrEqual(Math.max(...perHour));
        // A use of no length may stand above the whole hours, by its own seats.
        const empty = uses.filter(({ startMs, endMs }) => endMs === startMs);
        if (empty.length === 0) expect(total.peakSeats).toBe(Math.max(...perHour));
      }),
    );
  });
});
