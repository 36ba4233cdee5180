/**
 * The journal of a real member: a SQLite file, written and synced by a worker thread.
 *
 *   append ──> groups that wait ──(one commit at a time, one message)──> worker: BEGIN … COMMIT (synced)
 *      promise of the group <── one group per turn of the event loop <── answer
 *
 * Everything that is appended while a commit runs shares the next one. Entries become JSON text as they
 * come, and promises are settled a group at a time, so that no turn of the event loop gets long.
 */
import { performance } from "node:perf_hooks";
import { TOMBSTONES_MAX } from "@quorate/core";
import type { Deferred } from "./deferred.ts";
import { deferred } from "./deferred.ts";
import type {
  HistoryPlace,
  HistoryQuery,
  HistoryRow,
  Journal,
  JournalEntry,
  JournaledSession,
  JournalHold,
  Recovered,
  UsageQuery,
  UsageStretch,
} from "./journal.ts";
import { APPEND_ENTRIES_MAX, HISTORY_LIMIT_MAX, JournalFailedError } from "./journal.ts";
import { sentOf } from "./sqlite-journal-entry.ts";
import { JournalWorker } from "./sqlite-journal-thread.ts";
import type { HistoryAnswer, HistoryUsers, PagedTable } from "./sqlite-journal-messages.ts";

export { FolderLockedError } from "./sqlite-journal-thread.ts";

export interface SqliteJournalOptions {
  /** Usage history older than this is deleted; default 400 days. */
  readonly retentionMs?: number;
  /** What the history keeps of users' names from now on; default all. */
  readonly historyUsers?: HistoryUsers;
  /** Wall clock, milliseconds since 1970; decides only what is old enough to be deleted. */
  readonly nowMs?: () => number;
}

const RETENTION_MS_DEFAULT = 400 * 24 * 3_600_000;
/** Entries of one commit: it stays short, and so does the turn that sends it. */
const COMMIT_ENTRIES_MAX = APPEND_ENTRIES_MAX;
/** Entries whose promises are settled in one turn of the event loop. */
const GROUP_ENTRIES_MAX = 100;
/** A disk that is this far behind counts as broken. */
const WAITING_ENTRIES_MAX = 500_000;
/** Old rows are also pruned when nothing is appended; this often. */
const PRUNE_EVERY_MS = 60_000;
/** A pause between two prunings in a row, so that they take no commit's place. */
const PRUNE_PAUSE_MS = 100;

/** A disk that hangs must not keep a process from ending; what was not synced by then rejects. */
const CLOSE_MS_MAX = 5_000;

/** Entries that were appended together or shortly after each other; they are in the same commit. */
interface Group extends Deferred {
  readonly texts: string[];
}

/**
 * Opens `<folder>/journal.db` and locks the folder for the life of this process. Rejects with
 * FolderLockedError if another one has it, with JournalFailedError if the file can't be used.
 */
export async function openSqliteJournal(
  folder: string,
  options: SqliteJournalOptions = {},
): Promise<Journal> {
  const worker = await JournalWorker.open({
    folder,
    retentionMs: options.retentionMs ?? RETENTION_MS_DEFAULT,
    tombstonesMax: TOMBSTONES_MAX,
    historyUsers: options.historyUsers ?? "keep",
  });
  return new SqliteJournal(worker, options.nowMs ?? Date.now);
}

class SqliteJournal implements Journal {
  readonly #worker: JournalWorker;
  readonly #nowMs: () => number;
  readonly #pruning: NodeJS.Timeout;
  /** Groups of the running commit. */
  #running: readonly Group[] = [];
  #waiting: Group[] = [];
  #waitingEntries = 0;
  #sequence: number;
  #syncingSinceMs: number | null = null;
  #sendPlanned = false;
  #recovering = false;
  #failure: JournalFailedError | null = null;
  #closing: Promise<void> | null = null;

  constructor(worker: JournalWorker, nowMs: () => number) {
    this.#worker = worker;
    this.#nowMs = nowMs;
    this.#sequence = worker.openedSequence;
    this.#pruning = setInterval(() => this.#prune(), PRUNE_EVERY_MS).unref();
    worker.onDeath((error) => this.#fail(error));
  }

  append(entries: readonly JournalEntry[]): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.#closing !== null) {
      return Promise.reject(new JournalFailedError("the journal is closed"));
    }
    if (entries.length === 0) return Promise.resolve();
    if (this.#waitingEntries + entries.length > WAITING_ENTRIES_MAX) {
      this.#fail(
        new JournalFailedError(
          `the disk is too slow: ${WAITING_ENTRIES_MAX} journal entries wait to be written`,
        ),
      );
      return this.append(entries);
    }
    let group = this.#groupFor(Math.min(entries.length, APPEND_ENTRIES_MAX));
    for (const entry of entries) {
      if (group.texts.length === APPEND_ENTRIES_MAX) group = this.#groupFor(APPEND_ENTRIES_MAX);
      group.texts.push(JSON.stringify(sentOf(entry)));
    }
    this.#waitingEntries += entries.length;
    this.#planSend();
    // Groups are written in order and none after a failed one: the last one speaks for all.
    return group.promise;
  }

  syncedSequence(): number {
    return this.#sequence;
  }

  syncingSinceMs(): number | null {
    return this.#syncingSinceMs;
  }

  async recover(): Promise<Recovered> {
    this.#recovering = true;
    try {
      // Asked after a running commit, and no other is sent meanwhile: one state, read in pages.
      const facts = await this.#table<[string, string]>("facts");
      const sessions = await this.#table<JournaledSession>("sessions");
      const holds = await this.#table<JournalHold>("holds", 0);
      const revoked = await this.#table<string>("revoked");
      const releases = await this.#table<{ session: string; n: number }>("tombstones", 0);
      return {
        sequence: this.#sequence,
        facts: new Map(facts),
        sessions,
        holds,
        revoked: new Set(revoked),
        tombstones: highestOf(releases),
      };
    } catch (error) {
      this.#fail(asFailure(error));
      throw error;
    } finally {
      this.#recovering = false;
      this.#planSend();
    }
  }

  async history(query: HistoryQuery): Promise<readonly HistoryRow[]> {
    const limit = Math.min(query.limit, HISTORY_LIMIT_MAX);
    const rows: HistoryRow[] = [];
    let before: HistoryPlace | null = null;
    // In stretches: a commit never waits for a long search.
    do {
      const left = { ...query, limit: limit - rows.length };
      const stretch: HistoryAnswer = await this.#worker.history(left, before);
      const found: HistoryRow[] = JSON.parse(stretch.rows);
      rows.push(...found);
      before = stretch.next;
    } while (before !== null && rows.length < limit);
    return rows;
  }

  usage(query: UsageQuery): Promise<UsageStretch> {
    return this.#worker.usage(query);
  }

  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  async #shut(): Promise<void> {
    clearInterval(this.#pruning);
    this.#worker.endAfter(CLOSE_MS_MAX);
    await [...this.#running, ...this.#waiting].at(-1)?.promise.catch(() => undefined);
    await this.#worker.close();
  }

  #groupFor(entries: number): Group {
    const last = this.#waiting.at(-1);
    if (last !== undefined && last.texts.length + entries <= GROUP_ENTRIES_MAX) return last;
    const group = { ...deferred(), texts: [] };
    this.#waiting.push(group);
    return group;
  }

  /** In the next turn, so that everything that comes in this one shares the commit. */
  #planSend(): void {
    if (this.#sendPlanned || this.#syncingSinceMs !== null || this.#recovering) return;
    if (this.#waiting.length === 0) return;
    this.#sendPlanned = true;
    setImmediate(() => {
      this.#sendPlanned = false;
      if (this.#syncingSinceMs === null && !this.#recovering) void this.#send(this.#takeGroups());
    });
  }

  #takeGroups(): readonly Group[] {
    let entries = 0;
    let count = 0;
    for (const group of this.#waiting) {
      if (count > 0 && entries + group.texts.length > COMMIT_ENTRIES_MAX) break;
      entries += group.texts.length;
      count += 1;
    }
    this.#waitingEntries -= entries;
    return this.#waiting.splice(0, count);
  }

  /** Never rejects: the outcome goes to the groups. */
  async #send(groups: readonly Group[]): Promise<void> {
    if (this.#failure !== null) return;
    this.#syncingSinceMs = performance.now();
    this.#running = groups;
    try {
      const texts = groups.map((group) => group.texts.join(","));
      const answer = await this.#worker.commit(`[${texts.join(",")}]`, this.#nowMs());
      this.#sequence = answer.sequence;
      this.#syncingSinceMs = null;
      this.#running = [];
      settle(groups, 0);
      if (answer.pruneMore) setTimeout(() => this.#prune(), PRUNE_PAUSE_MS).unref();
      this.#planSend();
    } catch (error) {
      this.#fail(asFailure(error));
    }
  }

  /** An empty commit prunes; it is not needed while others run. */
  #prune(): void {
    const idle = this.#syncingSinceMs === null && !this.#sendPlanned && !this.#recovering;
    if (idle && this.#closing === null) void this.#send([]);
  }

  #fail(failure: JournalFailedError): void {
    this.#failure ??= failure;
    const lost = [...this.#running, ...this.#waiting];
    this.#running = [];
    this.#waiting = [];
    this.#waitingEntries = 0;
    this.#syncingSinceMs = null;
    for (const group of lost) group.reject(this.#failure);
  }

  async #table<Row>(of: PagedTable, first: string | number = ""): Promise<Row[]> {
    const rows: Row[] = [];
    let page = this.#worker.page(of, first);
    for (;;) {
      const { rows: text, next } = await page;
      // The worker reads the next page while this thread takes in the last one.
      if (next !== null) page = this.#worker.page(of, next);
      const read: Row[] = JSON.parse(text);
      rows.push(...read);
      if (next === null) return rows;
    }
  }
}

/** One group a turn: what their takers do next may take long. */
function settle(groups: readonly Group[], index: number): void {
  groups[index]?.resolve();
  if (index + 1 < groups.length) setImmediate(() => settle(groups, index + 1));
}

/** A session that was released several times counts once, with its highest number, where it was last released. */
function highestOf(
  releases: readonly { readonly session: string; readonly n: number }[],
): { session: string; n: number }[] {
  const highest = new Map<string, number>();
  for (const { session, n } of releases) {
    const before = highest.get(session) ?? n;
    highest.delete(session);
    highest.set(session, Math.max(n, before));
  }
  return Array.from(highest, ([session, n]) => ({ session, n }));
}

function asFailure(error: unknown): JournalFailedError {
  if (error instanceof JournalFailedError) return error;
  return new JournalFailedError(error instanceof Error ? error.message : String(error));
}
