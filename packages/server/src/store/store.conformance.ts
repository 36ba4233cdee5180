/** What every adapter of the store's port must do; each adapter's test file calls it. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { KEY_CHARACTERS_MAX, TRANSACTION_KEYS_MAX, VALUE_BYTES_MAX } from "./store.ts";
import type { Change, KeyValue, Outcome, Store, Transaction } from "./store.ts";

/** One empty store; each handle is another member's. */
export interface StoreUnderTest {
  handle(): Promise<Store>;
  /** After all handles were closed. */
  remove(): Promise<void>;
}

type Decided = Exclude<Outcome, { outcome: "unknown" }>;

const DEADLINE_MS = 10_000;

export function storeConformance(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`${name} as a store`, () => {
    let underTest: StoreUnderTest;
    let handles: Store[];

    beforeEach(async () => {
      underTest = await open();
      handles = [];
    });
    afterEach(async () => {
      for (const handle of handles) await handle.close();
      await underTest.remove();
    });

    async function handle(): Promise<Store> {
      const store = await underTest.handle();
      handles.push(store);
      return store;
    }

    test("an absent key has revision 0 and is made by a compare with it", async () => {
      const store = await handle();
      const made = await transact(store, { ...cas("a", 0, "1"), reads: ["a"] });
      expect(made.outcome).toBe("applied");
      expect(made.read).toEqual([{ key: "a", value: "1", revision: made.revision }]);
      const again = await transact(store, { ...cas("a", 0, "2"), reads: ["a"] });
      expect(again).toEqual({ ...made, outcome: "rejected" });
    });

    test("the revision grows by one for each applied write and not for a read", async () => {
      const store = await handle();
      const first = await transact(store, cas("a", 0, "1"));
      const second = await transact(store, { ...cas("b", 0, "1"), deletes: ["a"] });
      expect(second.revision).toBe(first.revision + 1);
      const read = await transact(store, { compare: [], puts: [], reads: ["b"] });
      expect(read.revision).toBe(second.revision);
      const nothing = await transact(store, { compare: [], puts: [], deletes: ["a"], reads: [] });
      expect(nothing).toMatchObject({ outcome: "applied", revision: second.revision });
    });

    test("a transaction over several keys is applied whole or not at all", async () => {
      const store = await handle();
      const made = await transact(store, puts({ a: "1", b: "1" }));
      const stale = await transact(store, {
        compare: [
          { key: "a", revision: made.revision },
          { key: "b", revision: made.revision - 1 },
        ],
        puts: [{ key: "a", value: "2" }],
        deletes: ["b"],
        reads: ["a", "b"],
      });
      expect(stale.outcome).toBe("rejected");
      expect(values(stale.read)).toEqual({ a: "1", b: "1" });
      const right = await transact(store, {
        compare: [
          { key: "a", revision: made.revision },
          { key: "b", revision: made.revision },
          { key: "c", revision: 0 },
        ],
        puts: [{ key: "c", value: "2" }],
        deletes: ["b"],
        reads: ["a", "b", "c"],
      });
      expect(right.outcome).toBe("applied");
      expect(values(right.read)).toEqual({ a: "1", c: "2" });
    });

    test("a deleted key is absent and can be made again, with a higher revision", async () => {
      const store = await handle();
      const made = await transact(store, cas("a", 0, "1"));
      const gone = await transact(store, {
        compare: [{ key: "a", revision: made.revision }],
        puts: [],
        deletes: ["a"],
        reads: ["a"],
      });
      expect(gone).toMatchObject({ outcome: "applied", read: [] });
      const again = await transact(store, { ...cas("a", 0, "2"), reads: ["a"] });
      expect(again.read).toEqual([{ key: "a", value: "2", revision: gone.revision + 1 }]);
    });

    test("a prefix is read whole, in order of keys, each key once", async () => {
      const store = await handle();
      const written = {
        "p/b": "1",
        "p/a/x": "2",
        "p/é": "3",
        "p/Z": "4",
        p: "5",
        p0: "6",
        "pp/a": "7",
      };
      await transact(store, puts(written));
      const { read } = await transact(store, { compare: [], puts: [], reads: ["p/", "p/b", "p"] });
      expect(read.map(({ key }) => key)).toEqual(["p", "p/Z", "p/a/x", "p/b", "p/é"]);
    });

    test("another handle reads what was applied", async () => {
      const [one, other] = [await handle(), await handle()];
      const written = await transact(one, puts({ a: "1" }));
      const { read } = await transact(other, { compare: [], puts: [], reads: ["a"] });
      expect(read).toEqual([{ key: "a", value: "1", revision: written.revision }]);
    });

    test("increments from several handles at once lose none", async () => {
      const increments = 25;
      const stores = [await handle(), await handle(), await handle()];
      await Promise.all(stores.map((store) => increment(store, increments)));
      const { read } = await transact(stores[0]!, { compare: [], puts: [], reads: ["counter"] });
      expect(values(read)).toEqual({ counter: String(stores.length * increments) });
    });

    test("a watch is told the changes of all handles under its prefix in order", async () => {
      const [one, other] = [await handle(), await handle()];
      const told: Change[] = [];
      one.watch("w/", 0, (change) => told.push(change));
      for (let i = 0; i < 10; i += 1) {
        await transact(one, puts({ [`w/one-${i}`]: "1", "elsewhere/x": String(i) }));
        await transact(other, puts({ [`w/other-${i}`]: "1" }));
      }
      const last = await transact(other, puts({ "w/last": "1" }));
      await vi.waitFor(() => expect(told.at(-1)?.revision).toBe(last.revision));
      expect(told).toHaveLength(21);
      expectOrdered(told);
      expect(told.every(({ key }) => key.startsWith("w/"))).toBe(true);
    });

    test("a watch from an old revision is told what came after it, deletions included", async () => {
      const store = await handle();
      const start = await transact(store, puts({ "w/a": "1", "w/b": "1", "w/c": "1" }));
      const changed = await transact(store, puts({ "w/b": "2" }));
      const deleted = await transact(store, { ...puts({}), deletes: ["w/a"] });
      const told: Change[] = [];
      store.watch("w/", start.revision, (change) => told.push(change));
      const expected = [
        { key: "w/b", value: "2", revision: changed.revision },
        { key: "w/a", value: null, revision: deleted.revision },
      ];
      await vi.waitFor(() => expect(told).toEqual(expected));
    });

    test("watches that start while others write end with the same state", async () => {
      const [one, other] = [await handle(), await handle()];
      const views: { state: Record<string, string>; told: Change[] }[] = [];
      for (let i = 0; i < 30; i += 1) {
        const view = { state: {} as Record<string, string>, told: [] as Change[] };
        if (i % 6 === 0) {
          views.push(view);
          one.watch("w/", 0, (change) => {
            view.told.push(change);
            if (change.value === null) delete view.state[change.key];
            else view.state[change.key] = change.value;
          });
        }
        const key = `w/${i % 5}`;
        await transact(
          other,
          i % 4 === 3 ? { ...puts({}), deletes: [key] } : puts({ [key]: `${i}` }),
        );
      }
      const { read } = await transact(one, { compare: [], puts: [], reads: ["w/"] });
      for (const view of views) {
        await vi.waitFor(() => expect(view.state).toEqual(values(read)));
        expectOrdered(view.told);
      }
    });

    test("a closed watch is told nothing more, not even the rest of what is being told", async () => {
      const store = await handle();
      await transact(store, puts({ "w/a": "1", "w/b": "1" }));
      const told: Change[] = [];
      const closed = store.watch("w/", 0, (change) => {
        told.push(change);
        closed.close();
      });
      const open: Change[] = [];
      store.watch("w/", 0, (change) => open.push(change));
      const last = await transact(store, puts({ "w/c": "1" }));
      await vi.waitFor(() => expect(open.at(-1)?.revision).toBe(last.revision));
      expect(told.map(({ key }) => key)).toEqual(["w/a"]);
    });

    test("after closing, a transaction is unknown and watches are silent", async () => {
      const [closed, other] = [await handle(), await handle()];
      const silent: Change[] = [];
      const heard: Change[] = [];
      closed.watch("", 0, (change) => silent.push(change));
      other.watch("", 0, (change) => heard.push(change));
      await closed.close();
      await closed.close();
      expect(await closed.transact(puts({ a: "1" }), DEADLINE_MS)).toMatchObject({
        outcome: "unknown",
      });
      await transact(other, puts({ b: "1" }));
      await vi.waitFor(() => expect(heard.map(({ key }) => key)).toEqual(["b"]));
      expect(silent).toEqual([]);
    });

    test("a transaction past a bound is a RangeError and writes nothing", async () => {
      const store = await handle();
      const many = Array.from({ length: TRANSACTION_KEYS_MAX + 1 }, (_, i) => `k/${i}`);
      const none: Transaction = { compare: [], puts: [], reads: [] };
      const refused: Transaction[] = [
        puts({ a: "1", ["k".repeat(KEY_CHARACTERS_MAX + 1)]: "1" }),
        puts({ a: "1", b: "é".repeat(VALUE_BYTES_MAX / 2 + 1) }),
        puts({ a: "1", "b/": "1" }),
        puts({ a: "1", "": "1" }),
        puts({ a: "1", "\ud800": "1" }),
        { ...puts({ a: "1" }), deletes: ["a"] },
        { ...puts({ a: "1" }), compare: [{ key: "a", revision: -1 }] },
        { ...puts({ a: "1" }), reads: many },
        { ...puts({ a: "1" }), deletes: many },
        { ...none, compare: many.map((key) => ({ key, revision: 0 })), deletes: ["a"] },
      ];
      for (const transaction of refused) {
        await expect(store.transact(transaction, DEADLINE_MS)).rejects.toThrow(RangeError);
      }
      const { read } = await transact(store, { ...none, reads: ["a"] });
      expect(read).toEqual([]);
    });

    test("a transaction at the bounds is applied", async () => {
      const store = await handle();
      const keys = Array.from({ length: TRANSACTION_KEYS_MAX }, (_, i) => `k/${i}`);
      const long = "k".repeat(KEY_CHARACTERS_MAX);
      const big = "v".repeat(VALUE_BYTES_MAX);
      expect(await transact(store, puts({ [long]: big }))).toMatchObject({ outcome: "applied" });
      const all = await transact(store, {
        compare: keys.map((key) => ({ key, revision: 0 })),
        puts: keys.map((key) => ({ key, value: "1" })),
        reads: ["k/", long],
      });
      expect(all.outcome).toBe("applied");
      expect(all.read).toHaveLength(TRANSACTION_KEYS_MAX + 1);
    });
  });
}

/** Transacts and insists on an answer. */
async function transact(store: Store, transaction: Transaction): Promise<Decided> {
  const outcome = await store.transact(transaction, DEADLINE_MS);
  if (outcome.outcome === "unknown") throw new Error(`unknown: ${outcome.reason}`);
  return outcome;
}

async function increment(store: Store, times: number): Promise<void> {
  let read: readonly KeyValue[] = [];
  for (let done = 0; done < times;) {
    const [now] = read;
    const next = String(Number(now?.value ?? "0") + 1);
    const answer = await transact(store, {
      ...cas("counter", now?.revision ?? 0, next),
      reads: ["counter"],
    });
    read = answer.read;
    if (answer.outcome === "applied") done += 1;
  }
}

function cas(key: string, revision: number, value: string): Transaction {
  return { compare: [{ key, revision }], puts: [{ key, value }], reads: [] };
}

function puts(entries: Record<string, string>): Transaction {
  const list = Object.entries(entries).map(([key, value]) => ({ key, value }));
  return { compare: [], puts: list, reads: [] };
}

function values(read: readonly KeyValue[]): Record<string, string> {
  return Object.fromEntries(read.map(({ key, value }) => [key, value]));
}

/** By revision, and nothing twice. */
function expectOrdered(told: readonly Change[]): void {
  const revisions = told.map(({ revision }) => revision);
  expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
  const distinct = new Set(told.map(({ key, revision }) => `${key}@${revision}`));
  expect(distinct.size).toBe(told.length);
}
