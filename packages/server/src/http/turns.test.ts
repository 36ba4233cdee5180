import { setImmediate as round } from "node:timers/promises";
import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

const REQUEST_MS = 1;
const REQUESTS = 40;

/** How many requests were looked at in each round of the event loop, at most and in all. */
async function serveAll(turns: Turns, comes: () => void): Promise<{ most: number; all: number }> {
  const request = {
    looked: 0,
    takeTurn(): void {
      const untilMs = performance.now() + REQUEST_MS;
      while (performance.now() < untilMs);
      this.looked += 1;
    },
  };
  comes();
  for (let count = 0; count < REQUESTS; count += 1) turns.take(request);
  let most = request.looked;
  while (request.looked < REQUESTS) {
    comes();
    const before = request.looked;
    await round();
    most = Math.max(most, request.looked - before);
  }
  return { most, all: request.looked };
}

test("looks at several requests in a round, and lets the loop go round between them", async () => {
  const { most, all } = await serveAll(new Turns(), () => undefined);
  expect(all).toBe(REQUESTS);
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThan(REQUESTS / 2);
});

test("looks at one in a round while new connections come: one is accepted in each", async () => {
  const turns = new Turns();
  const { most, all } = await serveAll(turns, () => turns.connected());
  expect(all).toBe(REQUESTS);
  expect(most).toBe(1);
});
