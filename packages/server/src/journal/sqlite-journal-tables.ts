/**
 * The meaning of journal entries in SQL, and the reads of the tables. Runs in the journal's worker thread.
 * `journal-state.ts` says the same in memory; the conformance suite proves that the two agree.
 */
import type { DatabaseSync, SQLOutputValue, StatementSync } from "node:sqlite";
import { LIFE_MS_MAX } from "@quorate/core";
import { createHash } from "node:crypto";
import { deniedKey } from "./journal-state.ts";
import type {
  HistoryPlace,
  HistoryQuery,
  HistoryRow,
  UsageQuery,
  UsageStretch,
} from "./journal.ts";
import {
  GRANT,
  isList,
  type SentEnd,
  type SentEntry,
  type SentGrant,
} from "./sqlite-journal-entry.ts";
import type {
  CommitAnswer,
  HistoryAnswer,
  HistoryUsers,
  PagedTable,
  PageAnswer,
  UsageAnswer,
} from "./sqlite-journal-messages.ts";

/** Rows that one commit prunes at most, beyond two for each entry it writes: pruning keeps up, and stays short. */
const PRUNE_ROWS_MIN = 100;
/** Nothing gets old in less; the look alone costs a commit as much as a dozen entries. */
const PRUNE_LOOK_MS = 1_000;
const PAGE_ROWS = 250;
/** Rows of history that are looked at before the next commit gets its turn. */
const HISTORY_SCAN_ROWS = 2_000;
/** The same for a report; its rows also travel to another member, a stretch at a time. */
const USAGE_SCAN_ROWS = 1_000;
const DAY_MS = 24 * 3_600_000;
/**
 * Releases, and revocations of sessions this member never had, count for a life: they are kept for the longest one
 * that a license can give, and a day.
 */
const LIFE_KEPT_MS = LIFE_MS_MAX + DAY_MS;

export interface Tables {
  /** Applies the entries and prunes a little, in one transaction. Throws what SQLite throws. */
  commit(entries: readonly SentEntry[], nowMs: number): CommitAnswer;
  sequence(): number;
  page(of: PagedTable, after: string | number): PageAnswer;
  history(query: HistoryQuery, before: HistoryPlace | null): HistoryAnswer;
  usage(query: UsageQuery): UsageAnswer;
}

type Row = Record<string, SQLOutputValue>;

export function openTables(
  db: DatabaseSync,
  limits: {
    readonly retentionMs: number;
    readonly tombstonesMax: number;
    readonly historyUsers: HistoryUsers;
  },
): Tables {
  const sql = prepareAll(db, limits.historyUsers);
  let sequence = Number(sql.sequence.get()?.sequence);
  let releases = Number(sql.releases.get()?.releases);
  /** Each use and each refused request has its number from the start on, which orders those of one millisecond. */
  let lastRow = Number(sql.lastRow.get()?.row);
  /** As long as nothing was ever revoked, no end looks for its revocation. */
  let revocations = sql.anyRevoked.get() !== undefined;

  /** When old rows were looked for last; not a number while some are known to be left. */
  let prunedAtMs = Number.NaN;

  function prune(rowsMax: number, nowMs: number): boolean {
    const released = pruneReleases(rowsMax, nowMs);
    // Either way: a wall clock may be set back.
    if (Math.abs(nowMs - prunedAtMs) < PRUNE_LOOK_MS) return released >= rowsMax;
    const revoked = Number(sql.pruneRevoked.run(nowMs - LIFE_KEPT_MS, rowsMax).changes);
    const history = Number(sql.pruneHistory.run(nowMs - limits.retentionMs, rowsMax).changes);
    const isMore = Math.max(revoked, history) >= rowsMax;
    prunedAtMs = isMore ? Number.NaN : nowMs;
    return isMore || released >= rowsMax;
  }

  /** They are in the order in which they came, so the oldest are the first. */
  function pruneReleases(rowsMax: number, nowMs: number): number {
    const tooMany = Math.min(Math.max(0, releases - limits.tombstonesMax), rowsMax);
    const oldest = sql.firstRelease.get();
    if (oldest === undefined) return 0;
    const isOld = Number(oldest.at) < nowMs - LIFE_KEPT_MS;
    if (tooMany === 0 && !isOld) return 0;
    const first = Number(oldest.id);
    const pruned = Number(
      isOld
        ? sql.pruneReleases.run(first, first + rowsMax, first + tooMany, nowMs - LIFE_KEPT_MS)
            .changes
        : sql.pruneSurplus.run(first, first + tooMany).changes,
    );
    releases -= pruned;
    return pruned;
  }

  function apply(entry: SentEntry): void {
    if (isList(entry)) return entry[0] === GRANT ? grant(entry) : end(entry);
    switch (entry.kind) {
      case "revoke":
        revocations = true;
        sql.revoke.run(entry.session, entry.by, entry.reason, entry.atMs);
        return;
      case "hold-end":
        sql.endHolds.run(entry.session);
        return;
      case "adopt":
        sql.adoptSessions.run(entry.toEpoch, entry.feature, entry.fromEpoch);
        sql.adoptHolds.run(entry.toEpoch, entry.feature, entry.fromEpoch);
        return;
      case "denied": {
        const { user, host, process = null } = entry.holder;
        const { session, feature, seats, atMs, code } = entry;
        lastRow += 1;
        sql.addDenied.run(lastRow, atMs, session, feature, seats, user, host, process, atMs, code);
        return;
      }
      case "fact":
        sql.setFact.run(entry.name, entry.value);
        return;
      default:
        throw new Error(`unknown journal entry ${JSON.stringify(entry satisfies never)}`);
    }
  }

  /** The columns of `sessions` in their order. Not taken apart by a pattern, which goes through an iterator. */
  function grant(entry: SentGrant): void {
    lastRow += 1;
    sql.setSession.run(
      entry[1],
      entry[2],
      entry[3],
      entry[4],
      entry[5],
      entry[6],
      entry[7],
      entry[8],
      entry[9],
      entry[10],
      entry[11],
      entry[12],
      lastRow,
    );
  }

  function end(entry: SentEnd): void {
    const session = entry[1];
    const n = entry[2];
    const reason = entry[3];
    const atMs = entry[4];
    const by = entry[5];
    const holdMs = entry[6];
    if (reason === "released") {
      releases += 1;
      sql.addRelease.run(session, n, atMs);
    }
    if (revocations) sql.endRevoked.run(session);
    if (holdMs > 0) sql.hold.run(holdMs, session);
    const { changes } = sql.addUse.run(atMs, reason, by, session);
    if (changes !== 0) sql.endSession.run(session);
  }

  return {
    commit(entries, nowMs) {
      sql.begin.run();
      for (const entry of entries) apply(entry);
      const pruneMore = prune(PRUNE_ROWS_MIN + 2 * entries.length, nowMs);
      if (entries.length > 0) sql.setSequence.run(sequence + entries.length);
      sql.commit.run();
      sequence += entries.length;
      return { kind: "committed", sequence, pruneMore };
    },
    sequence: () => sequence,
    page(of, after) {
      const rows = sql.pages[of].all(after, PAGE_ROWS);
      const last = rows.length < PAGE_ROWS ? undefined : rows.at(-1);
      const key = last?.[PAGE_KEY[of]];
      const next = typeof key === "string" || typeof key === "number" ? key : null;
      return { kind: "page", rows: JSON.stringify(rows.map(FROM_ROW[of])), next };
    },
    history(query, before) {
      const rows = sql.history.all(
        before?.atMs ?? query.toMs ?? Number.MAX_VALUE,
        before?.row ?? -1,
        query.fromMs ?? -Number.MAX_VALUE,
        HISTORY_SCAN_ROWS,
      );
      const last = rows.length < HISTORY_SCAN_ROWS ? undefined : rows.at(-1);
      const wanted = rows
        .filter(
          (row) =>
            (query.feature === undefined || row.feature === query.feature) &&
            (query.user === undefined || row.user === query.user) &&
            (query.denied !== true || row.denied_code !== null),
        )
        .slice(0, query.limit);
      return {
        kind: "history",
        rows: JSON.stringify(wanted.map(historyRow)),
        next: last === undefined ? null : { atMs: Number(last.at), row: Number(last.id) },
      };
    },
    usage(query) {
      const { after, toMs } = query;
      const rows = sql.usage.all(
        after?.atMs ?? -Number.MAX_VALUE,
        after?.row ?? 0,
        toMs,
        USAGE_SCAN_ROWS,
      );
      const last = rows.length < USAGE_SCAN_ROWS ? undefined : rows.at(-1);
      const next = last === undefined ? null : { atMs: Number(last.at), row: Number(last.id) };
      const stretch: UsageStretch = { ...usageStretch(rows, query), next };
      return { kind: "usage", stretch: JSON.stringify(stretch) };
    },
  };
}

/**
 * Who uses a seat now is kept whole, or a restart could not show it; the history keeps and shows what is asked for.
 * A command line may name people as well, so it goes with the name.
 */
function shownHolder(
  users: HistoryUsers,
  [user, host, process]: readonly [string, string, string],
): string {
  if (users === "keep") return `${user}, ${host}, ${process}`;
  return users === "drop" ? `'', ${host}, NULL` : `pseudonym(${user}), ${host}, NULL`;
}

/** The same at every member, so that the pool's report still adds up by user. */
function pseudonym(user: SQLOutputValue): string {
  return `user-${createHash("sha256")
    .update(`quorate-user\0${String(user)}`)
    .digest("hex")
    .slice(0, 16)}`;
}

function usageStretch(rows: readonly Row[], query: UsageQuery): Omit<UsageStretch, "next"> {
  const uses: unknown[] = [];
  const denied = new Map<string, number>();
  for (const row of rows) {
    if (query.feature !== undefined && row.feature !== query.feature) continue;
    const { session, seats, granted_at: startMs, ended_at: endMs } = row;
    const key = String(row[query.by]);
    if (startMs === null) {
      const atMs = Number(row.at);
      const counted = deniedKey(query, key, atMs);
      if (atMs >= query.fromMs) denied.set(counted, (denied.get(counted) ?? 0) + 1);
    } else if (endMs === null || Number(endMs) > query.fromMs) {
      uses.push({ session, key, seats, startMs, endMs });
    }
  }
  return { uses: uses as UsageStretch["uses"], denied: [...denied] };
}

const PAGE_KEY = {
  facts: "name",
  sessions: "session",
  holds: "id",
  revoked: "session",
  tombstones: "id",
} as const;

/** A row as the port says it. */
const FROM_ROW: Record<PagedTable, (row: Row) => unknown> = {
  facts: (row) => [row.name, row.value],
  sessions: (row) => ({
    session: row.session,
    n: row.n,
    feature: row.feature,
    version: row.version,
    seats: row.seats,
    holder: holderOf(row),
    lifeMs: row.life_ms,
    epoch: row.epoch,
    grantedAtMs: row.granted_at,
    holdMs: row.hold_ms,
  }),
  holds: (row) => ({
    session: row.session,
    feature: row.feature,
    seats: row.seats,
    epoch: row.epoch,
    holdMs: row.hold_ms,
  }),
  revoked: (row) => row.session,
  tombstones: (row) => ({ session: row.session, n: row.n }),
};

function historyRow(row: Row): { [Field in keyof HistoryRow]: unknown } {
  return {
    session: row.session,
    feature: row.feature,
    seats: row.seats,
    holder: holderOf(row),
    grantedAtMs: row.granted_at,
    endedAtMs: row.ended_at,
    reason: row.reason,
    endedBy: row.ended_by,
    deniedCode: row.denied_code,
  };
}

function holderOf(row: Row): unknown {
  const holder = { user: row.user, host: row.host };
  return row.process === null ? holder : { ...holder, process: row.process };
}

function prepareAll(db: DatabaseSync, users: HistoryUsers) {
  const sql = (text: string): StatementSync => db.prepare(text);
  db.function("pseudonym", { deterministic: true }, pseudonym);
  const shown = shownHolder(users, ["user", "host", "process"]);
  /** The rows of the history in time, each place `(at, id)`: what is over, and merged with it what lasts. */
  const rows = (where: (at: string, id: string) => string, order: string): StatementSync =>
    sql(`SELECT id, at, session, feature, seats, user, host, process, granted_at, ended_at, reason, ended_by,
      denied_code FROM history WHERE ${where("at", "id")}
      UNION ALL
      SELECT history, granted_at, session, feature, seats, ${shown}, granted_at, NULL, NULL, NULL, NULL
      FROM sessions WHERE ${where("granted_at", "history")}
      ORDER BY ${order} LIMIT ?4`);
  return {
    begin: sql("BEGIN IMMEDIATE"),
    commit: sql("COMMIT"),
    sequence: sql("SELECT sequence FROM meta"),
    setSequence: sql("UPDATE meta SET sequence = ?"),
    releases: sql("SELECT count(*) AS releases FROM releases"),
    setFact: sql("INSERT OR REPLACE INTO facts VALUES (?, ?)"),
    lastRow: sql(`SELECT max(
      (SELECT coalesce(max(id), 0) FROM history), (SELECT coalesce(max(history), 0) FROM sessions)) AS row`),
    addDenied: sql(`INSERT INTO history
      (id, at, session, feature, seats, user, host, process, ended_at, denied_code)
      VALUES (?1, ?2, ?3, ?4, ?5, ${shownHolder(users, ["?6", "?7", "?8"])}, ?9, ?10)`),
    // The same session granted anew is the same use: it keeps its number.
    setSession: sql(`INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (session) DO UPDATE SET n = excluded.n, feature = excluded.feature,
      version = excluded.version, seats = excluded.seats, user = excluded.user, host = excluded.host,
      process = excluded.process, life_ms = excluded.life_ms, epoch = excluded.epoch,
      granted_at = excluded.granted_at, hold_ms = excluded.hold_ms`),
    addUse: sql(`INSERT INTO history
      (id, at, session, feature, seats, user, host, process, granted_at, ended_at, reason, ended_by)
      SELECT history, granted_at, session, feature, seats, ${shown}, granted_at, ?, ?, ?
      FROM sessions WHERE session = ?`),
    endSession: sql("DELETE FROM sessions WHERE session = ?"),
    hold: sql(`INSERT INTO holds (session, feature, seats, epoch, hold_ms)
      SELECT session, feature, seats, epoch, ? FROM sessions WHERE session = ?`),
    endHolds: sql("DELETE FROM holds WHERE session = ?"),
    adoptSessions: sql("UPDATE sessions SET epoch = ? WHERE feature = ? AND epoch = ?"),
    adoptHolds: sql("UPDATE holds SET epoch = ? WHERE feature = ? AND epoch = ?"),
    revoke: sql("INSERT OR REPLACE INTO revoked VALUES (?, ?, ?, ?)"),
    anyRevoked: sql("SELECT 1 FROM revoked LIMIT 1"),
    endRevoked: sql("DELETE FROM revoked WHERE session = ?"),
    addRelease: sql("INSERT INTO releases (session, n, at) VALUES (?, ?, ?)"),
    firstRelease: sql("SELECT id, at FROM releases ORDER BY id LIMIT 1"),
    // Ids have no gaps, but where a wall clock was set back: then a little less is pruned.
    pruneSurplus: sql("DELETE FROM releases WHERE id >= ? AND id < ?"),
    pruneReleases: sql("DELETE FROM releases WHERE id >= ? AND id < ? AND (id < ? OR at < ?)"),
    pruneRevoked: sql(`DELETE FROM revoked WHERE session IN
      (SELECT session FROM revoked WHERE at < ? AND session NOT IN (SELECT session FROM sessions)
       LIMIT ?)`),
    pruneHistory: sql(`DELETE FROM history WHERE id IN
      (SELECT id FROM history WHERE at < ? ORDER BY at LIMIT ?)`),
    history: rows((at, id) => `(${at}, ${id}) < (?1, ?2) AND ${at} >= ?3`, "at DESC, id DESC"),
    usage: rows((at, id) => `(${at}, ${id}) > (?1, ?2) AND ${at} < ?3`, "at, id"),
    pages: {
      facts: sql("SELECT * FROM facts WHERE name > ? ORDER BY name LIMIT ?"),
      sessions: sql("SELECT * FROM sessions WHERE session > ? ORDER BY session LIMIT ?"),
      holds: sql("SELECT * FROM holds WHERE id > ? ORDER BY id LIMIT ?"),
      revoked: sql("SELECT session FROM revoked WHERE session > ? ORDER BY session LIMIT ?"),
      tombstones: sql("SELECT id, session, n FROM releases WHERE id > ? ORDER BY id LIMIT ?"),
    } satisfies Record<PagedTable, StatementSync>,
  };
}
