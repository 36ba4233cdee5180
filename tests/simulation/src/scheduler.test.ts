import { describe, expect, it } from "vitest";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { VirtualMachine } from "./virtual-machine.ts";

const FOREVER = { untilMs: Infinity, done: () => false, afterEvent: () => {} };

describe("the scheduler", () => {
  it("runs events in the order of time, equal times in the order they were asked for", async () => {
    const scheduler = new Scheduler();
    const random = new Random("order");
    const ran: string[] = [];
    const asked = Array.from({ length: 500 }, (_, index) => ({
      atMs: random.whole(0, 40),
      index,
    }));
    for (const { atMs, index } of asked) scheduler.after(atMs, () => ran.push(`${atMs} ${index}`));
    await scheduler.run(FOREVER);
    const wanted = asked.sort((a, b) => a.atMs - b.atMs || a.index - b.index);
    expect(ran).toEqual(wanted.map(({ atMs, index }) => `${atMs} ${index}`));
  });

  it("lets every promise settle before the next event", async () => {
    const scheduler = new Scheduler();
    const seen: string[] = [];
    scheduler.after(1, () => {
      void (async () => {
        for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
        seen.push("settled");
      })();
    });
    scheduler.after(1, () => seen.push("next event"));
    await scheduler.run({ ...FOREVER, afterEvent: () => seen.push("looked") });
    expect(seen).toEqual(["settled", "looked", "next event", "looked"]);
  });

  it("stops at the given time and goes on from there", async () => {
    const scheduler = new Scheduler();
    let ran = 0;
    scheduler.after(10, () => (ran += 1));
    await scheduler.run({ ...FOREVER, untilMs: 9 });
    expect([scheduler.nowMs(), ran]).toEqual([9, 0]);
    await scheduler.run({ ...FOREVER, untilMs: 20 });
    expect([scheduler.nowMs(), ran]).toEqual([20, 1]);
  });

  it("does not run what was cancelled", async () => {
    const scheduler = new Scheduler();
    let ran = 0;
    scheduler.after(1, () => (ran += 1)).cancel();
    await scheduler.run(FOREVER);
    expect(ran).toBe(0);
  });
});

describe("a virtual machine", () => {
  const make = (): { scheduler: Scheduler; machine: VirtualMachine } => {
    const scheduler = new Scheduler();
    const options = { rate: 1.01, wallOffsetMs: 0, upMs: 1_000, hasBootClock: true };
    return { scheduler, machine: new VirtualMachine("ada", scheduler, options) };
  };

  it("stops the monotonic clock alone while it is suspended", async () => {
    const { scheduler, machine } = make();
    const before = machine.clocks();
    machine.stop("suspend", 500);
    await scheduler.run({ ...FOREVER, untilMs: 1_000 });
    const after = machine.clocks();
    expect(after.monotonicMs - before.monotonicMs).toBeCloseTo(505);
    expect(after.bootMs - before.bootMs).toBeCloseTo(1_010);
    expect(after.wallMs - before.wallMs).toBeCloseTo(1_010);
  });

  it("shows a hidden pause on no clock", async () => {
    const { scheduler, machine } = make();
    const before = machine.clocks();
    machine.stop("hidden", 500);
    await scheduler.run({ ...FOREVER, untilMs: 1_000 });
    expect(machine.clocks().bootMs - before.bootMs).toBeCloseTo(505);
    expect(machine.clocks().wallMs - before.wallMs).toBeCloseTo(505);
  });

  it("fires a timer late, never early, and not at all after a crash", async () => {
    const { scheduler, machine } = make();
    const process = machine.start("member", new Random("timers"));
    const { monotonicMs } = machine.clocks();
    const fired: number[] = [];
    process.runtime().after(100, () => fired.push(machine.clocks().monotonicMs - monotonicMs));
    process.runtime().after(2_000, () => fired.push(-1));
    scheduler.after(50, () => process.pause(500));
    scheduler.after(1_500, () => process.crash());
    await scheduler.run({ ...FOREVER, untilMs: 5_000 });
    expect(fired).toHaveLength(1);
    expect(fired[0]).toBeGreaterThanOrEqual(550);
  });
});
