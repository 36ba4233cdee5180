import { describe, expect, test } from "vitest";
import { ConversionGate } from "./conversion-gate.ts";

const FULL = 2_000;
const LIFE_MS = 60_000;

describe("the gate of conversions", () => {
  test("lets in whoever comes while few are under way", () => {
    const gate = new ConversionGate();
    expect(gate.waitMs("one", 499, LIFE_MS, 0, 0)).toBeNull();
  });

  test("gives turns to the others, one after the other, at the speed of lately", () => {
    const gate = new ConversionGate();
    serve(gate, { fromMs: 1_000, untilMs: 4_000, each: 200 });
    const turns = Array.from({ length: 2_001 }, (_, i) => comes(gate, `${i}`, FULL, 4_000) ?? 0);
    expect(turns[0]).toBeLessThan(120);
    // 2,000 a second, so the two thousandth waits for a second.
    expect(turns[2_000]! - turns[0]!).toBeGreaterThan(900);
    expect(turns[2_000]! - turns[0]!).toBeLessThan(1_100);
  });

  test("knows what it could serve if it had to tell fewer to come later", () => {
    const gate = new ConversionGate();
    for (let nowMs = 1_000; nowMs <= 4_000; nowMs += 100) {
      gate.settled(200, nowMs);
      for (let i = 0; i < 600; i += 1) comes(gate, "out", FULL, nowMs);
    }
    const turns = Array.from({ length: 3_001 }, (_, i) => comes(gate, `${i}`, FULL, 90_000) ?? 0);
    // 600 answers cost as much as 100 conversions.
    expect(turns[3_000]! - turns[0]!).toBeGreaterThan(900);
    expect(turns[3_000]! - turns[0]!).toBeLessThan(1_100);
  });

  test("has no more under way than it serves in half a second", () => {
    const gate = new ConversionGate();
    serve(gate, { fromMs: 1_000, untilMs: 4_000, each: 40 });
    expect(comes(gate, "one", 199, 4_000)).toBeNull();
    expect(comes(gate, "one", 201, 4_000)).not.toBeNull();
    // A lull before a rush says nothing of the speed.
    gate.settled(1, 60_000);
    gate.settled(1, 60_100);
    expect(comes(gate, "two", 199, 60_200)).toBeNull();
    serve(gate, { fromMs: 61_000, untilMs: 64_000, each: 1 });
    expect(comes(gate, "three", 99, 64_000)).toBeNull();
    expect(comes(gate, "four", 100, 64_000)).not.toBeNull();
  });

  test("takes few that come for slowness only when somebody had to stay out", () => {
    const gate = new ConversionGate();
    for (let nowMs = 1_000; nowMs <= 8_000; nowMs += 100) gate.settled(1, nowMs);
    expect(comes(gate, "one", 1_333, 8_000)).toBeNull();
    serve(gate, { fromMs: 9_000, untilMs: 12_000, each: 1 });
    expect(comes(gate, "two", 100, 12_000)).not.toBeNull();
    for (let nowMs = 13_000; nowMs <= 16_000; nowMs += 100) gate.settled(200, nowMs);
    expect(comes(gate, "three", 999, 16_000)).toBeNull();
    expect(comes(gate, "four", 1_010, 16_000)).not.toBeNull();
  });

  test("lets those in first who come back at their turn, once each", () => {
    const gate = new ConversionGate();
    serve(gate, { fromMs: 1_000, untilMs: 4_000, each: 200 });
    expect(comes(gate, "told", 1_010, 4_000)).not.toBeNull();
    expect(comes(gate, "new", 1_010, 4_200)).not.toBeNull();
    expect(comes(gate, "told", 1_499, 4_200)).toBeNull();
    expect(comes(gate, "told", 1_499, 4_300)).not.toBeNull();
    expect(comes(gate, "told", 1_520, 4_300)).not.toBeNull();
    // Long after the end of any authorization it is like new.
    expect(comes(gate, "another", FULL, 4_300 + 2 * LIFE_MS)).not.toBeNull();
    expect(comes(gate, "told", 1_499, 4_300 + 2 * LIFE_MS)).not.toBeNull();
  });

  test("spreads those for whom no turn is left", () => {
    const gate = new ConversionGate();
    const waits = Array.from(
      { length: 120_000 },
      (_, i) => gate.waitMs(`${i}`, FULL, LIFE_MS, 0, (i % 10) / 10) ?? 0,
    );
    expect(Math.max(...waits)).toBeLessThanOrEqual(LIFE_MS / 4);
    const late = waits.slice(60_000);
    expect(Math.min(...late)).toBeGreaterThanOrEqual(LIFE_MS / 8);
    expect(new Set(late).size).toBeGreaterThan(5);
  });
});

function comes(
  gate: ConversionGate,
  session: string,
  underWay: number,
  nowMs: number,
): number | null {
  return gate.waitMs(session, underWay, LIFE_MS, nowMs, 0);
}

/** So many each 100 ms, while others have to stay out. */
function serve(
  gate: ConversionGate,
  { fromMs, untilMs, each }: { fromMs: number; untilMs: number; each: number },
): void {
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += 100) {
    gate.settled(each, nowMs);
    // Turns of the past do not matter later.
    gate.waitMs("out", FULL, LIFE_MS, nowMs, 0);
  }
}
