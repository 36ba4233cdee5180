import * as fc from "fast-check";
import { expect, test } from "vitest";
import { compareVersions } from "./version.ts";

test.each([
  ["2026.1", "2026.1", 0],
  ["2026.2", "2026.1", 1],
  ["2026.9", "2026.10", -1],
  ["9", "10", -1],
  ["11.16.2", "11.16", 1],
  ["1", "1.0.0", 0],
  ["01.2", "1.02", 0],
  ["1.2", "1.x", -1],
  ["1.beta", "1.alpha", 1],
  ["1.0-rc", "1.0", 1],
])("%s against %s is %d", (left, right, order) => {
  expect(compareVersions(left, right)).toBe(order);
});

const parts = fc.oneof(fc.nat(30).map(String), fc.constantFrom("a", "b", "rc1", "01", "1-2"));
const versions = fc.array(parts, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("."));

test("versions are ordered: turned around the sign turns, and the order is transitive", () => {
  fc.assert(
    fc.property(versions, versions, versions, (a, b, c) => {
      expect(compareVersions(a, a)).toBe(0);
      expect(compareVersions(a, b) + compareVersions(b, a)).toBe(0);
      const [low, middle, high] = [a, b, c].sort(compareVersions);
      expect(compareVersions(low ?? "", middle ?? "")).toBeLessThanOrEqual(0);
      expect(compareVersions(middle ?? "", high ?? "")).toBeLessThanOrEqual(0);
      expect(compareVersions(low ?? "", high ?? "")).toBeLessThanOrEqual(0);
    }),
  );
});
