import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  CLOCK_DRIFT,
  clientLifeMs,
  effectiveLifeMs,
  heartbeatMs,
  LEASE_MS_DEFAULT,
  LIFE_IN_LEASES_MIN,
  LIFE_MS_DEFAULT,
  LIFE_MS_MAX,
  serverLifeMs,
  shortestLeaseMs,
  timingOf,
} from "./timing.ts";

const leases = fc.integer({ min: 1_000, max: 120_000 });
const lives = fc.integer({ min: 6_000, max: LIFE_MS_MAX });

test("the default lease of 5 s", () => {
  expect(timingOf(LEASE_MS_DEFAULT)).toEqual({
    leaseMs: 5_000,
    marginMs: 250,
    renewEveryMs: 1_000,
    mandateMs: 4_700,
    retireAfterMs: 5_300,
    readGapMsMax: 2_000,
    callDeadlineMs: 500,
  });
});

describe("whatever the lease", () => {
  test("a mandate ends before its member may be retired, by the worst clocks of the drift bound", () => {
    fc.assert(
      fc.property(leases, (leaseMs) => {
        const { mandateMs, retireAfterMs, marginMs } = timingOf(leaseMs);
        const slowHolder = mandateMs / (1 - CLOCK_DRIFT);
        const fastTaker = retireAfterMs / (1 + CLOCK_DRIFT);
        expect(slowHolder).toBeLessThan(fastTaker);
        expect(fastTaker - slowHolder).toBeGreaterThanOrEqual(1.9 * marginMs);
      }),
    );
  });

  test("every wait is a whole number and a mandate outlives several renewals", () => {
    fc.assert(
      fc.property(leases, (leaseMs) => {
        const timing = timingOf(leaseMs);
        for (const value of Object.values(timing)) expect(Number.isSafeInteger(value)).toBe(true);
        expect(timing.mandateMs).toBeGreaterThan(3 * timing.renewEveryMs);
        expect(timing.readGapMsMax).toBeLessThan(timing.retireAfterMs);
      }),
    );
  });
});

describe("the shortest lease", () => {
  test("the default fits a store that is away for a second and not one for three", () => {
    expect(shortestLeaseMs(LEASE_MS_DEFAULT, 1_000)).toBeNull();
    expect(shortestLeaseMs(LEASE_MS_DEFAULT, 3_000)).toBe(5_500);
  });

  test("what it proposes fits, and a tenth of a second less does not", () => {
    fc.assert(
      fc.property(leases, fc.integer({ min: 0, max: 20_000 }), (leaseMs, gapMs) => {
        const proposed = shortestLeaseMs(leaseMs, gapMs);
        if (proposed === null) return;
        expect(proposed).toBeGreaterThan(leaseMs);
        expect(shortestLeaseMs(proposed, gapMs)).toBeNull();
        expect(shortestLeaseMs(proposed - 100, gapMs)).not.toBeNull();
      }),
    );
  });
});

describe("the life of an authorization", () => {
  test("a minute is believed for less and counted for more", () => {
    expect(clientLifeMs(60_000)).toBe(59_150);
    expect(serverLifeMs(60_000)).toBe(60_850);
    expect(heartbeatMs(60_000)).toBe(20_000);
  });

  test("the client has stopped before the server counts no more, by the worst clocks", () => {
    fc.assert(
      fc.property(lives, (lifeMs) => {
        const slowClient = clientLifeMs(lifeMs) / (1 - CLOCK_DRIFT);
        const fastServer = serverLifeMs(lifeMs) / (1 + CLOCK_DRIFT);
        expect(slowClient).toBeLessThan(lifeMs);
        expect(fastServer).toBeGreaterThan(lifeMs);
        expect(2 * heartbeatMs(lifeMs)).toBeLessThan(clientLifeMs(lifeMs));
      }),
    );
  });

  test("it is never under six leases", () => {
    expect(effectiveLifeMs(undefined, LEASE_MS_DEFAULT)).toBe(LIFE_MS_DEFAULT);
    expect(effectiveLifeMs(1_000, LEASE_MS_DEFAULT)).toBe(LIFE_IN_LEASES_MIN * LEASE_MS_DEFAULT);
    expect(effectiveLifeMs(600_000, LEASE_MS_DEFAULT)).toBe(600_000);
  });
});
