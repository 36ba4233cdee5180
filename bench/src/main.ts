/**
 * Measures and prints one table: `npm run bench -- [checkouts|heartbeats|memory|failover|all]`.
 *
 *   --seconds N        of one half of a round of the throughput measurements (default 3)
 *   --json             print JSON instead of a Markdown table
 *   --cpu-prof DIR     also write CPU profiles of the servers of the throughput measurements
 *
 * Exits with 1 when a target was missed or a measurement failed. A noisy machine misses targets: what counts is a quiet one.
 */
import { parseArgs } from "node:util";
import { benchCheckouts } from "./checkouts.bench.ts";
import { benchFailover } from "./failover.bench.ts";
import { type Figure, machineLine, tableOf, tell } from "./figures.ts";
import { benchHeartbeats } from "./heartbeats.bench.ts";
import { benchMemory } from "./memory.bench.ts";
import type { BenchOptions } from "./throughput.ts";

const BENCHES: Readonly<Record<string, (options: BenchOptions) => Promise<Figure[]>>> = {
  checkouts: benchCheckouts,
  heartbeats: benchHeartbeats,
  memory: benchMemory,
  failover: benchFailover,
};
const SECONDS_DEFAULT = "3";
const SECONDS_MAX = 60;
const EXIT_MISSED = 1;
const EXIT_USAGE = 2;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: SECONDS_DEFAULT },
    json: { type: "boolean", default: false },
    "cpu-prof": { type: "string" },
  },
});
const seconds = Number(values.seconds);
const all = positionals.length === 0 || positionals.includes("all");
const wanted = all ? Object.keys(BENCHES) : positionals;
const unknown = wanted.filter((name) => !Object.hasOwn(BENCHES, name));
if (unknown.length > 0 || !(seconds > 0 && seconds <= SECONDS_MAX)) {
  console.error(
    `usage: npm run bench -- [${Object.keys(BENCHES).join("|")}|all] [--seconds 1..${SECONDS_MAX}] [--json] [--cpu-prof DIR]`,
  );
  process.exit(EXIT_USAGE);
}

const profile = values["cpu-prof"];
const options: BenchOptions = {
  seconds,
  nodeFlags: profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`],
};
const machine = machineLine();
tell(machine);
const figures: Figure[] = [];
let failed = false;
for (const name of wanted) {
  try {
    figures.push(...((await BENCHES[name]?.(options)) ?? []));
  } catch (error) {
    // The others are measured all the same, and the run is a failed one.
    failed = true;
    tell(
      `${name} FAILED: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }
}
if (values.json) console.log(JSON.stringify({ machine, figures }, null, 2));
else console.log(`${machine}\n\n${tableOf(figures)}`);
process.exit(failed || figures.some(({ met }) => met === false) ? EXIT_MISSED : 0);
