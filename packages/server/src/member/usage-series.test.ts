import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JournaledUse } from "../journal/journal.ts";
import { UsageSeries } from "./usage-series.ts";

const HOUR_MS = 3_600_000;

function use(session: string, startHour: number, endHour: number | null, seats = 1): JournaledUse {
  const endMs = endHour === null ? null : endHour * HOUR_MS;
  return { session, key: "cad", seats, startMs: startHour * HOUR_MS, endMs };
}

function seriesOf(uses: readonly JournaledUse[], fromHour: number, toHour: number, step = 1) {
  const series = new UsageSeries(fromHour * HOUR_MS, toHour * HOUR_MS, step * HOUR_MS);
  for (const one of uses) series.add(one);
  return series.finish();
}

describe("a series of usage", () => {
  test("says peak and average of each step", () => {
    const steps = seriesOf([use("a", 1, 3), use("b", 2, 2.5, 2), use("c", 4.25, 4.75)], 0, 6);
    expect(steps.map((step) => step.peakSeats)).toEqual([0, 1, 3, 0, 1, 0]);
    expect(steps.map((step) => step.averageSeats)).toEqual([0, 1, 2, 0, 0.5, 0]);
    expect(steps[2]?.at).toBe("1970-01-01T02:00:00.000Z");
  });

  test("counts what began before and what is not over, and cuts the last step", () => {
    const steps = seriesOf([use("a", 0, 8), use("b", 2, null, 4)], 4, 9, 2);
    expect(steps.map((step) => step.peakSeats)).toEqual([5, 5, 4]);
    expect(steps.map((step) => step.averageSeats)).toEqual([5, 5, 4]);
  });

  test("a seat that is given back and taken at one instant is one seat", () => {
    expect(seriesOf([use("a", 0, 2), use("b", 2, 4)], 0, 4, 4)[0]?.peakSeats).toBe(1);
  });

  test("a session that another server took over is one seat", () => {
    const steps = seriesOf([use("a", 0, 5), use("a", 2, 4)], 0, 6, 6);
    expect(steps).toMatchObject([{ peakSeats: 1, averageSeats: 0.667 }]);
  });

  test("counts refused requests in their step, and none outside", () => {
    const series = new UsageSeries(0, 3 * HOUR_MS, HOUR_MS);
    for (const step of ["1", "1", "2", "3", "-1", "cad"]) series.deny(step, 2);
    expect(series.finish().map((step) => step.denied)).toEqual([0, 4, 2]);
  });

  test("ends only as many uses at once as it may", () => {
    const series = new UsageSeries(0, 9 * HOUR_MS, HOUR_MS);
    for (let number = 0; number < 5; number += 1) series.add(use(`s${number}`, 0, 1));
    expect([series.advance(2 * HOUR_MS, 3), series.advance(2 * HOUR_MS, 3)]).toEqual([false, true]);
    expect(series.finish().map((step) => step.peakSeats)).toEqual([5, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test("agrees with looking at every quarter of an hour", () => {
    const anyUse = fc.record({
      start: fc.integer({ min: 0, max: 80 }),
      length: fc.option(fc.integer({ min: 1, max: 40 })),
      seats: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(
        fc.array(anyUse, { maxLength: 30 }),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 9 }),
        (made, from, length, step) => {
          const to = from + length;
          const uses = made
            .toSorted((a, b) => a.start - b.start)
            .map(({ start, length: lasts, seats }, index) =>
              use(`s${index}`, start / 4, lasts === null ? null : (start + lasts) / 4, seats),
            );
          const inUse = (quarter: number): number =>
            uses
              .filter(({ startMs, endMs }) => {
                const atMs = (quarter * HOUR_MS) / 4;
                return startMs <= atMs && (endMs ?? Infinity) > atMs;
              })
              .reduce((sum, { seats }) => sum + seats, 0);
          const steps = seriesOf(uses, from / 4, to / 4, step / 4);
          expect(steps).toHaveLength(Math.ceil(length / step));
          for (const [index, { peakSeats, averageSeats }] of steps.entries()) {
            const first = from + index * step;
            const quarters = Array.from({ length: Math.min(step, to - first) }, (_, quarter) =>
              inUse(first + quarter),
            );
            expect(peakSeats).toBe(Math.max(...quarters));
            const sum = quarters.reduce((total, each) => total + each, 0);
            expect(averageSeats).toBeCloseTo(sum / quarters.length, 2);
          }
        },
      ),
    );
  });
});
