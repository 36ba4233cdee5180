/**
 * The store as one member reaches it: the shared backing behind a trip there and a trip back.
 *
 * A transaction whose answer does not come within the deadline is `unknown`: it was applied, or never
 * arrives, or is applied later, even after the member that sent it died.
 */
import type { Change, MemoryStore, Outcome, Store, Transaction, Watch } from "./server-parts.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { VirtualProcess } from "./virtual-machine.ts";
import { copyOf, type VirtualNetwork } from "./virtual-network.ts";

/** The name of the store's machine, for partitions. */
export const STORE_MACHINE = "store";

export interface StoreWeather {
  /** Requests that arrive before this true time get lost. */
  awayUntilMs: number;
  /** Share of transactions whose request or answer is late beyond every deadline. */
  lateShare: number;
  lateMsMax: number;
  /** Share of transactions that are applied but whose answer is lost. */
  lostAnswerShare: number;
}

/** `sentMs` is the monotonic clock of the sender's machine. */
type OnApplied = (
  by: VirtualProcess,
  transaction: Transaction,
  revision: number,
  sentMs: number,
) => void;

export const FAIR_STORE: Readonly<StoreWeather> = {
  awayUntilMs: 0,
  lateShare: 0,
  lateMsMax: 0,
  lostAnswerShare: 0,
};

/** What a backup of the store holds. */
export interface StoreCopy {
  readonly revision: number;
  readonly changes: ReadonlyMap<string, Change>;
  readonly deletedKeys: number;
}

const EMPTY_STORE: StoreCopy = { revision: 0, changes: new Map(), deletedKeys: 0 };

export class VirtualStoreServer {
  readonly backing: MemoryStore;
  readonly weather: StoreWeather = { ...FAIR_STORE };
  readonly counts = { transactions: 0, unknown: 0, appliedLate: 0, lostAnswers: 0, reconnects: 0 };
  /** Grows when the store is replaced: what was under way to the old one reaches nobody. */
  #generation = 1;
  readonly #watches = new Set<{ break(ms: number): void }>();
  onRestored: () => void = () => {};
  readonly #scheduler: Scheduler;
  readonly #network: VirtualNetwork;
  readonly #random: Random;
  /** Sees each transaction when it was applied, in the order of revisions. */
  readonly #onApplied: OnApplied;
  /** Hears of every transaction that is handled, before it is. */
  onHandled: (by: VirtualProcess) => void = () => {};
  /** An answer reaches the process that asked, in time. */
  onAnswered: (by: VirtualProcess) => void = () => {};

  constructor(
    backing: MemoryStore,
    scheduler: Scheduler,
    network: VirtualNetwork,
    random: Random,
    onApplied: OnApplied,
  ) {
    this.backing = backing;
    this.#scheduler = scheduler;
    this.#network = network;
    this.#random = random;
    this.#onApplied = onApplied;
  }

  /** The port of one process. */
  portOf(process: VirtualProcess): Store {
    return {
      name: "virtual",
      failoverGapMs: 0,
      transact: (transaction, deadlineMs) => this.#transact(process, transaction, deadlineMs),
      watch: (prefix, fromRevision, onChange) =>
        this.#watch(process, prefix, fromRevision, onChange),
      close: () => Promise.resolve(),
    };
  }

  #transact(
    process: VirtualProcess,
    transaction: Transaction,
    deadlineMs: number,
  ): Promise<Outcome> {
    return new Promise((resolve) => {
      if (!process.isAlive()) return;
      this.counts.transactions += 1;
      let over = false;
      const cancelDeadline = process.runtime().after(deadlineMs, () => {
        over = true;
        this.counts.unknown += 1;
        resolve({ outcome: "unknown", reason: "no answer within the deadline" });
      });
      const settle = (finish: () => void): void => {
        const back = this.#network.trip(STORE_MACHINE, process.machine.name);
        if (back === null) return;
        if (this.#random.chance(this.weather.lostAnswerShare)) {
          this.counts.lostAnswers += 1;
          return;
        }
        process.deliver(back + this.#lateMs(), () => {
          cancelDeadline();
          if (!over) this.onAnswered(process);
          finish();
        });
      };
      const there = this.#network.trip(process.machine.name, STORE_MACHINE);
      if (there === null) return;
      const sent = copyOf(transaction);
      const sentMs = process.machine.clocks().monotonicMs;
      const generation = this.#generation;
      this.#scheduler.after(there + this.#lateMs(), () => {
        if (this.#scheduler.nowMs() < this.weather.awayUntilMs) return;
        if (generation !== this.#generation) return;
        if (over) this.counts.appliedLate += 1;
        this.onHandled(process);
        const outcome = this.backing.apply(sent);
        const writes = sent.puts.length + (sent.deletes?.length ?? 0);
        if (outcome.outcome === "applied" && writes > 0) {
          this.#onApplied(process, sent, outcome.revision, sentMs);
        }
        settle(() => resolve(outcome));
      });
    });
  }

  #lateMs(): number {
    if (!this.#random.chance(this.weather.lateShare)) return 0;
    return this.#random.between(0, this.weather.lateMsMax);
  }

  has(key: string): boolean {
    return (this.backing.data.changes.get(key)?.value ?? null) !== null;
  }

  /** A backup, as of now. */
  copy(): StoreCopy {
    const { revision, changes, deletedKeys } = this.backing.data;
    return { revision, changes: new Map(changes), deletedKeys };
  }

  /** The store is as the backup says, or empty without one. */
  restore(backup: StoreCopy | null): void {
    const { data } = this.backing;
    const { revision, changes, deletedKeys } = backup ?? EMPTY_STORE;
    this.#generation += 1;
    data.revision = revision;
    data.deletedKeys = deletedKeys;
    data.changes.clear();
    for (const [key, change] of changes) data.changes.set(key, change);
    this.onRestored();
  }

  /** Some watches break and come back after `ms`, repeating changes that were told before. */
  breakWatches(ms: number, chosen: () => boolean): number {
    const watches = [...this.#watches].filter(chosen);
    for (const watch of watches) watch.break(ms);
    this.counts.reconnects += watches.length;
    return watches.length;
  }

  /** Events come late but in order; while the member can't hear the store they wait. */
  #watch(
    process: VirtualProcess,
    prefix: string,
    fromRevision: number,
    onChange: (change: Change) => void,
  ): Watch {
    let closed = false;
    let readyMs = 0;
    let seen = fromRevision;
    const open = (from: number): Watch =>
      this.backing.watch(prefix, from, (change) => {
        const nowMs = this.#scheduler.nowMs();
        const trip = this.#network.trip(STORE_MACHINE, process.machine.name) ?? WATCH_RETRY_MS;
        readyMs = Math.max(readyMs, this.weather.awayUntilMs, nowMs + trip + this.#lateMs());
        seen = Math.max(seen, change.revision);
        process.deliver(readyMs - nowMs, () => {
          if (!closed) onChange(change);
        });
      });
    let inner = open(fromRevision);
    const registered = {
      break: (ms: number): void => {
        inner.close();
        // What was told shortly before the break is told once more.
        const from = Math.max(0, seen - this.#random.whole(0, WATCH_REPEATED_MAX));
        this.#scheduler.after(ms, () => {
          if (closed) return;
          inner.close();
          inner = open(from);
        });
      },
    };
    this.#watches.add(registered);
    const close = (): void => {
      closed = true;
      this.#watches.delete(registered);
      inner.close();
    };
    process.onEnd(close);
    return { close };
  }
}

const WATCH_REPEATED_MAX = 30;
const WATCH_RETRY_MS = 2_000;
