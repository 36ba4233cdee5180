import { describe, expect, test } from "vitest";
import { instantMs, majorityOf, seatsOf, sequenceVerdict, termsVerdict } from "./license.ts";
import type { LicenseFeature } from "./license.ts";

const feature: LicenseFeature = {
  name: "solver",
  version: "2026.1",
  seats: 10,
  starts: "2026-01-01T00:00:00Z",
  expires: "2027-01-01T00:00:00Z",
};
const during = Date.parse("2026-06-01T12:00:00Z");

test.each([
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 3],
  [5, 3],
  [15, 8],
])("a pool of %d needs %d", (size, needed) => {
  expect(majorityOf(size)).toBe(needed);
  // Two majorities always share a member.
  expect(2 * needed).toBeGreaterThan(size);
});

test("an overdraft adds to the seats that may be in use", () => {
  expect(seatsOf(feature)).toBe(10);
  expect(seatsOf({ ...feature, overdraft: 3 })).toBe(13);
});

describe("terms", () => {
  test("the ceiling covers its own version and those below", () => {
    expect(termsVerdict(feature, "2026.1", during)).toBe("covered");
    expect(termsVerdict(feature, "2025.12", during)).toBe("covered");
    expect(termsVerdict(feature, undefined, during)).toBe("covered");
    expect(termsVerdict(feature, "2026.2", during)).toBe("version-not-covered");
  });

  test("the term begins with its start and ends before its expiry", () => {
    const startsMs = Date.parse("2026-01-01T00:00:00Z");
    const expiresMs = Date.parse("2027-01-01T00:00:00Z");
    expect(termsVerdict(feature, "1", startsMs - 1)).toBe("not-started");
    expect(termsVerdict(feature, "1", startsMs)).toBe("covered");
    expect(termsVerdict(feature, "1", expiresMs - 1)).toBe("covered");
    expect(termsVerdict(feature, "1", expiresMs)).toBe("feature-expired");
  });

  test("a feature without dates is covered at any time", () => {
    const { name, version, seats } = feature;
    expect(termsVerdict({ name, version, seats }, "1", 0)).toBe("covered");
  });

  test("an instant names its own zone", () => {
    expect(instantMs("2026-01-01T02:00:00+02:00")).toBe(instantMs("2026-01-01T00:00:00Z"));
    expect(instantMs("soon")).toBeNaN();
  });
});

describe("sequence (I7)", () => {
  const inForce = { sequence: 4, canonical: "four" };

  test("the newest license wins", () => {
    expect(sequenceVerdict({ sequence: 5, canonical: "five" }, inForce)).toBe("newer");
    expect(sequenceVerdict({ sequence: 1, canonical: "one" }, null)).toBe("newer");
    expect(sequenceVerdict({ sequence: 3, canonical: "three" }, inForce)).toBe("older");
  });

  test("the same number with other content is a conflict", () => {
    expect(sequenceVerdict({ ...inForce }, inForce)).toBe("same");
    expect(sequenceVerdict({ sequence: 4, canonical: "other" }, inForce)).toBe("conflict");
  });
});
