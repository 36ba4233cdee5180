import { expect, test } from "vitest";
import { MemoryStore, emptyMemoryStoreData } from "./memory-store.ts";
import { storeConformance } from "./store.conformance.ts";
import type { Change } from "./store.ts";
import { DELETED_KEYS_REMEMBERED_MAX } from "./transaction-bounds.ts";

storeConformance("memory", async () => {
  const data = emptyMemoryStoreData();
  return {
    handle: async () => new MemoryStore(data),
    remove: async () => {},
  };
});

test("a transaction is decided at once, also for the handles that share the data", () => {
  const data = emptyMemoryStoreData();
  const [one, other] = [new MemoryStore(data), new MemoryStore(data)];
  const put = {
    compare: [{ key: "a", revision: 0 }],
    puts: [{ key: "a", value: "1" }],
    reads: ["a"],
  };
  const read = [{ key: "a", value: "1", revision: 1 }];
  expect(one.apply(put)).toEqual({ outcome: "applied", revision: 1, read });
  expect(other.apply(put)).toEqual({ outcome: "rejected", revision: 1, read });
});

test("a watch that writes while it is told does not reorder what the others are told", async () => {
  const store = new MemoryStore();
  const told: number[] = [];
  store.watch("", 0, (change) => {
    if (change.revision < 5) store.apply(put(`k${change.revision}`));
  });
  store.watch("", 0, (change) => told.push(change.revision));
  store.apply(put("k"));
  // A macrotask: all microtasks are over then.
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toEqual([1, 2, 3, 4, 5]);
});

test("only the newest deleted keys are remembered", async () => {
  const store = new MemoryStore();
  store.apply(put("kept"));
  for (let i = 0; i < DELETED_KEYS_REMEMBERED_MAX + 3; i += 1) {
    store.apply(put(`k${i}`));
    store.apply({ compare: [], puts: [], deletes: [`k${i}`], reads: [] });
  }
  expect(store.data.changes.size).toBe(DELETED_KEYS_REMEMBERED_MAX + 1);
  const told: Change[] = [];
  store.watch("", 0, (change) => told.push(change));
  await Promise.resolve();
  expect(told.slice(0, 2).map(({ key }) => key)).toEqual(["kept", "k3"]);
});

function put(key: string) {
  return { compare: [], puts: [{ key, value: "1" }], reads: [] };
}
