import { expect, test } from "vitest";
import { feature } from "./test-values.ts";
import { addSample, whenFull } from "./usage.ts";
import type { Usage } from "./usage.ts";

test("the peak is kept with the moment when it was first reached", () => {
  const usage = collect([3, 7, 7, 5]);
  expect(usage).toMatchObject({ peak: 7, peakAtMs: 2_000 });
  expect(usage?.samples.map((each) => each.inUse)).toEqual([3, 7, 7, 5]);
});

test("a page that is open for days keeps a bounded number of samples and every peak", () => {
  const values = Array.from({ length: 20_000 }, (_, index) => (index === 77 ? 29 : index % 5));
  const usage = collect(values);
  expect(usage?.samples.length).toBeLessThanOrEqual(1_800);
  expect(usage?.samples.some((each) => each.inUse === 29)).toBe(true);
  expect(usage?.samples.at(-1)?.atMs).toBe(20_000 * 2_000 - 2_000);
  expect(
    usage?.samples.every(
      (each, index, all) => index === 0 || each.atMs > (all[index - 1]?.atMs ?? 0),
    ),
  ).toBe(true);
});

test("no pace is told from a moment, from rest, or from a fall", () => {
  expect(whenFull(undefined, 5, 0)).toBeNull();
  expect(whenFull(collect([1, 2, 3]), 5, 6_000)).toBeNull();
  expect(whenFull(collect(Array.from({ length: 200 }, () => 9)), 5, 400_000)).toBeNull();
  const falling = Array.from({ length: 200 }, (_, index) => 200 - index);
  expect(whenFull(collect(falling), 5, 400_000)).toBeNull();
});

test("a steady rise of one seat each four seconds fills ten seats in forty", () => {
  const rising = Array.from({ length: 200 }, (_, index) => index / 2);
  expect(whenFull(collect(rising), 10, 400_000)).toBeCloseTo(40_000, -2);
});

function collect(values: readonly number[]): Usage | undefined {
  let usage: Usage | undefined;
  for (const [index, inUse] of values.entries()) {
    usage = addSample(usage, feature({ inUse }), index * 2_000);
  }
  return usage;
}
