import { describe, expect, it } from "vitest";
import { aimNames } from "../src/aimed-workloads.ts";
import { changesOf, mutantOf, mutated, MUTANTS } from "./catalogue.ts";
import { sourceOf } from "./plant.ts";
import { search } from "./run.ts";

describe("the catalogue of planted bugs", () => {
  it.each(MUTANTS)("still finds the place of $name exactly once", (mutant) => {
    for (const change of changesOf(mutant)) {
      const source = sourceOf(change);
      expect(mutated(source, change)).not.toBe(source);
    }
  });

  it("gives each a name of its own and a workload that exists", () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    expect(MUTANTS.length).toBeGreaterThanOrEqual(25);
    const aims = MUTANTS.flatMap(({ aim }) => aim ?? []);
    expect(aims.filter((aim) => aim !== "none" && !aimNames().includes(`"${aim}"`))).toEqual([]);
  });

  it("refuses a change whose place is gone or there twice", () => {
    const change = { file: "a.ts", find: "x", replace: "y" };
    expect(() => mutated("nothing", change)).toThrow("0 places");
    expect(() => mutated("xx", change)).toThrow("2 places");
    expect(() => mutantOf("no such mutant")).toThrow("no mutant");
  });
});

/**
 * Those that about half of all seeds find or more, so that a change of anything that moves the dice does not
 * lose them; `npm run simulate -- --mutants` looks for all.
 */
const QUICK = [
  "answer-before-sync",
  "client-deaf-to-sleep",
  "client-life-from-answer",
  "converted-seat-handed-on",
  "give-back-writes-first",
  "license-older-accepted",
  "majority-of-the-alive",
  "session-ended-by-wall-clock",
  "stopped-member-answers",
  "term-not-raised",
] as const;
/** One that every second seed finds is missed by all of these once in a million times. */
const QUICK_SEEDS = 20;

describe("a planted bug is found:", () => {
  it.concurrent.each(QUICK)("%s", { timeout: 120_000 }, async (name) => {
    const found = await search(mutantOf(name), { from: 1, seeds: QUICK_SEEDS, steps: 20_000 });
    expect(found?.oracle).toBeTypeOf("string");
  });
});
