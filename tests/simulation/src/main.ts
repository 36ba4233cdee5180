/**
 * `npm run simulate`: whole pools, each from one seed. A failure prints the one command that repeats it, and
 * the shortest story that still fails.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { commandOf, seedInWords, Totals } from "./report.ts";
import type { SimulationOptions, SimulationResult } from "./simulation.ts";

const MINUTES_DEFAULT = 10;
const MUTANT_SEEDS_DEFAULT = 2_000;
const MUTANT_STEPS_DEFAULT = 30_000;
const SHRINK_SECONDS_DEFAULT = 60;
/** More failures than this are only named. */
const FAILURES_SHRUNK_MAX = 3;
const STORY_LINES_PRINTED = 120;
const PROGRESS_EVERY_MS = { terminal: 500, log: 30_000 } as const;
const USAGE = `npm run simulate -- [options]
  --seed N          one seed (default: drawn, and printed)
  --seeds COUNT     the seeds 1 to COUNT; A..B: from A to B; fresh:COUNT: drawn, and printed; a,b,c: these
  --jobs N          processes for many seeds (default: one a core)
  --minutes M       virtual minutes of the phase with faults (default ${MINUTES_DEFAULT})
  --steps M         at most this many events of it, whatever the time
  --members N       members of the pool (default: drawn from the seed)
  --faults a,b      only these kinds of fault ("none" for none)
  --aim NAME        aims at one corner of the protocol ("none" for none; default: drawn from the seed)
  --drift-beyond X  clocks go wrong by up to X (0.05 is 5 %): measures what that costs
  --only-faults     only these faults, by name ("crash#3,pause#1")
  --only-clients    only these clients do anything before the end
  --twice           run every seed twice and compare the stories byte by byte
  --shrink SECONDS  look this long for the shortest story of a failure (default ${SHRINK_SECONDS_DEFAULT}, 0: don't)
  --trace           print the story while it happens
  --mutant NAME     with this planted bug (tests/simulation/mutants); stops at the first violation
  --mutants         look for every planted bug, in --seeds COUNT seeds each (default ${MUTANT_SEEDS_DEFAULT})`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string" },
      seeds: { type: "string" },
      jobs: { type: "string" },
      minutes: { type: "string" },
      steps: { type: "string" },
      members: { type: "string" },
      faults: { type: "string" },
      aim: { type: "string" },
      "drift-beyond": { type: "string" },
      "only-faults": { type: "string" },
      "only-clients": { type: "string" },
      shrink: { type: "string" },
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
  if (values.mutants) return searchMutants(values.seeds, values.steps, values.mutant);
  const steps = values.steps === undefined ? Infinity : whole(values.steps, "--steps");
  const minutes = values.minutes ?? (values.steps === undefined ? String(MINUTES_DEFAULT) : null);
  const drift = values["drift-beyond"];
  const common: Omit<SimulationOptions, "seed"> = {
    steps,
    minutes: minutes === null ? null : whole(minutes, "--minutes"),
    members: values.members === undefined ? null : whole(values.members, "--members"),
    faults: values.faults?.split(",") ?? null,
    aim: values.aim ?? null,
    onlyFaults: values["only-faults"]?.split(",") ?? null,
    onlyClients: values["only-clients"]?.split(",") ?? null,
    driftBeyond: drift === undefined ? null : share(drift, "--drift-beyond"),
    print: values.trace ? (line) => console.log(line) : null,
  };
  const shrinkMs = 1_000 * whole(values.shrink ?? String(SHRINK_SECONDS_DEFAULT), "--shrink");
  const seeds = seedsOf(values.seed, values.seeds);
  if (values.mutant !== undefined) return hunt(values.mutant, seeds, common);
  const jobs = whole(values.jobs ?? String(availableParallelism()), "--jobs");
  return seeds.length === 1 || values.trace || jobs === 0
    ? runHere(seeds, common, values.twice, shrinkMs)
    : runMany(seeds, common, values.twice, shrinkMs, jobs);
}

async function runHere(
  seeds: readonly number[],
  common: Omit<SimulationOptions, "seed">,
  twice: boolean,
  shrinkMs: number,
): Promise<number> {
  const { runSeed } = await import("./seed-worker.ts");
  let failed = 0;
  for (const seed of seeds) {
    const options = { ...common, seed };
    const { result, tookMs } = await runSeed(options, twice);
    console.log(seedInWords(result, tookMs));
    if (result.violation === null) continue;
    failed += 1;
    await tellFailure(options, result, failed <= FAILURES_SHRUNK_MAX ? shrinkMs : 0);
  }
  return failed === 0 ? 0 : 1;
}

async function runMany(
  seeds: readonly number[],
  common: Omit<SimulationOptions, "seed">,
  twice: boolean,
  shrinkMs: number,
  jobs: number,
): Promise<number> {
  const { runSeeds } = await import("./runner.ts");
  const totals = new Totals();
  const failures: SimulationResult[] = [];
  const startedMs = performance.now();
  let toldMs = startedMs;
  const { print: _print, ...sent } = common;
  // Who stops a long run still learns what was done.
  const stopped = (): void => {
    console.log(`stopped by hand\n${totals.inWords(performance.now() - startedMs)}`);
    process.exit(failures.length === 0 ? 0 : 1);
  };
  process.once("SIGINT", stopped);
  process.once("SIGTERM", stopped);
  await runSeeds(
    seeds,
    (seed) => ({ options: { ...sent, seed }, twice }),
    jobs,
    ({ result, tookMs }) => {
      totals.add(result, tookMs);
      const nowMs = performance.now();
      const terminal = process.stderr.isTTY;
      if (result.violation !== null) {
        failures.push(result);
        const [what] = result.violation.split("\n");
        console.error(
          `seed ${result.seed}: ${what}\n  ${commandOf({ ...common, seed: result.seed })}`,
        );
      }
      if (nowMs - toldMs < PROGRESS_EVERY_MS[terminal ? "terminal" : "log"]) return;
      toldMs = nowMs;
      const line = totals.progress(seeds.length, startedMs, nowMs);
      process.stderr.write(terminal ? `\r${line}   ` : `${line}\n`);
    },
  );
  if (process.stderr.isTTY) process.stderr.write("\n");
  console.log(totals.inWords(performance.now() - startedMs));
  failures.sort((a, b) => a.seed - b.seed);
  for (const [index, result] of failures.entries()) {
    const options = { ...common, seed: result.seed };
    await tellFailure(options, result, index < FAILURES_SHRUNK_MAX ? shrinkMs : 0);
  }
  return failures.length === 0 ? 0 : 1;
}

async function tellFailure(
  options: SimulationOptions,
  result: SimulationResult,
  shrinkMs: number,
): Promise<void> {
  const { shrink } = await import("./shrink.ts");
  const short = shrinkMs === 0 ? null : await shrink(options, result, shrinkMs);
  const story = short?.story ?? result.last;
  if (story.length > STORY_LINES_PRINTED) {
    console.error(`... ${story.length - STORY_LINES_PRINTED} lines before`);
  }
  for (const line of story.slice(-STORY_LINES_PRINTED)) console.error(line);
  console.error(`\nseed ${options.seed}: ${short?.result.violation ?? result.violation}`);
  console.error(`repeat it with:\n  ${commandOf(options)}`);
  if (short === null) {
    if (shrinkMs > 0) console.error("it did not fail when it was repeated");
  } else console.error(`shrunk in ${short.runs} runs to:\n  ${commandOf(short.options)}`);
  console.error("");
}

// ---- planted bugs -------------------------------------------------------------------------------------

async function searchMutants(
  seeds: string | undefined,
  steps: string | undefined,
  mutant: string | undefined,
): Promise<number> {
  const { searchAll } = await import("../mutants/run.ts");
  const missed = await searchAll(
    {
      from: 1,
      seeds: whole(seeds ?? String(MUTANT_SEEDS_DEFAULT), "--seeds"),
      steps: whole(steps ?? String(MUTANT_STEPS_DEFAULT), "--steps"),
    },
    mutant?.split(",") ?? null,
    (line) => console.log(line),
  );
  if (missed > 0) console.error(`${missed} planted bugs were not found`);
  return missed === 0 ? 0 : 1;
}

/** One planted bug, in this process, until the first violation. */
async function hunt(
  mutant: string,
  seeds: readonly number[],
  common: Omit<SimulationOptions, "seed">,
): Promise<number> {
  // The bug must be planted before any production code is loaded.
  (await import("../mutants/plant.ts")).plant(mutant);
  const { runSeed } = await import("./seed-worker.ts");
  for (const seed of seeds) {
    const { result, tookMs } = await runSeed({ ...common, seed }, false);
    console.log(seedInWords(result, tookMs));
    if (result.violation === null) continue;
    console.log(`${mutant}: found by seed ${seed}: ${result.violation.split("\n")[0]}`);
    return 1;
  }
  return 0;
}

// ---- arguments ------------------------------------------------------------------------------------------

function seedsOf(seed: string | undefined, seeds: string | undefined): number[] {
  const drawn = (): number => Math.floor(Math.random() * 2 ** 31);
  if (seed !== undefined) return [whole(seed, "--seed")];
  if (seeds === undefined) return [drawn()];
  const [kind, count = ""] = seeds.split(":");
  if (kind === "fresh") {
    const fresh = Array.from({ length: whole(count, "--seeds fresh:") }, drawn);
    console.log(`fresh seeds: ${fresh.join(",")}`);
    return fresh;
  }
  if (seeds.includes(",")) return seeds.split(",").map((each) => whole(each, "--seeds"));
  const [first = "", last] = seeds.split("..");
  const from = last === undefined ? 1 : whole(first, "--seeds");
  const to = whole(last ?? first, "--seeds");
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
}

function whole(text: string, name: string): number {
  if (!/^\d{1,12}$/.test(text)) throw new Error(`${name} needs a whole number, not "${text}"`);
  return Number(text);
}

function share(text: string, name: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new Error(`${name} needs a number like 0.05, not "${text}"`);
  return value;
}

process.exitCode = await main();
