/**
 * The store in memory, for the simulator and for tests.
 *
 * There are deliberately no timers and no randomness in it: `apply` decides at once, and a watch is told in
 * microtasks, in the order in which the watches were made. Faults are the simulator's business: it shares
 * one MemoryStoreData between the handles of several members and wraps each handle as it likes.
 */
import type { Change, KeyValue, Outcome, Store, Transaction, Watch } from "./store.ts";
import {
  DELETED_KEYS_REMEMBERED_MAX,
  checkTransaction,
  isPrefix,
  orderedByKey,
} from "./transaction-bounds.ts";

/** The outcome of a transaction that was decided; memory is never in doubt. */
export type DecidedOutcome = Exclude<Outcome, { outcome: "unknown" }>;

/** What the handles of one store share. */
export interface MemoryStoreData {
  revision: number;
  /** The last change of every key, by revision (a changed key moves to the end); null: deleted. */
  readonly changes: Map<string, Change>;
  deletedKeys: number;
  readonly watches: Set<MemoryWatch>;
}

interface MemoryWatch {
  readonly prefix: string;
  readonly onChange: (change: Change) => void;
  pending: Change[];
}

export function emptyMemoryStoreData(): MemoryStoreData {
  return { revision: 0, changes: new Map(), deletedKeys: 0, watches: new Set() };
}

export class MemoryStore implements Store {
  readonly name = "memory";
  readonly failoverGapMs = 0;
  readonly data: MemoryStoreData;
  readonly #watches = new Set<MemoryWatch>();
  #closed = false;

  constructor(data: MemoryStoreData = emptyMemoryStoreData()) {
    this.data = data;
  }

  /** Decides a transaction now; the watches are told in microtasks. Throws RangeError past a bound. */
  apply(transaction: Transaction): DecidedOutcome {
    checkTransaction(transaction);
    const { data } = this;
    const matches = transaction.compare.every(
      ({ key, revision }) => (find(data, key)?.revision ?? 0) === revision,
    );
    if (matches) write(data, transaction);
    const read = orderedByKey(transaction.reads.flatMap((name) => lookUp(data, name)));
    return { outcome: matches ? "applied" : "rejected", revision: data.revision, read };
  }

  /** The deadline is not looked at: memory answers at once. */
  async transact(transaction: Transaction): Promise<Outcome> {
    if (this.#closed) {
      checkTransaction(transaction);
      return { outcome: "unknown", reason: "the store was closed" };
    }
    return this.apply(transaction);
  }

  watch(prefix: string, fromRevision: number, onChange: (change: Change) => void): Watch {
    const watch: MemoryWatch = { prefix, onChange, pending: [] };
    if (!this.#closed) {
      this.#watches.add(watch);
      this.data.watches.add(watch);
      const missed = [...this.data.changes.values()].filter((c) => c.revision > fromRevision);
      tell(this.data, watch, missed);
    }
    return {
      close: () => {
        this.#watches.delete(watch);
        this.data.watches.delete(watch);
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) this.data.watches.delete(watch);
    this.#watches.clear();
  }
}

function write(data: MemoryStoreData, { puts, deletes = [] }: Transaction): void {
  const present = deletes.filter((key) => find(data, key) !== null);
  if (puts.length + present.length === 0) return;
  const revision = data.revision + 1;
  const changes: Change[] = [
    ...puts.map(({ key, value }) => ({ key, value, revision })),
    ...present.map((key) => ({ key, value: null, revision })),
  ].sort((a, b) => (a.key < b.key ? -1 : 1));
  data.revision = revision;
  for (const change of changes) {
    if (data.changes.get(change.key)?.value === null) data.deletedKeys -= 1;
    if (change.value === null) data.deletedKeys += 1;
    data.changes.delete(change.key);
    data.changes.set(change.key, change);
  }
  forgetOldestDeletedKeys(data);
  for (const watch of data.watches) tell(data, watch, changes);
}

function forgetOldestDeletedKeys(data: MemoryStoreData): void {
  if (data.deletedKeys <= DELETED_KEYS_REMEMBERED_MAX) return;
  for (const [key, { value }] of data.changes) {
    if (data.deletedKeys <= DELETED_KEYS_REMEMBERED_MAX) return;
    if (value !== null) continue;
    data.changes.delete(key);
    data.deletedKeys -= 1;
  }
}

function tell(data: MemoryStoreData, watch: MemoryWatch, changes: readonly Change[]): void {
  const wanted = changes.filter(({ key }) => key.startsWith(watch.prefix));
  if (wanted.length === 0) return;
  const scheduled = watch.pending.length > 0;
  watch.pending.push(...wanted);
  if (scheduled) return;
  queueMicrotask(() => {
    const told = watch.pending;
    watch.pending = [];
    for (const change of told) if (data.watches.has(watch)) watch.onChange(change);
  });
}

function find(data: MemoryStoreData, key: string): KeyValue | null {
  const last = data.changes.get(key);
  if (last === undefined || last.value === null) return null;
  return { key, value: last.value, revision: last.revision };
}

function lookUp(data: MemoryStoreData, name: string): KeyValue[] {
  const keys = isPrefix(name) ? [...data.changes.keys()].filter((k) => k.startsWith(name)) : [name];
  return keys.map((key) => find(data, key)).filter((entry) => entry !== null);
}
