import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createLagMeter } from "./event-loop-lag.ts";
import type { LagMeter } from "./event-loop-lag.ts";

let nowMs: number;
let waitedMs: number;
let meter: LagMeter;

beforeEach(() => {
  vi.useFakeTimers();
  nowMs = 0;
  waitedMs = 0;
  meter = createLagMeter(
    () => waitedMs,
    () => nowMs,
  );
});

afterEach(() => {
  meter.close();
  vi.useRealTimers();
});

/** One turn of the timer that comes `lateMs` late. */
function turn(lateMs: number): void {
  nowMs += 20 + lateMs;
  vi.advanceTimersByTime(20);
}

test("an event loop in time has no lag", () => {
  for (let count = 0; count < 10; count += 1) turn(0);
  expect(meter.lagMs()).toBe(0);
});

test("lag that lasts is seen in full, and forgotten when it is over", () => {
  for (let count = 0; count < 20; count += 1) turn(100);
  expect(meter.lagMs()).toBeGreaterThan(95);
  for (let count = 0; count < 20; count += 1) turn(0);
  expect(meter.lagMs()).toBeLessThan(1);
});

test("requests that wait for their turn are late, even if the loop is in time", () => {
  waitedMs = 100;
  for (let count = 0; count < 20; count += 1) turn(0);
  expect(meter.lagMs()).toBeGreaterThan(95);
});

test("one short pause turns nobody away, and one long freeze no heartbeat", () => {
  turn(150);
  expect(meter.lagMs()).toBeLessThan(50);
  turn(60_000);
  expect(meter.lagMs()).toBeLessThan(500);
});
