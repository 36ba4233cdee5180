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

/** Those that need few seeds; `npm run simulate -- --mutants` looks for all. */
const QUICK = [
  "answer-before-sync",
  "give-back-writes-first",
  "renewal-undoes-retirement",
  "majority-of-the-alive",
  "retire-after-lease",
  "convert-without-confirm",
  "client-deaf-to-sleep",
  "converted-seat-handed-on",
] as const;

describe("a planted bug is found:", () => {
  it.concurrent.each(QUICK)("%s", { timeout: 30_000 }, async (name) => {
    const found = await search(mutantOf(name), { from: 1, seeds: 6, steps: 20_000 });
    expect(found?.oracle).toBeTypeOf("string");
  });
});
