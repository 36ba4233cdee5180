/**
 * The disk of one member: the journal survives the process, what was not synced does not.
 *
 * A crash during a sync may leave it on the disk or not. A disk can be slow, fail until the next start, or
 * be set back to an older copy of the folder.
 */
import {
  MemoryJournal,
  type Journal,
  type JournalEntry,
  type JournalState,
} from "./server-parts.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { VirtualProcess } from "./virtual-machine.ts";

export interface KnownSession {
  readonly feature: string;
  readonly seats: number;
}

export class VirtualDisk {
  /** What the disk holds while no process runs. */
  #durable: JournalState | undefined;
  #olderCopy: JournalState | undefined;
  #open: { readonly journal: MemoryJournal; readonly batches: JournalEntry[][] } | null = null;
  #slowUntilMs = 0;
  #failed = false;
  #fullUntilMs = 0;
  /** Changes whenever the folder is another one, like the number of its inode. */
  #file = 1;
  /** Answered to a client and not ended since: must be there after any crash (I6). */
  readonly #answered = new Set<string>();
  /** Hears of an answered session that a crash has lost. */
  onLost: (session: string) => void = () => {};
  /** The sessions granted and not ended, as synced; so that an oracle need not copy the state. */
  readonly #sessions = new Map<string, KnownSession>();
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  /** Hears of entries when they are handed over, long before they are synced. */
  onAppend: (entries: readonly JournalEntry[]) => void = () => {};

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  open(process: VirtualProcess): Journal {
    const journal = new MemoryJournal({
      mode: "manual",
      monotonicMs: () => process.machine.clocks().monotonicMs,
      ...(this.#durable === undefined ? {} : { durable: this.#durable }),
    });
    const batches: JournalEntry[][] = [];
    this.#open = { journal, batches };
    this.#failed = false;
    if (this.isFull()) this.fail();
    process.onEnd(() => this.#crash());
    let syncing = false;
    const sync = (): void => {
      if (syncing || journal.pendingBatches === 0) return;
      syncing = true;
      process.deliver(this.#syncMs(), () => {
        syncing = false;
        for (const entry of batches.shift() ?? []) this.#note(entry);
        journal.completeSync();
        sync();
      });
    };
    return {
      recover: () => this.#later(process, () => journal.recover()),
      append: (entries) => {
        this.onAppend(entries);
        for (const entry of entries) if (entry.kind === "end") this.#answered.delete(entry.session);
        const synced = journal.append(entries);
        // The same batches as the journal's: one runs, one gathers.
        if (entries.length > 0) {
          while (batches.length < journal.pendingBatches) batches.push([]);
          batches.at(-1)?.push(...entries);
        }
        sync();
        return synced;
      },
      syncedSequence: () => journal.syncedSequence(),
      syncingSinceMs: () => journal.syncingSinceMs(),
      history: (query) => this.#later(process, () => journal.history(query)),
      usage: (query) => this.#later(process, () => journal.usage(query)),
      close: () => this.#later(process, () => this.#close()),
    };
  }

  isKnown(session: string): boolean {
    return this.#sessions.has(session);
  }

  answered(session: string): void {
    this.#answered.add(session);
  }

  sessions(): ReadonlyMap<string, KnownSession> {
    return this.#sessions;
  }

  /** Every sync from now takes longer than any member waits for. */
  slow(ms: number): void {
    this.#slowUntilMs = this.#scheduler.nowMs() + ms;
  }

  /** The running sync fails, and all later ones of this process. False if no process runs. */
  fail(): boolean {
    if (this.#open === null) return false;
    this.#open.journal.fail();
    this.#failed = true;
    return true;
  }

  /** The journal is broken until the process is started again; it may not have noticed. */
  hasFailed(): boolean {
    return this.#failed;
  }

  heal(): void {
    this.#slowUntilMs = 0;
    this.#fullUntilMs = 0;
  }

  /** Nothing can be written for `ms`, also after a restart. */
  fill(ms: number): void {
    this.#fullUntilMs = this.#scheduler.nowMs() + ms;
    this.fail();
  }

  isFull(): boolean {
    return this.#scheduler.nowMs() < this.#fullUntilMs;
  }

  file(): string {
    return `file ${this.#file}`;
  }

  /** Only while no process runs: a new disk with nothing on it. */
  replace(): boolean {
    if (this.#open !== null) return false;
    this.#durable = undefined;
    this.#becomeAnother();
    return true;
  }

  #becomeAnother(): void {
    this.#file += 1;
    this.#answered.clear();
    this.#readSessions();
  }

  keepCopy(): void {
    this.#olderCopy = this.#open?.journal.copy() ?? this.#durable;
  }

  /** Only while no process runs: the folder is as it was when the copy was made. */
  restoreCopy(): boolean {
    if (this.#open !== null || this.#olderCopy === undefined) return false;
    this.#durable = this.#olderCopy;
    this.#becomeAnother();
    return true;
  }

  #crash(): void {
    if (this.#open === null) return;
    const reached = this.#random.chance(0.5);
    this.#durable = this.#open.journal.crash({ runningReachedDisk: reached });
    this.#open = null;
    this.#readSessions();
    for (const session of this.#answered) {
      if (!this.#sessions.has(session)) this.onLost(session);
    }
  }

  async #close(): Promise<void> {
    await this.#open?.journal.close();
    for (const batch of this.#open?.batches.splice(0) ?? []) {
      for (const entry of batch) this.#note(entry);
    }
  }

  #readSessions(): void {
    this.#sessions.clear();
    for (const { session } of this.#durable?.sessions.values() ?? []) {
      this.#sessions.set(session.session, { feature: session.feature, seats: session.seats });
    }
  }

  #note(entry: JournalEntry): void {
    if (entry.kind === "grant") {
      this.#sessions.set(entry.session, { feature: entry.feature, seats: entry.seats });
    } else if (entry.kind === "end") {
      this.#sessions.delete(entry.session);
    }
  }

  #later<T>(process: VirtualProcess, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve) => {
      process.deliver(this.#random.between(READ_MS_MIN, READ_MS_MAX), () => resolve(work()));
    });
  }

  #syncMs(): number {
    const usualMs = this.#random.between(SYNC_MS_MIN, SYNC_MS_MAX);
    const slowMs = this.#slowUntilMs - this.#scheduler.nowMs();
    return slowMs > 0 ? slowMs + usualMs : usualMs;
  }
}

const READ_MS_MIN = 0.5;
const READ_MS_MAX = 10;
const SYNC_MS_MIN = 0.5;
const SYNC_MS_MAX = 12;
