import { describe, expect, test } from "vitest";
import { durationWords, termWords } from "./time-words.ts";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600 * SECOND_MS;

test.each([
  [-5, "0 s"],
  [59_999, "59 s"],
  [60_000, "1 min"],
  [3 * HOUR_MS, "3 h"],
  [3 * HOUR_MS + 20 * 60_000, "3 h 20 min"],
  [47 * HOUR_MS, "47 h"],
  [48 * HOUR_MS, "2 days"],
])("%d ms reads %s", (ms, words) => {
  expect(durationWords(ms)).toBe(words);
});

describe("a term", () => {
  const nowMs = Date.parse("2026-11-24T00:00:00Z");

  test.each([
    [null, null, "no end", "plain"],
    [null, "2027-11-24T00:00:00Z", "ends in 365 days", "plain"],
    [null, "2026-12-01T00:00:00Z", "ends in 7 days", "soon"],
    [null, "2026-11-22T00:00:00Z", "ended 2 days ago", "over"],
    ["2026-11-25T00:00:00Z", null, "starts in 24 h", "soon"],
  ] as const)("from %s to %s %s", (starts, expires, words, tone) => {
    expect(termWords(starts, expires, nowMs)).toEqual({ words, tone });
  });
});
