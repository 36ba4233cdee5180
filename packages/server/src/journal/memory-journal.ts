/**
 * The journal for simulation and unit tests: no I/O, no timers, no clock of its own.
 *
 * In `manual` mode the simulator decides when a sync completes. As in the real one, a single sync runs at a
 * time and everything appended meanwhile shares the next. Only what was synced survives `crash()`.
 */
import type { Deferred } from "./deferred.ts";
import { deferred } from "./deferred.ts";
import type {
  HistoryQuery,
  HistoryRow,
  Journal,
  JournalEntry,
  Recovered,
  UsageQuery,
  UsageStretch,
} from "./journal.ts";
import { JournalFailedError } from "./journal.ts";
import type { JournalState } from "./journal-state.ts";
import {
  applyEntry,
  copyState,
  emptyState,
  historyOf,
  recoveredOf,
  usageOf,
} from "./journal-state.ts";

export interface MemoryJournalOptions {
  /** What an earlier journal left: its `crash()` or `copy()`. Copied, so one copy can be restored twice. */
  readonly durable?: JournalState;
  /** `automatic` (default): each append is synced at once. `manual`: when `completeSync()` is called. */
  readonly mode?: "automatic" | "manual";
  /** The simulator's monotonic clock, for `syncingSinceMs()`. */
  readonly monotonicMs?: () => number;
}

interface Batch {
  readonly entries: JournalEntry[];
  readonly synced: Deferred;
}

export class MemoryJournal implements Journal {
  readonly #state: JournalState;
  readonly #automatic: boolean;
  readonly #monotonicMs: () => number;
  /** The first one is being synced, the second one gathers. */
  #unsynced: Batch[] = [];
  #syncingSinceMs: number | null = null;
  #failure: JournalFailedError | null = null;
  #crashed = false;

  constructor(options: MemoryJournalOptions = {}) {
    this.#state = options.durable === undefined ? emptyState() : copyState(options.durable);
    this.#automatic = options.mode !== "manual";
    this.#monotonicMs = options.monotonicMs ?? (() => 0);
  }

  /** Batches whose sync is not complete: at most the running one and the one that gathers. */
  get pendingBatches(): number {
    return this.#unsynced.length;
  }

  recover(): Promise<Recovered> {
    return Promise.resolve(recoveredOf(this.#state));
  }

  append(entries: readonly JournalEntry[]): Promise<void> {
    // A dead process hears nothing of its appends, neither good nor bad.
    if (this.#crashed) return deferred().promise;
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (entries.length === 0) return Promise.resolve();
    const batch = this.#gatheringBatch();
    batch.entries.push(...structuredClone(entries));
    if (this.#automatic) this.completeSync();
    return batch.synced.promise;
  }

  syncedSequence(): number {
    return this.#state.sequence;
  }

  syncingSinceMs(): number | null {
    return this.#syncingSinceMs;
  }

  history(query: HistoryQuery): Promise<readonly HistoryRow[]> {
    return Promise.resolve(historyOf(this.#state, query));
  }

  usage(query: UsageQuery): Promise<UsageStretch> {
    return Promise.resolve(usageOf(this.#state, query));
  }

  /** The running sync completes; what gathered meanwhile is synced next. False if none was running. */
  completeSync(): boolean {
    const batch = this.#unsynced.shift();
    if (batch === undefined) return false;
    for (const entry of batch.entries) applyEntry(this.#state, entry);
    this.#syncingSinceMs = this.#unsynced.length > 0 ? this.#monotonicMs() : null;
    batch.synced.resolve();
    return true;
  }

  /** The disk breaks: the running and all later appends reject. What was synced stays. */
  fail(reason = "the simulated disk failed"): void {
    this.#failure ??= new JournalFailedError(reason);
    const lost = this.#unsynced;
    this.#unsynced = [];
    this.#syncingSinceMs = null;
    for (const batch of lost) batch.synced.reject(this.#failure);
  }

  /**
   * The process dies: its appends never settle. Returns what the disk holds, for a new journal. With
   * `runningReachedDisk` the running sync had just finished, though nobody was told.
   */
  crash(options: { readonly runningReachedDisk?: boolean } = {}): JournalState {
    const running = this.#unsynced[0];
    if (options.runningReachedDisk === true && running !== undefined) {
      for (const entry of running.entries) applyEntry(this.#state, entry);
    }
    this.#crashed = true;
    this.#unsynced = [];
    this.#syncingSinceMs = null;
    return copyState(this.#state);
  }

  /** What is durable now, to restore later as an old copy of the folder. */
  copy(): JournalState {
    return copyState(this.#state);
  }

  close(): Promise<void> {
    while (this.completeSync());
    this.#failure ??= new JournalFailedError("the journal is closed");
    return Promise.resolve();
  }

  #gatheringBatch(): Batch {
    const running = this.#unsynced.length;
    const gathering = running > 1 ? this.#unsynced[1] : undefined;
    if (gathering !== undefined) return gathering;
    const batch = { entries: [], synced: deferred() };
    this.#unsynced.push(batch);
    if (running === 0) this.#syncingSinceMs = this.#monotonicMs();
    return batch;
  }
}
