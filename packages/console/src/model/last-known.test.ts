import { expect, test } from "vitest";
import { withLastKnown } from "./last-known.ts";
import { feature } from "./test-values.ts";

const FULL = {
  features: [
    feature({
      inUse: 9,
      free: 21,
      members: { a: { seats: 10, inUse: 5 }, b: { seats: 10, inUse: 4 } },
    }),
  ],
  missing: [],
};
const ALONE = {
  features: [
    feature({
      inUse: 4,
      free: 26,
      members: { a: { seats: 10, inUse: 0 }, b: { seats: 10, inUse: 4 } },
    }),
  ],
  missing: ["a"],
};

test("a full answer stands as it is", () => {
  expect(withLastKnown(ALONE, FULL, new Set(["a"]))).toBe(FULL);
  expect(withLastKnown(null, ALONE, new Set())).toBe(ALONE);
});

test("a server that is missing keeps what was last heard of it", () => {
  const { features } = withLastKnown(FULL, ALONE, new Set(["a", "b"]));
  expect(features[0]).toMatchObject({
    inUse: 9,
    free: 21,
    members: { a: { seats: 10, inUse: 5 } },
  });
});

test("seats of a dead server were not counted as free, so they are not taken off", () => {
  expect(withLastKnown(FULL, ALONE, new Set(["b"])).features[0]).toMatchObject({
    inUse: 9,
    free: 26,
  });
});

test("seats that moved away meanwhile are not counted twice", () => {
  const retired = {
    features: [feature({ inUse: 9, members: { b: { seats: 15, inUse: 9 } } })],
    missing: ["a"],
  };
  expect(withLastKnown(FULL, retired, new Set(["b"])).features[0]?.inUse).toBe(9);
});
