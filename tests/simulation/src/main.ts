/**
 * `npm run simulate -- --seed N --steps M`: a whole pool from one seed, or `--seeds A..B` / `--seeds COUNT`
 * for many. A failure prints the end of its story and the one command that repeats it.
 */
import { parseArgs } from "node:util";
import type { SimulationOptions, SimulationResult } from "./simulation.ts";

const STEPS_DEFAULT = 80_000;
const MUTANT_SEEDS_DEFAULT = 2_000;
const MUTANT_STEPS_DEFAULT = 30_000;
const STORY_LINES_PRINTED = 60;
const USAGE = `npm run simulate -- [options]
  --seed N        one seed (default: drawn, and printed)
  --seeds A..B    all seeds from A to B; --seeds COUNT: that many from 1 on
  --steps M       events of the phase with faults, for each seed (default ${STEPS_DEFAULT})
  --members N     members of the pool (default: drawn from the seed)
  --faults a,b    only these kinds of fault ("none" for none)
  --aim NAME      aims at one corner of the protocol ("none" for none; default: drawn from the seed)
  --mutant NAME   with this planted bug (tests/simulation/mutants); stops at the first violation
  --mutants       look for every planted bug, in --seeds COUNT seeds each (default ${MUTANT_SEEDS_DEFAULT})
  --twice         run every seed twice and compare the stories byte by byte
  --trace         print the story while it happens`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string" },
      seeds: { type: "string" },
      steps: { type: "string" },
      members: { type: "string" },
      faults: { type: "string" },
      aim: { type: "string" },
      mutant: { type: "string" },
      mutants: { type: "boolean", default: false },
      twice: { type: "boolean", default: false },
      trace: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (values.mutants) {
    const { searchAll } = await import("../mutants/run.ts");
    const seeds = whole(values.seeds ?? String(MUTANT_SEEDS_DEFAULT), "--seeds");
    const each = whole(values.steps ?? String(MUTANT_STEPS_DEFAULT), "--steps");
    const only = values.mutant === undefined ? null : values.mutant.split(",");
    const missed = await searchAll({ from: 1, seeds, steps: each }, only, (line) =>
      console.log(line),
    );
    if (missed > 0) console.error(`${missed} planted bugs were not found`);
    return missed === 0 ? 0 : 1;
  }
  const steps = whole(values.steps ?? String(STEPS_DEFAULT), "--steps");
  const members = values.members === undefined ? null : whole(values.members, "--members");
  const faults = values.faults === undefined ? null : values.faults.split(",");
  // The bug must be planted before any production code is loaded.
  if (values.mutant !== undefined) (await import("../mutants/plant.ts")).plant(values.mutant);
  const { simulate } = await import("./simulation.ts");
  let failed = 0;
  for (const seed of seedsOf(values.seed, values.seeds)) {
    const options: SimulationOptions = {
      seed,
      steps,
      members,
      faults,
      aim: values.aim ?? null,
      print: values.trace ? (line) => console.log(line) : null,
    };
    const startMs = performance.now();
    const result = await simulate(options);
    const tookMs = performance.now() - startMs;
    let violation = result.violation;
    if (values.twice) {
      const again = await simulate({ ...options, print: null });
      if (again.digest !== result.digest) {
        violation = `not deterministic: ${result.digest}, then ${again.digest}`;
      }
    }
    console.log(lineOf(result, tookMs));
    if (violation === null) continue;
    failed += 1;
    if (values.mutant !== undefined) {
      console.log(`${values.mutant}: found by seed ${seed}: ${violation.split("\n")[0]}`);
      if (!values.trace) break;
    }
    for (const line of result.last.slice(-STORY_LINES_PRINTED)) console.error(line);
    console.error(`\nseed ${seed}: ${violation}\nrepeat it with:\n  ${commandOf(options)}\n`);
  }
  if (failed > 0) console.error(`${failed} seeds failed`);
  return failed === 0 ? 0 : 1;
}

function lineOf({ seed, summary, violation }: SimulationResult, tookMs: number): string {
  const speed = Math.round((summary.virtualHours * 3_600_000) / tookMs);
  const faults = Object.entries(summary.faults)
    .map(([kind, count]) => `${kind} ${count}`)
    .join(", ");
  return [
    `seed ${seed}: ${violation === null ? "ok" : "FAILED"}`,
    `${summary.profile}, ${summary.members} members, ${summary.clients} clients`,
    `${summary.virtualHours.toFixed(2)} h in ${(tookMs / 1000).toFixed(1)} s (${speed}x)`,
    `${summary.grants} grants, ${summary.renewals} renewals, ${summary.conversions} conversions, ${summary.losses} lost`,
    `${summary.refusals} refusals, ${summary.crashes} crashes, ${summary.failovers} failovers, ` +
      `${summary.epochs} epochs, ${summary.reclaimedSeats} seats reclaimed, ${summary.licenses} licenses`,
    `faults: ${faults || "none"}; ${summary.messagesLost} messages lost, ${summary.storeUnknown} unknown outcomes`,
  ].join("\n  ");
}

function commandOf({ seed, steps, members, faults, aim }: SimulationOptions): string {
  const more = [
    ...(aim === null || aim === undefined ? [] : [`--aim "${aim}"`]),
    ...(members === null ? [] : [`--members ${members}`]),
    ...(faults === null ? [] : [`--faults "${faults.join(",")}"`]),
  ];
  return ["npm run simulate --", `--seed ${seed}`, `--steps ${steps}`, ...more].join(" ");
}

function seedsOf(seed: string | undefined, seeds: string | undefined): number[] {
  if (seed !== undefined) return [whole(seed, "--seed")];
  if (seeds === undefined) return [Math.floor(Math.random() * 2 ** 31)];
  const [first = "", last] = seeds.split("..");
  const from = last === undefined ? 1 : whole(first, "--seeds");
  const to = whole(last ?? first, "--seeds");
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
}

function whole(text: string, name: string): number {
  if (!/^\d{1,12}$/.test(text)) throw new Error(`${name} needs a whole number, not "${text}"`);
  return Number(text);
}

process.exitCode = await main();
