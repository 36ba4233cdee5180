/**
 * The port to a member's journal: its fast facts, and the usage history.
 *
 * `append` resolves only after the entries are synced: an answer leaves AFTER that, never before (I6).
 * Entries that arrive while a commit runs share the next one. Heartbeats are deliberately not here.
 * After one failed append every later one fails too: a member with a broken journal resigns.
 */
import type { Holder } from "@quorate/protocol";

/** A session as the journal knows it after a restart. */
export interface JournaledSession {
  readonly session: string;
  readonly n: number;
  readonly feature: string;
  readonly version: string | null;
  readonly seats: number;
  readonly holder: Holder;
  readonly lifeMs: number;
  /** Epoch of this member's entry that the seats count in. */
  readonly epoch: number;
  readonly grantedAtMs: number;
  /** Its seats came out of a retired entry or another member's entry and are held for this wait; 0 if not. */
  readonly holdMs: number;
}

export type EndReason =
  | "released"
  | "expired"
  | "revoked"
  | "handed-over"
  | "superseded"
  | "mandate-lost";

export type JournalEntry =
  | ({ readonly kind: "grant" } & JournaledSession & {
        /** `"member/epoch"` whose heartbeat was converted. */
        readonly convertedFrom: string | null;
      })
  | {
      readonly kind: "end";
      readonly session: string;
      readonly n: number;
      readonly reason: EndReason;
      readonly atMs: number;
      /** Who did it, for a revocation. */
      readonly by?: string;
      /** The seats stay counted as used for this long from now (and anew after a start); 0: free at once. */
      readonly holdMs: number;
    }
  /** The session is refused from now on; its seats are free one life after its last renewal (`end`). */
  | {
      readonly kind: "revoke";
      readonly session: string;
      readonly by: string;
      readonly reason: string;
      readonly atMs: number;
    }
  /** The held seats of an ended session are free: all of its holds end. */
  | { readonly kind: "hold-end"; readonly session: string }
  /** All sessions and holds of a feature in `fromEpoch` count in `toEpoch` from now (reinstate). */
  | {
      readonly kind: "adopt";
      readonly feature: string;
      readonly fromEpoch: number;
      readonly toEpoch: number;
    }
  | {
      readonly kind: "denied";
      readonly session: string;
      readonly feature: string;
      readonly seats: number;
      readonly holder: Holder;
      readonly code: string;
      readonly atMs: number;
    }
  /** Small facts by name: mark, store id, highest revision, license sequence. */
  | { readonly kind: "fact"; readonly name: string; readonly value: string };

export interface JournalHold {
  readonly session: string;
  readonly feature: string;
  readonly seats: number;
  readonly epoch: number;
  readonly holdMs: number;
}

export interface Recovered {
  /** Sequence of the last synced entry; grows by one an entry, for ever. */
  readonly sequence: number;
  readonly facts: ReadonlyMap<string, string>;
  /** Granted and not ended. */
  readonly sessions: readonly JournaledSession[];
  /**
   * Ended, but their seats are held (see `end.holdMs`). A session that ended twice has two: a later grant
   * of the session leaves its hold alone, because counting a seat twice is safe and losing one is not.
   */
  readonly holds: readonly JournalHold[];
  /** Revoked and not ended yet; also sessions of other members, until the longest life is over. */
  readonly revoked: ReadonlySet<string>;
  /** Released within the longest life: a late lower `n` is refused. At most TOMBSTONES_MAX, the newest. */
  readonly tombstones: readonly { readonly session: string; readonly n: number }[];
}

/** One use, or one refused request, in the usage history. */
export interface HistoryRow {
  readonly session: string;
  readonly feature: string;
  readonly seats: number;
  readonly holder: Holder;
  readonly grantedAtMs: number | null;
  readonly endedAtMs: number | null;
  readonly reason: string | null;
  /** Who ended it, for a revocation. */
  readonly endedBy: string | null;
  /** Code of the refusal; such a row has `grantedAtMs` null and `endedAtMs` the time of the refusal. */
  readonly deniedCode: string | null;
}

export interface HistoryQuery {
  readonly feature?: string;
  readonly user?: string;
  /** True: only requests that were refused. */
  readonly denied?: boolean;
  /** Rows granted (or refused) at or after `fromMs` and before `toMs`, milliseconds since 1970. */
  readonly fromMs?: number;
  readonly toMs?: number;
  /** At most HISTORY_LIMIT_MAX. */
  readonly limit: number;
}

/** A place in the history, which is ordered by time and then by row. */
export interface HistoryPlace {
  readonly atMs: number;
  readonly row: number;
}

type UsageKey = "user" | "feature" | "host";

export interface UsageQuery {
  /** What the uses are counted by. */
  readonly by: UsageKey;
  readonly feature?: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** With it, refused requests are counted by the number of their step since `fromMs` instead of by `by`. */
  readonly stepMs?: number;
  /** Null: from the oldest row on. */
  readonly after: HistoryPlace | null;
}

/** A use that lies in the asked time, at least in part; `endMs` null: it is not over. */
export interface JournaledUse {
  readonly session: string;
  readonly key: string;
  readonly seats: number;
  readonly startMs: number;
  readonly endMs: number | null;
}

/** One stretch of the history, the oldest first. It may hold nothing and still not be the last. */
export interface UsageStretch {
  readonly uses: readonly JournaledUse[];
  /** Requests that were refused in the asked time, by key. */
  readonly denied: readonly (readonly [key: string, requests: number])[];
  /** Where the next stretch begins; null after the last. */
  readonly next: HistoryPlace | null;
}

export interface Journal {
  /** What the journal knows; called once, after opening. Appends wait until it was read. */
  recover(): Promise<Recovered>;
  /**
   * Resolves after the sync; rejects with JournalFailedError, then and ever after. A call of up to
   * APPEND_ENTRIES_MAX entries is durable as a whole or not at all; of a larger one a beginning may be.
   * A rejected append may still be found after a restart: its outcome is unknown.
   */
  append(entries: readonly JournalEntry[]): Promise<void>;
  /** Sequence of the last synced entry. */
  syncedSequence(): number;
  /**
   * When the running sync began, or null: a member resigns when a sync takes longer than T/2. Read on the
   * monotonic clock: `performance.now()` of this process in production.
   */
  syncingSinceMs(): number | null;
  /** Newest first. */
  history(query: HistoryQuery): Promise<readonly HistoryRow[]>;
  /** The uses of a time, a stretch at a time, so that no commit waits for a long report. */
  usage(query: UsageQuery): Promise<UsageStretch>;
  /** Lets what was appended before finish; later appends reject. */
  close(): Promise<void>;
}

/** Entries of one call that are written in one transaction. */
export const APPEND_ENTRIES_MAX = 1_000;
export const HISTORY_LIMIT_MAX = 10_000;

/** The message is for people and says what to do. */
export class JournalFailedError extends Error {
  override readonly name = "JournalFailedError";
}
