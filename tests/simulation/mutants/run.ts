/**
 * `npm run simulate -- --mutants [--seeds N]`: looks for every planted bug, in as many processes as the
 * machine has cores, and prints the table of docs/testing.md. Fails if one is not found.
 */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { MUTANTS, type Mutant } from "./catalogue.ts";

interface Found {
  readonly seed: number;
  /** Which oracle caught it. */
  readonly oracle: string;
  readonly violation: string;
}

export interface SearchOptions {
  /** The first seed and how many. */
  readonly from: number;
  readonly seeds: number;
  readonly steps: number;
}

/** Looks for one mutant in a process of its own, because its code is planted when it is loaded. */
export function search(mutant: Mutant, options: SearchOptions): Promise<Found | null> {
  const last = options.from + options.seeds - 1;
  const child = spawn(process.execPath, [
    "--disable-warning=ExperimentalWarning",
    MAIN,
    "--mutant",
    mutant.name,
    "--seeds",
    `${options.from}..${last}`,
    "--steps",
    String(options.steps),
    ...(mutant.aim === undefined ? [] : ["--aim", mutant.aim]),
  ]);
  const output: string[] = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => output.push(text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => output.push(text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => {
      const line = FOUND.exec(output.join(""));
      const [, seed, violation] = line ?? [];
      if (seed !== undefined && violation !== undefined) {
        const oracle = ORACLE.exec(violation)?.[1] ?? "equal lists";
        resolve({ seed: Number(seed), oracle, violation });
      } else if (code === 0) resolve(null);
      else
        reject(
          new Error(`${mutant.name}: the simulator failed:\n${output.join("").slice(-2_000)}`),
        );
    });
  });
}

/** The whole catalogue. Resolves to the number of mutants that were not found. */
export async function searchAll(
  options: SearchOptions,
  only: readonly string[] | null,
  print: (line: string) => void,
): Promise<number> {
  const mutants = MUTANTS.filter(({ name }) => only === null || only.includes(name));
  const found = new Map<string, Found | null>();
  // In rounds, so that those that need few seeds are known early.
  let from = options.from;
  for (const round of [...ROUNDS, options.seeds]) {
    const seeds = Math.min(round, options.seeds) - (from - options.from);
    if (seeds <= 0) break;
    const waiting = mutants.filter(({ name }) => (found.get(name) ?? null) === null);
    const work = async (): Promise<void> => {
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const result = await search(mutant, { ...options, from, seeds });
        found.set(mutant.name, result);
        const words = result === null ? "not found" : `seed ${result.seed}, ${result.violation}`;
        print(`seeds ${from} to ${from + seeds - 1}, ${mutant.name}: ${words}`);
      }
    };
    await Promise.all(Array.from({ length: availableParallelism() }, work));
    from += seeds;
  }
  print(tableOf(mutants, found, options));
  return [...found.values()].filter((each) => each === null).length;
}

function tableOf(
  mutants: readonly Mutant[],
  found: ReadonlyMap<string, Found | null>,
  { from, seeds, steps }: SearchOptions,
): string {
  const rows = mutants.map(({ name, rule, aim = "any" }) => {
    const result = found.get(name) ?? null;
    const needed = result === null ? `not in ${seeds}` : String(result.seed - from + 1);
    return `| \`${name}\` | ${rule} | ${aim} | ${needed} | ${result?.oracle ?? "-"} |`;
  });
  return [
    `\n${steps} steps a seed\n`,
    "| mutant | rule that it breaks | workload | seeds needed | oracle |",
    "|---|---|---|---:|---|",
    ...rows,
  ].join("\n");
}

const ROUNDS = [4, 20, 100, 500] as const;
const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));
const FOUND = /: found by seed (\d+): (.*)$/m;
/** What a violation begins with, unless it compares the lists at the end. */
const ORACLE = /^([A-Za-z0-9]{1,12}): /;
