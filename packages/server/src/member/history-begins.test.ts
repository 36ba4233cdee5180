import * as fc from "fast-check";
import { expect, test } from "vitest";
import { HistoryBegins } from "./history-begins.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

test("nothing is known of a member, a feature or an earlier time that was not read", () => {
  const begins = new HistoryBegins(() => 0);
  expect(begins.placeFor("a", "cad", 10 * DAY_MS)).toBeNull();
  begins.note("a", "cad", { fromMs: 10 * DAY_MS, toMs: 11 * DAY_MS }, 9 * DAY_MS);
  expect(begins.placeFor("a", "cad", 10 * DAY_MS)).toEqual({
    atMs: 9 * DAY_MS - HOUR_MS,
    row: 0,
  });
  expect(begins.placeFor("a", "cad", 12 * DAY_MS)).not.toBeNull();
  expect(begins.placeFor("a", "cad", 10 * DAY_MS - 1)).toBeNull();
  expect(begins.placeFor("b", "cad", 10 * DAY_MS)).toBeNull();
  expect(begins.placeFor("a", "sim", 10 * DAY_MS)).toBeNull();
  expect(begins.placeFor("a", undefined, 10 * DAY_MS)).toBeNull();
});

test("where nothing reached into the time, it begins with the time itself", () => {
  const begins = new HistoryBegins(() => 0);
  begins.note("a", undefined, { fromMs: 10 * DAY_MS, toMs: 11 * DAY_MS }, null);
  expect(begins.placeFor("a", undefined, 10 * DAY_MS)?.atMs).toBe(10 * DAY_MS - HOUR_MS);
});

test("after six hours everything is read again, and then it is known anew", () => {
  let nowMs = 0;
  const begins = new HistoryBegins(() => nowMs);
  const asked = { fromMs: 10 * DAY_MS, toMs: 11 * DAY_MS };
  begins.note("a", "cad", asked, null);
  nowMs = 5 * HOUR_MS;
  // A reading from a known place does not make the place younger.
  begins.note("a", "cad", asked, null);
  nowMs = 6 * HOUR_MS;
  expect(begins.placeFor("a", "cad", 10 * DAY_MS)).toBeNull();
  begins.note("a", "cad", asked, null);
  expect(begins.placeFor("a", "cad", 10 * DAY_MS)).not.toBeNull();
});

test("no use that lies in the asked time is ever before the place", () => {
  const anyUse = fc.record({
    start: fc.integer({ min: 0, max: 400 }),
    length: fc.integer({ min: 0, max: 200 }),
  });
  const anyAsked = fc.record({
    from: fc.integer({ min: 0, max: 400 }),
    length: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(
    fc.property(
      fc.array(anyUse, { maxLength: 30 }),
      fc.array(anyAsked, { minLength: 1, maxLength: 12 }),
      (uses, asks) => {
        const begins = new HistoryBegins(() => 0);
        for (const { from, length } of asks) {
          const fromMs = from * HOUR_MS;
          const inside = uses
            .filter(({ start, length: lasts }) => start < from && start + lasts > from)
            .map(({ start }) => start * HOUR_MS);
          const placeMs = begins.placeFor("a", "cad", fromMs)?.atMs ?? -Infinity;
          for (const startMs of [...inside, fromMs]) expect(startMs).toBeGreaterThan(placeMs);
          const oldestMs = inside.length === 0 ? null : Math.min(...inside);
          begins.note("a", "cad", { fromMs, toMs: fromMs + length * HOUR_MS }, oldestMs);
        }
      },
    ),
  );
});
