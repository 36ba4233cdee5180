/**
 * A few quick faults on machines of their own; `npm run faults` runs all. Root, iproute2, iptables and etcd
 * are needed: where CI is set, their absence is an error.
 */
import { describe, expect, test } from "vitest";
import { whyNoMachines } from "./network.ts";
import { ROWS } from "./rows.ts";
import { run } from "./run.ts";

const SCALE = { machines: 3, clients: 60 };
const QUICK = ["kill-machine", "freeze-leader"];
const ROW_MS_MAX = 180_000;

function isSkipped(): boolean {
  const why = whyNoMachines();
  if (why === null) return false;
  if (process.env["CI"] !== undefined) throw new Error(why);
  console.log(`skipped: ${why}`);
  return true;
}

describe.skipIf(isSkipped())("three machines", { concurrent: true }, () => {
  for (const row of ROWS.filter(({ name }) => QUICK.includes(name))) {
    test(`${row.title}: no seat too many, no session lost`, { timeout: ROW_MS_MAX }, async () => {
      const result = await run(row, SCALE);
      expect(result.failure).toBeNull();
      expect(result).toMatchObject({ overIssued: 0, lost: 0, lostWithout: 0 });
    });
  }
});
