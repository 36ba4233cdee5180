import { describe, expect, it } from "vitest";
import type { MemberPorts } from "./server-parts.ts";
import { simulate, type SimulationOptions } from "./simulation.ts";

const options = (seed: number, more: Partial<SimulationOptions> = {}): SimulationOptions => ({
  seed,
  steps: 40_000,
  members: null,
  faults: null,
  print: null,
  ...more,
});

/** What a person reads when a seed fails; the command repeats it. */
async function violationOf(
  seed: number,
  more: Partial<SimulationOptions> = {},
): Promise<string | null> {
  const { violation, last } = await simulate(options(seed, more));
  if (violation === null) return null;
  const command = `npm run simulate -- --seed ${seed} --steps ${options(seed, more).steps}`;
  return [...last.slice(-30), violation, command].join("\n");
}

describe("a whole pool from one seed", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])("keeps its promises with seed %i", async (seed) => {
    expect(await violationOf(seed)).toBeNull();
  });

  it("tells the same story byte by byte when it is run again", async () => {
    const first = await simulate(options(11));
    const second = await simulate(options(11));
    expect(second.digest).toBe(first.digest);
    const other = await simulate(options(12));
    expect(other.digest).not.toBe(first.digest);
  });

  it("really breaks things, and clients live through it", async () => {
    const { summary } = await simulate(options(1, { members: 3 }));
    expect(summary.grants).toBeGreaterThan(10);
    expect(summary.renewals).toBeGreaterThan(10);
    expect(Object.values(summary.faults).length).toBeGreaterThan(3);
  });
});

describe("a planted bug is found:", () => {
  /** The first violation of a few seeds, because a bug needs its occasion. */
  async function found(plant: (ports: MemberPorts) => MemberPorts): Promise<string | null> {
    for (let seed = 101; seed <= 106; seed += 1) {
      const { violation } = await simulate(options(seed, { plant, members: 3 }));
      if (violation !== null) return violation;
    }
    return null;
  }

  it("a journal that acknowledges before it has synced", async () => {
    const violation = await found((ports) => {
      const { journal } = ports;
      const append = (entries: Parameters<typeof journal.append>[0]): Promise<void> => {
        journal.append(entries).catch(() => undefined);
        return Promise.resolve();
      };
      return { ...ports, journal: { ...journal, append } };
    });
    expect(violation).toContain("I6");
  });

  it("a member whose clocks all run at a third of the true speed", async () => {
    const violation = await found((ports) => {
      const slow = (ms: number): number => ms / 3;
      const runtime: MemberPorts["runtime"] = {
        ...ports.runtime,
        clocks() {
          const { monotonicMs, bootMs, wallMs } = ports.runtime.clocks();
          return { monotonicMs: slow(monotonicMs), bootMs: slow(bootMs), wallMs: slow(wallMs) };
        },
      };
      return { ...ports, runtime };
    });
    expect(violation).not.toBeNull();
  });
});
