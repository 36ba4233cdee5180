import { describe, expect, test } from "vitest";
import type { UsageSeriesAnswer } from "@quorate/protocol";
import { SERIES_STEPS_MAX } from "@quorate/protocol";
import {
  beginOf,
  drawingOfSeries,
  drawingOfUsage,
  seriesWords,
  SHAPES,
  STRETCHES,
} from "./series.ts";

const NOW_MS = Date.parse("2026-11-24T12:34:56Z");

const ANSWER: UsageSeriesAnswer = {
  from: "2026-11-24T10:00:00.000Z",
  to: "2026-11-24T12:00:00.000Z",
  stepMs: 3_600_000,
  feature: "cad",
  steps: [
    { at: "2026-11-24T10:00:00.000Z", peakSeats: 4, averageSeats: 2.5, denied: 0 },
    { at: "2026-11-24T11:00:00.000Z", peakSeats: 3, averageSeats: 1.5, denied: 2 },
  ],
  missing: [],
};

describe("a stretch of time", () => {
  test("begins on a round step of the reader's clock, and fits into one answer", () => {
    for (const stretch of STRETCHES) {
      const { spanMs, stepMs } = SHAPES[stretch];
      const beginMs = beginOf(stretch, NOW_MS);
      expect(NOW_MS - beginMs).toBeGreaterThanOrEqual(spanMs);
      expect(NOW_MS - beginMs).toBeLessThan(spanMs + stepMs);
      const minutes = new Date(beginMs).getHours() * 60 + new Date(beginMs).getMinutes();
      expect((minutes * 60_000) % stepMs).toBe(0);
      expect(new Date(beginMs).getSeconds()).toBe(0);
      expect(spanMs / stepMs + 1).toBeLessThan(SERIES_STEPS_MAX);
    }
  });
});

describe("a drawing", () => {
  test("of a series has its steps, the seats as a line and the peak of all", () => {
    const drawing = drawingOfSeries(ANSWER, 10);
    expect(drawing).toMatchObject({ peaks: [4, 3], seats: [10, 10], denied: [0, 2], peak: 4 });
    expect(seriesWords(drawing, { inUse: 3, seats: 10 }, "in the last day")).toBe(
      "3 of 10 seats in use now, at most 4 in the last day, 2.0 on average, 2 requests denied",
    );
  });

  test("of what the page has seen knows neither averages nor denials", () => {
    const samples = [{ atMs: NOW_MS, inUse: 2, queued: 0, seats: 5 }];
    const drawing = drawingOfUsage({ samples, peak: 3, peakAtMs: NOW_MS });
    expect(drawing).toMatchObject({ times: [NOW_MS], averages: null, denied: null, peak: 3 });
    expect(seriesWords(drawing, { inUse: 2, seats: 5 }, "since you opened this page")).toBe(
      "2 of 5 seats in use now, at most 3 since you opened this page",
    );
  });

  test("of nothing is empty", () => {
    expect(drawingOfSeries({ ...ANSWER, steps: [] }, 10).peak).toBe(0);
  });
});
