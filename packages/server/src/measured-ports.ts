/**
 * Thin wrappers around two ports that measure how long they take, for `/metrics`. They return the very
 * promises of what they wrap: no answer comes a moment later because it is measured.
 */
import { Histogram } from "prom-client";
import type { Journal } from "./journal/journal.ts";
import type { Outcome, Store } from "./store/store.ts";

export interface Latencies {
  readonly journal: Histogram;
  readonly store: Histogram<"outcome">;
}

/** From a fast local disk to half of the default lease, after which a server resigns. */
const BUCKETS_SECONDS = [
  0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
];

export function createLatencies(): Latencies {
  const buckets = BUCKETS_SECONDS;
  const registers: [] = [];
  return {
    journal: new Histogram({
      name: "quorate_journal_sync_seconds",
      help: "From an entry's append to the end of its sync, of the first of those that are synced together",
      buckets,
      registers,
    }),
    store: new Histogram({
      name: "quorate_store_transaction_seconds",
      help: "Transactions of the store that the servers share",
      labelNames: ["outcome"],
      buckets,
      registers,
    }),
  };
}

export function measuredJournal(
  journal: Journal,
  { journal: histogram }: Latencies,
  nowMs: () => number = () => performance.now(),
): Journal {
  let last: Promise<void> | null = null;
  return {
    recover: () => journal.recover(),
    append: (entries) => {
      const synced = journal.append(entries);
      // Entries that are synced together share a promise: measured is the first, which waits the longest.
      if (synced === last) return synced;
      last = synced;
      const sinceMs = nowMs();
      // Whoever appended hears of a failure; here only what went well is measured.
      void synced.then(() => histogram.observe((nowMs() - sinceMs) / 1_000), ignore);
      return synced;
    },
    syncedSequence: () => journal.syncedSequence(),
    syncingSinceMs: () => journal.syncingSinceMs(),
    history: (query) => journal.history(query),
    usage: (query) => journal.usage(query),
    close: () => journal.close(),
  };
}

export function measuredStore(
  store: Store,
  { store: histogram }: Latencies,
  nowMs: () => number = () => performance.now(),
): Store {
  return {
    name: store.name,
    failoverGapMs: store.failoverGapMs,
    transact: (transaction, deadlineMs) => {
      const sinceMs = nowMs();
      const ended = store.transact(transaction, deadlineMs);
      const took = ({ outcome }: Outcome): void => {
        histogram.observe({ outcome }, (nowMs() - sinceMs) / 1_000);
      };
      void ended.then(took, ignore);
      return ended;
    },
    watch: (prefix, fromRevision, onChange) => store.watch(prefix, fromRevision, onChange),
    close: () => store.close(),
  };
}

function ignore(): void {}
