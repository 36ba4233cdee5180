import { describe, expect, test } from "vitest";
import { ConversionGate } from "./conversion-gate.ts";

const FULL = 2_000;
const LIFE_MS = 60_000;

describe("the gate of conversions", () => {
  test("lets in whoever comes while few are under way", () => {
    const gate = new ConversionGate();
    expect(gate.waitMs(499, LIFE_MS, 0, 0)).toBeNull();
  });

  test("gives turns to the others, one after the other, at the speed of lately", () => {
    const gate = new ConversionGate();
    for (let nowMs = 1_000; nowMs <= 4_000; nowMs += 100) gate.settled(200, nowMs);
    const turns = Array.from({ length: 2_001 }, () => gate.waitMs(FULL, LIFE_MS, 4_000, 0) ?? 0);
    expect(turns[0]).toBeLessThan(120);
    // 2,000 a second, so the two thousandth waits for a second.
    expect(turns[2_000]! - turns[0]!).toBeGreaterThan(900);
    expect(turns[2_000]! - turns[0]!).toBeLessThan(1_100);
  });

  test("has no more under way than it serves in half a second", () => {
    const gate = new ConversionGate();
    for (let nowMs = 1_000; nowMs <= 4_000; nowMs += 100) gate.settled(40, nowMs);
    expect(gate.waitMs(199, LIFE_MS, 4_000, 0)).toBeNull();
    expect(gate.waitMs(201, LIFE_MS, 4_000, 0)).not.toBeNull();
    // A lull before a rush says nothing of the speed.
    gate.settled(1, 60_000);
    gate.settled(1, 60_100);
    expect(gate.waitMs(199, LIFE_MS, 60_200, 0)).toBeNull();
    for (let nowMs = 61_000; nowMs <= 64_000; nowMs += 100) gate.settled(1, nowMs);
    expect(gate.waitMs(99, LIFE_MS, 64_000, 0)).toBeNull();
    expect(gate.waitMs(100, LIFE_MS, 64_000, 0)).not.toBeNull();
  });

  test("spreads those for whom no turn is left", () => {
    const gate = new ConversionGate();
    const waits = Array.from(
      { length: 120_000 },
      (_, i) => gate.waitMs(FULL, LIFE_MS, 0, (i % 10) / 10) ?? 0,
    );
    expect(Math.max(...waits)).toBeLessThanOrEqual(LIFE_MS / 4);
    const late = waits.slice(60_000);
    expect(Math.min(...late)).toBeGreaterThanOrEqual(LIFE_MS / 8);
    expect(new Set(late).size).toBeGreaterThan(5);
  });
});
