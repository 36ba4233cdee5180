import { describe, expect, it } from "vitest";
import { reduce, shrink } from "./shrink.ts";
import { simulate, type SimulationOptions } from "./simulation.ts";

describe("shrinking", () => {
  it("leaves only what is needed, in few tries", async () => {
    const needed = ["17", "42", "43"];
    let kept: readonly string[] = Array.from({ length: 64 }, (_, index) => String(index));
    let tries = 0;
    await reduce(
      () => kept,
      async (fewer) => {
        tries += 1;
        const fails = needed.every((each) => fewer.includes(each));
        if (fails) kept = fewer;
        return fails;
      },
    );
    expect(kept).toEqual(needed);
    expect(tries).toBeLessThan(64);
  });

  it("finds a shorter story that breaks the same promise", async () => {
    const options: SimulationOptions = {
      seed: 101,
      steps: 30_000,
      members: 3,
      faults: null,
      aim: "none",
      print: null,
      // Nothing is ever durable, so the first crash breaks I6.
      plant: (ports) => ({
        ...ports,
        journal: {
          ...ports.journal,
          append: (entries) => {
            ports.journal.append(entries).catch(() => undefined);
            return Promise.resolve();
          },
        },
      }),
    };
    const failed = await simulate(options);
    expect(failed.violation).not.toBeNull();
    const short = await shrink(options, failed, 10_000);
    expect(short?.result.violation?.split(":")[0]).toBe(failed.violation?.split(":")[0]);
    expect(short?.options.onlyFaults?.length).toBeLessThanOrEqual(failed.happened.length);
    expect(short?.options.onlyClients?.length).toBeLessThan(failed.clients.length);
    expect(short?.story.at(-1)).toContain("VIOLATION");
  });
});
