/**
 * Entries on their way to the journal's worker. The two that nearly all are of, grants and ends, go as lists: their
 * JSON text is written and read in half the time of an object's, whose names would be repeated in each.
 */
import type { EndReason, JournalEntry } from "./journal.ts";

export const GRANT = 0;
const END = 1;

export type SentGrant = readonly [
  kind: typeof GRANT,
  session: string,
  n: number,
  feature: string,
  version: string | null,
  seats: number,
  user: string,
  host: string,
  process: string | null,
  lifeMs: number,
  epoch: number,
  grantedAtMs: number,
  holdMs: number,
];

export type SentEnd = readonly [
  kind: typeof END,
  session: string,
  n: number,
  reason: EndReason,
  atMs: number,
  by: string | null,
  holdMs: number,
];

type Rare = Exclude<JournalEntry, { readonly kind: "grant" | "end" }>;

export type SentEntry = SentGrant | SentEnd | Rare;

export function sentOf(entry: JournalEntry): SentEntry {
  if (entry.kind === "grant") {
    const { user, host, process = null } = entry.holder;
    const { session, n, feature, version, seats, lifeMs, epoch, grantedAtMs, holdMs } = entry;
    // oxfmt-ignore
    return [
      GRANT, session, n, feature, version, seats, user, host, process, lifeMs, epoch, grantedAtMs, holdMs,
    ];
  }
  if (entry.kind === "end") {
    const { session, n, reason, atMs, by = null, holdMs } = entry;
    return [END, session, n, reason, atMs, by, holdMs];
  }
  return entry;
}

/** Whether it went as a list. */
export function isList(entry: SentEntry): entry is SentGrant | SentEnd {
  return Array.isArray(entry);
}
