import { readFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { MemberPorts } from "./server-parts.ts";
import { simulate, type SimulationOptions } from "./simulation.ts";

const FIXED_SEEDS = 300;
const FRESH_SEEDS = 50;
const CI_MINUTES = 4;
const RUNNER_MS_MAX = 280_000;

const options = (seed: number, more: Partial<SimulationOptions> = {}): SimulationOptions => ({
  seed,
  steps: 40_000,
  members: null,
  faults: null,
  print: null,
  ...more,
});

/** The runner as a person calls it; what it prints is printed. */
function run(args: readonly string[]): Promise<{ readonly code: number | null; text: string }> {
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", main, ...args]);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => {
      console.log(text);
      resolve({ code, text });
    });
  });
}

function seedsThatFoundBugs(): number[] {
  const file = new URL("../seeds.json", import.meta.url);
  const known: { readonly seeds: readonly { readonly seed: number }[] } = JSON.parse(
    readFileSync(file, "utf8"),
  );
  return known.seeds.map(({ seed }) => seed);
}

describe("whole pools, each from one seed", () => {
  it(
    "keep their promises with the fixed seeds and with every seed that ever found a bug",
    async () => {
      const fixed = Array.from({ length: FIXED_SEEDS }, (_, index) => index + 1);
      const seeds = [...new Set([...fixed, ...seedsThatFoundBugs()])].join(",");
      const minutes = String(CI_MINUTES);
      const { code } = await run(["--seeds", seeds, "--minutes", minutes, "--shrink", "20"]);
      expect(code).toBe(0);
    },
    RUNNER_MS_MAX,
  );

  it(
    "keep their promises with fresh seeds, whose numbers are printed",
    async () => {
      const seeds = `fresh:${FRESH_SEEDS}`;
      const minutes = String(CI_MINUTES);
      const { code } = await run(["--seeds", seeds, "--minutes", minutes, "--shrink", "20"]);
      expect(code).toBe(0);
    },
    RUNNER_MS_MAX,
  );
});

describe("a pool from one seed", () => {
  it("tells the same story byte by byte when it is run again", async () => {
    const { code, text } = await run(["--seeds", "1..20", "--minutes", "2", "--twice"]);
    expect(text).not.toContain("not deterministic");
    expect(code).toBe(0);
    const first = await simulate(options(11));
    const other = await simulate(options(12));
    expect(other.digest).not.toBe(first.digest);
  }, 60_000);

  it("really breaks things, and clients live through it", async () => {
    const { summary } = await simulate(options(1, { members: 3, aim: "none" }));
    expect(summary.grants).toBeGreaterThan(10);
    expect(summary.renewals).toBeGreaterThan(10);
    expect(Object.values(summary.faults).length).toBeGreaterThan(3);
  });

  it("only measures what clocks beyond the bound cost", async () => {
    const { violation, summary } = await simulate(options(3, { driftBeyond: 0.2, steps: 20_000 }));
    expect(violation).toBeNull();
    expect(summary.overIssue).not.toBeNull();
  });
});

describe("a planted bug is found:", () => {
  /** The first violation of a few seeds, because a bug needs its occasion. */
  async function found(plant: (ports: MemberPorts) => MemberPorts): Promise<string | null> {
    for (let seed = 101; seed <= 106; seed += 1) {
      const { violation } = await simulate(options(seed, { plant, members: 3, aim: "none" }));
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
