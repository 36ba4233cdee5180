/**
 * What journal entries mean, as a pure fold over a state in memory. The memory adapter keeps it; the
 * SQLite adapter does the same in SQL, and the conformance suite proves that the two agree.
 */
import { TOMBSTONES_MAX } from "@quorate/core";
import type {
  HistoryQuery,
  HistoryRow,
  JournalEntry,
  JournaledSession,
  JournaledUse,
  JournalHold,
  Recovered,
  UsageQuery,
  UsageStretch,
} from "./journal.ts";
import { HISTORY_LIMIT_MAX } from "./journal.ts";

export interface JournalState {
  sequence: number;
  readonly facts: Map<string, string>;
  readonly sessions: Map<string, OpenSession>;
  /** By session; a list because a session may end more than once with a hold. */
  readonly holds: Map<string, readonly JournalHold[]>;
  readonly revoked: Set<string>;
  /** By session, the one released longest ago first. */
  readonly tombstones: Map<string, number>;
  /** By number of the row, which grows; the oldest first. */
  readonly history: Map<number, HistoryRow>;
  lastRow: number;
}

interface OpenSession {
  readonly session: JournaledSession;
  /** Its row in the history. */
  readonly row: number;
}

/** The simulator keeps this many rows of history; production keeps them by age. */
const HISTORY_ROWS_MAX = 100_000;

export function emptyState(): JournalState {
  return {
    sequence: 0,
    facts: new Map(),
    sessions: new Map(),
    holds: new Map(),
    revoked: new Set(),
    tombstones: new Map(),
    history: new Map(),
    lastRow: 0,
  };
}

/** A state of its own; the values inside are never changed, so they are shared. */
export function copyState(state: JournalState): JournalState {
  return {
    sequence: state.sequence,
    facts: new Map(state.facts),
    sessions: new Map(state.sessions),
    holds: new Map(state.holds),
    revoked: new Set(state.revoked),
    tombstones: new Map(state.tombstones),
    history: new Map(state.history),
    lastRow: state.lastRow,
  };
}

/** Changes `state` by one entry. */
export function applyEntry(state: JournalState, entry: JournalEntry): void {
  state.sequence += 1;
  switch (entry.kind) {
    case "grant":
      return grant(state, entry);
    case "end":
      return end(state, entry);
    case "revoke":
      state.revoked.add(entry.session);
      return;
    case "hold-end":
      state.holds.delete(entry.session);
      return;
    case "adopt":
      return adopt(state, entry);
    case "denied":
      addRow(state, {
        session: entry.session,
        feature: entry.feature,
        seats: entry.seats,
        holder: entry.holder,
        grantedAtMs: null,
        endedAtMs: entry.atMs,
        reason: null,
        endedBy: null,
        deniedCode: entry.code,
      });
      return;
    case "fact":
      state.facts.set(entry.name, entry.value);
      return;
    default:
      throw new Error(`unknown journal entry ${JSON.stringify(entry satisfies never)}`);
  }
}

export function recoveredOf(state: JournalState): Recovered {
  return {
    sequence: state.sequence,
    facts: new Map(state.facts),
    sessions: [...state.sessions.values()].map((open) => open.session),
    holds: [...state.holds.values()].flat(),
    revoked: new Set(state.revoked),
    tombstones: [...state.tombstones].map(([session, n]) => ({ session, n })),
  };
}

export function historyOf(state: JournalState, query: HistoryQuery): readonly HistoryRow[] {
  return [...state.history]
    .filter(([, row]) => matches(row, query))
    .sort(([a, left], [b, right]) => rowTimeMs(right) - rowTimeMs(left) || b - a)
    .slice(0, Math.min(query.limit, HISTORY_LIMIT_MAX))
    .map(([, row]) => row);
}

/** Everything in one stretch: the simulator's history is short. */
export function usageOf(state: JournalState, query: UsageQuery): UsageStretch {
  const uses: JournaledUse[] = [];
  const denied = new Map<string, number>();
  for (const row of state.history.values()) {
    if (query.feature !== undefined && row.feature !== query.feature) continue;
    const key = query.by === "feature" ? row.feature : row.holder[query.by];
    const { session, seats, grantedAtMs: startMs, endedAtMs: endMs } = row;
    const atMs = rowTimeMs(row);
    if (atMs >= query.toMs) continue;
    if (startMs === null) {
      const counted = deniedKey(query, key, atMs);
      if (atMs >= query.fromMs) denied.set(counted, (denied.get(counted) ?? 0) + 1);
    } else if (endMs === null || endMs > query.fromMs) {
      uses.push({ session, key, seats, startMs, endMs });
    }
  }
  // Sorting is stable, so rows of one instant stay in the order of their numbers.
  uses.sort((a, b) => a.startMs - b.startMs);
  return { uses, denied: [...denied], next: null };
}

/** What a refused request is counted by. */
export function deniedKey(query: UsageQuery, key: string, atMs: number): string {
  const { stepMs, fromMs } = query;
  return stepMs === undefined ? key : String(Math.floor((atMs - fromMs) / stepMs));
}

function matches(row: HistoryRow, query: HistoryQuery): boolean {
  const atMs = rowTimeMs(row);
  return (
    (query.feature === undefined || row.feature === query.feature) &&
    (query.user === undefined || row.holder.user === query.user) &&
    (query.denied !== true || row.deniedCode !== null) &&
    (query.fromMs === undefined || atMs >= query.fromMs) &&
    (query.toMs === undefined || atMs < query.toMs)
  );
}

function rowTimeMs(row: HistoryRow): number {
  return row.grantedAtMs ?? row.endedAtMs ?? 0;
}

function grant(state: JournalState, entry: JournalEntry & { kind: "grant" }): void {
  const { kind: _kind, convertedFrom: _convertedFrom, ...session } = entry;
  const row: HistoryRow = {
    session: entry.session,
    feature: entry.feature,
    seats: entry.seats,
    holder: entry.holder,
    grantedAtMs: entry.grantedAtMs,
    endedAtMs: null,
    reason: null,
    endedBy: null,
    deniedCode: null,
  };
  // The same session granted anew is the same use: its row is replaced, not doubled.
  const open = state.sessions.get(entry.session);
  const number = open?.row ?? addRow(state, row);
  if (open !== undefined) state.history.set(number, row);
  state.sessions.set(entry.session, { session, row: number });
}

function end(state: JournalState, entry: JournalEntry & { kind: "end" }): void {
  if (entry.reason === "released") {
    const n = Math.max(entry.n, state.tombstones.get(entry.session) ?? entry.n);
    // Deleted first, so that the map stays ordered by the time of the release.
    state.tombstones.delete(entry.session);
    state.tombstones.set(entry.session, n);
    dropOldest(state.tombstones, TOMBSTONES_MAX);
  }
  state.revoked.delete(entry.session);
  const open = state.sessions.get(entry.session);
  if (open === undefined) return;
  state.sessions.delete(entry.session);
  const row = state.history.get(open.row);
  if (row !== undefined) {
    state.history.set(open.row, {
      ...row,
      endedAtMs: entry.atMs,
      reason: entry.reason,
      endedBy: entry.by ?? null,
    });
  }
  if (entry.holdMs > 0) {
    const { session, feature, seats, epoch } = open.session;
    const hold = { session, feature, seats, epoch, holdMs: entry.holdMs };
    state.holds.set(session, [...(state.holds.get(session) ?? []), hold]);
  }
}

function adopt(state: JournalState, entry: JournalEntry & { kind: "adopt" }): void {
  const adopts = (held: { feature: string; epoch: number }): boolean =>
    held.feature === entry.feature && held.epoch === entry.fromEpoch;
  for (const [key, open] of state.sessions) {
    if (adopts(open.session)) {
      const session = { ...open.session, epoch: entry.toEpoch };
      state.sessions.set(key, { session, row: open.row });
    }
  }
  for (const [key, holds] of state.holds) {
    if (!holds.some(adopts)) continue;
    state.holds.set(
      key,
      holds.map((hold) => (adopts(hold) ? { ...hold, epoch: entry.toEpoch } : hold)),
    );
  }
}

function addRow(state: JournalState, row: HistoryRow): number {
  state.lastRow += 1;
  state.history.set(state.lastRow, row);
  dropOldest(state.history, HISTORY_ROWS_MAX);
  return state.lastRow;
}

function dropOldest<Key>(map: Map<Key, unknown>, sizeMax: number): void {
  if (map.size <= sizeMax) return;
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
