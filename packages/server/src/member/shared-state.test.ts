import { timingOf } from "@quorate/core";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FaultyStore, type Fate } from "../store/faulty-store.ts";
import { MemoryStore } from "../store/memory-store.ts";
import { StoreLostError } from "../store/store.ts";
import { type Nonced, SharedState } from "./shared-state.ts";
import { VirtualTime } from "./virtual-time.ts";

interface Log extends Nonced {
  readonly entries: readonly string[];
}

interface Handle {
  readonly store: FaultyStore;
  readonly state: SharedState;
}

function open(ids: readonly string[]): {
  time: VirtualTime;
  backing: MemoryStore;
  handles: Handle[];
} {
  const time = new VirtualTime();
  const backing = new MemoryStore();
  const handles = ids.map((id) => {
    const store = new FaultyStore(backing, (ms, callback) => time.after(ms, callback));
    return { store, state: new SharedState(store, time.runtime(id), id, timingOf(5_000)) };
  });
  return { time, backing, handles };
}

function first(handles: readonly Handle[]): Handle {
  const [handle] = handles;
  if (handle === undefined) throw new Error("there is one");
  return handle;
}

function stored(backing: MemoryStore): Log | null {
  const { read } = backing.apply({ compare: [], puts: [], reads: ["log"] });
  return read[0] === undefined ? null : (JSON.parse(read[0].value) as Log);
}

function append(state: SharedState, entry: string): ReturnType<SharedState["change"]> {
  return state.change<Log>("log", (current) => ({
    value: { entries: [...(current?.entries ?? []), entry], nonces: current?.nonces ?? {} },
  }));
}

/** Fates one after the other; when they are used up, all goes well. */
function fates(list: readonly Fate[]): () => Fate {
  let next = 0;
  return () => list[next++] ?? { kind: "answered" };
}

describe("a write whose outcome is unknown", () => {
  test.each([
    ["was applied", { kind: "lost" }],
    ["never arrived", { kind: "never" }],
    ["is applied while the writer looks", { kind: "late", ms: 550 }],
    ["is applied long after", { kind: "late", ms: 30_000 }],
  ] satisfies [string, Fate][])("ends as applied once: it %s", async (_what, fate) => {
    const { time, backing, handles } = open(["ada"]);
    const { store, state } = first(handles);
    await time.outcome(append(state, "before"));
    store.fate = fates([fate]);
    expect(await time.outcome(append(state, "entry"))).toMatchObject({ applied: true });
    await time.pass(60_000);
    expect(stored(backing)?.entries).toEqual(["before", "entry"]);
  });

  test("is followed by a write of only a new nonce, never by the same write again", async () => {
    const { time, backing, handles } = open(["ada"]);
    const { store, state } = first(handles);
    await time.outcome(append(state, "before"));
    const seen: string[][] = [];
    const next = fates([{ kind: "never" }]);
    store.fate = ({ puts }) => {
      for (const { value } of puts) seen.push([...(JSON.parse(value) as Log).entries]);
      return next();
    };
    await time.outcome(append(state, "entry"));
    expect(seen).toEqual([["before", "entry"], ["before"], ["before", "entry"]]);
    expect(stored(backing)?.entries).toEqual(["before", "entry"]);
  });

  test("keeps the next write of the key waiting until it is settled", async () => {
    const { time, backing, handles } = open(["ada"]);
    const { store, state } = first(handles);
    await time.outcome(append(state, "before"));
    let away = true;
    store.fate = () => (away ? { kind: "never" } : { kind: "answered" });
    let done = 0;
    for (const entry of ["one", "two"]) void append(state, entry).then(() => (done += 1));
    await time.pass(10_000);
    expect(done).toBe(0);
    away = false;
    await time.until("both are settled", () => done === 2);
    expect(stored(backing)?.entries).toEqual(["before", "one", "two"]);
  });

  test("with a second compare that failed was never applied, and its plan is made anew", async () => {
    const { time, backing, handles } = open(["ada"]);
    const { store, state } = first(handles);
    backing.apply({ compare: [], puts: [{ key: "leader", value: "{}" }], reads: [] });
    await state.transact({ reads: ["leader"] });
    let plans = 0;
    const led = (): ReturnType<SharedState["change"]> =>
      state.change<Log>("log", (current) => {
        plans += 1;
        if (state.revisionOf("leader") > 1) return "this server does not lead any more";
        return {
          value: { entries: ["led"], nonces: current?.nonces ?? {} },
          compare: [{ key: "leader", revision: 1 }],
        };
      });
    store.fate = fates([{ kind: "late", ms: 5_000 }]);
    const written = led();
    backing.apply({
      compare: [{ key: "leader", revision: 1 }],
      puts: [{ key: "leader", value: '{"term":2}' }],
      reads: [],
    });
    expect(await time.outcome(written)).toEqual({
      applied: false,
      reason: "this server does not lead any more",
    });
    expect(plans).toBe(2);
    await time.pass(10_000);
    expect(stored(backing)).toBeNull();
  });
});

describe("what is known", () => {
  test("never goes back, from whatever path it comes", () => {
    const { state } = first(open(["ada"]).handles);
    const changes: string[] = [];
    state.onChange = (key) => changes.push(key);
    state.takeIn([{ key: "a", value: '"new"', revision: 7 }]);
    state.takeIn([{ key: "a", value: '"old"', revision: 6 }]);
    state.takeIn([{ key: "a", value: '"other"', revision: 7 }]);
    expect(state.get("a")).toMatchObject({ value: "new", revision: 7 });
    expect(changes).toEqual(["a"]);
  });

  test("all of one read is known before anybody is told of it", () => {
    const { state } = first(open(["ada"]).handles);
    const seen: (number | undefined)[] = [];
    state.onChange = () => seen.push(state.get<number>("a")?.value, state.get<number>("b")?.value);
    state.takeIn([
      { key: "a", value: "1", revision: 1 },
      { key: "b", value: "2", revision: 1 },
    ]);
    expect(seen).toEqual([1, 2, 1, 2]);
  });

  test("is not taken from an answer below what was seen before its question: the store went back", async () => {
    const { time, handles } = open(["ada"]);
    const { state } = first(handles);
    await time.outcome(append(state, "one"));
    await time.outcome(append(state, "two"));
    const old = open(["ada"]);
    await time.outcome(append(first(old.handles).state, "restored"));
    const backwards: [number, number][] = [];
    const { store } = first(old.handles);
    const restored = new SharedState(store, time.runtime("ada"), "ada", timingOf(5_000));
    restored.onBackwards = (revision, seen) => backwards.push([revision, seen]);
    restored.revision = state.revision;
    const outcome = await time.outcome(restored.transact({ reads: ["log"] }));
    expect(outcome.outcome).toBe("unknown");
    expect(backwards).toEqual([[1, 2]]);
    expect(restored.get("log")).toBeNull();
  });

  test.each(["an older state", "no state"])(
    "of a key that the store has in %s shows that it went back, whatever others wrote since",
    async (state) => {
      const { time, backing, handles } = open(["ada"]);
      const member = first(handles);
      const own = "member/ada";
      backing.apply({ compare: [], puts: [{ key: own, value: "1" }], reads: [] });
      const backup = new Map(backing.data.changes);
      backing.apply({ compare: [], puts: [{ key: own, value: "2" }], reads: [] });
      await time.outcome(member.state.transact({ reads: ["member/"] }));
      backing.data.changes.clear();
      if (state === "an older state") {
        for (const [key, change] of backup) backing.data.changes.set(key, change);
      }
      backing.apply({ compare: [], puts: [{ key: "member/bob", value: "1" }], reads: [] });
      const backwards: string[] = [];
      member.state.onKeyBackwards = (key) => backwards.push(key);
      const outcome = await time.outcome(member.state.transact({ reads: ["member/"] }));
      expect(outcome.outcome).toBe("unknown");
      expect(backwards).toEqual([own]);
    },
  );

  test("answers that overtake each other are no store that goes back", async () => {
    const { time, backing, handles } = open(["ada"]);
    const { store, state } = first(handles);
    let backwards = 0;
    state.onBackwards = () => (backwards += 1);
    store.fate = fates([{ kind: "slow", ms: 400 }]);
    const slow = state.transact({ reads: ["a"] });
    backing.apply({ compare: [], puts: [{ key: "a", value: "1" }], reads: [] });
    await time.outcome(state.transact({ reads: ["a"] }));
    expect(state.revision).toBe(1);
    expect((await time.outcome(slow)).outcome).toBe("applied");
    expect(backwards).toBe(0);
    expect(state.get("a")).toMatchObject({ value: 1, revision: 1 });
  });

  test("an answer of before everything was forgotten is not taken in", async () => {
    const { time, backing, handles } = open(["ada"]);
    const { store, state } = first(handles);
    await time.outcome(append(state, "of the store that is gone"));
    store.fate = fates([{ kind: "slow", ms: 400 }]);
    const late = state.transact({ reads: ["log"] });
    state.forget();
    backing.apply({
      compare: [],
      puts: [{ key: "log", value: JSON.stringify({ entries: ["new"], nonces: {} }) }],
      reads: [],
    });
    expect((await time.outcome(late)).outcome).toBe("unknown");
    expect(state.get("log")).toBeNull();
    await time.outcome(state.transact({ reads: ["log"] }));
    expect(state.get<Log>("log")?.value.entries).toEqual(["new"]);
  });

  test("a lost store is told and counts as unknown", async () => {
    const { state, store } = first(open(["ada"]).handles);
    const lost: string[] = [];
    state.onStoreLost = (reason) => lost.push(reason);
    store.transact = () => Promise.reject(new StoreLostError("the file was replaced"));
    expect(await state.transact({ reads: ["a"] })).toEqual({
      outcome: "unknown",
      reason: "the file was replaced",
    });
    expect(lost).toEqual(["the file was replaced"]);
  });
});

const fate: fc.Arbitrary<Fate> = fc.oneof(
  fc.constant<Fate>({ kind: "answered" }),
  fc.record({ kind: fc.constant("slow" as const), ms: fc.integer({ min: 1, max: 450 }) }),
  fc.constant<Fate>({ kind: "lost" }),
  fc.record({ kind: fc.constant("late" as const), ms: fc.integer({ min: 1, max: 4_000 }) }),
  fc.constant<Fate>({ kind: "never" }),
);

/**
 * Every write appends a name of its own, so the last value is the history: what was told to be applied is
 * in it once, and nothing else.
 */
test("whatever becomes of single transactions, every change is told as the history says", async () => {
  const member = fc.record({
    fates: fc.array(fate, { maxLength: 25 }),
    writes: fc.integer({ min: 1, max: 5 }),
    reads: fc.array(fc.integer({ min: 1, max: 3_000 }), { maxLength: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(member, { minLength: 1, maxLength: 3 }), async (members) => {
      const { time, backing, handles } = open(members.map((_, index) => `m${index}`));
      const applied: string[] = [];
      let told = 0;
      let wanted = 0;
      for (const [index, { fates: list, writes, reads }] of members.entries()) {
        const { store, state } = handles[index] ?? first(handles);
        store.fate = fates(list);
        let revision = 0;
        state.onChange = (key) => {
          expect(state.revisionOf(key)).toBeGreaterThan(revision);
          revision = state.revisionOf(key);
        };
        state.onBackwards = () => expect.unreachable("this store never goes back");
        for (const ms of reads) time.after(ms, () => void state.transact({ reads: ["log"] }));
        for (let write = 0; write < writes; write += 1) {
          const name = `${index}/${write}`;
          wanted += 1;
          void append(state, name).then((written) => {
            told += 1;
            if (written.applied) applied.push(name);
          });
        }
      }
      await time.until("all changes are told", () => told === wanted, 600_000);
      // Late writes that still come must change nothing any more.
      await time.pass(10_000);
      expect([...(stored(backing)?.entries ?? [])].sort()).toEqual(applied.sort());
    }),
    { numRuns: 300 },
  );
});
