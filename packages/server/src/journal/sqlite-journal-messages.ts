/**
 * What the main thread and the journal's worker say to each other. Bulk goes as JSON text: one string is
 * the cheapest thing to hand to another thread.
 */
import type { HistoryPlace, HistoryQuery, UsageQuery } from "./journal.ts";

export interface WorkerSettings {
  readonly folder: string;
  readonly retentionMs: number;
  readonly tombstonesMax: number;
  readonly historyUsers: HistoryUsers;
}

/** What the usage history keeps of a user's name: as it is, a pseudonym, nothing. */
export type HistoryUsers = "keep" | "hash" | "drop";

export type Request =
  /** `entries`: JSON text of an array of SentEntry. `nowMs`: wall clock, for pruning. */
  | { readonly kind: "commit"; readonly entries: string; readonly nowMs: number }
  /** One page of the state, in the order of its keys, above `after`. */
  | { readonly kind: "page"; readonly of: PagedTable; readonly after: string | number }
  /** One stretch of the history, older than `before`. */
  | { readonly kind: "history"; readonly query: HistoryQuery; readonly before: HistoryPlace | null }
  | { readonly kind: "usage"; readonly query: UsageQuery }
  | { readonly kind: "close" };

export type PagedTable = "facts" | "sessions" | "holds" | "revoked" | "tombstones";

export interface CommitAnswer {
  readonly kind: "committed";
  readonly sequence: number;
  /** There are more old rows than one commit prunes. */
  readonly pruneMore: boolean;
}

export interface PageAnswer {
  readonly kind: "page";
  /** JSON text of an array of rows. */
  readonly rows: string;
  /** Where the next page begins; null after the last. */
  readonly next: string | number | null;
}

export interface HistoryAnswer {
  readonly kind: "history";
  readonly rows: string;
  readonly next: HistoryPlace | null;
}

export interface UsageAnswer {
  readonly kind: "usage";
  /** JSON text of a UsageStretch. */
  readonly stretch: string;
}

export type Answer =
  | CommitAnswer
  | PageAnswer
  | HistoryAnswer
  | UsageAnswer
  | { readonly kind: "closed" };

export type WorkerMessage =
  | { readonly kind: "opened"; readonly sequence: number }
  /** Another process has the folder open; `pid` as it wrote it, null if unreadable. */
  | { readonly kind: "locked"; readonly pid: number | null }
  | { readonly kind: "broken"; readonly message: string }
  | { readonly kind: "answer"; readonly id: number; readonly answer: Answer }
  | { readonly kind: "failed"; readonly id: number; readonly message: string };
