/**
 * The lease by compare-and-swap (design section 4.1): what a member concludes from records it has read
 * itself. Nobody compares anybody else's timestamps.
 *
 *              renew (T/5)
 *            +-----------+
 *            v           |            epoch raised by others
 *   start --> active ----+----------------------------> retired --(renews, reinstates)--> active
 *              |  |                                        ^
 *              |  +-- stop on purpose --> stopped ---------+-- a new process starts
 *              +----- cannot work ------> broken ----------+
 */
import { type Clocks, elapsedForHolder } from "./clocks.ts";
import { majorityOf } from "./license.ts";
import type { Timing } from "./timing.ts";

export type MemberState = "active" | "retired" | "stopped" | "broken" | "removed";

/** The value of the key `member/<id>`. Never deleted; epochs never restart. */
export interface MemberRecord {
  readonly epoch: number;
  readonly renewal: number;
  readonly state: MemberState;
  readonly url: string;
  /** Public key, one line of text. */
  readonly key: string;
  readonly priority: number;
  readonly licenseSequence: number | null;
  /** Of the process that writes: its journal's mark and the last synced sequence it published. */
  readonly journal: { readonly mark: string; readonly sequence: number };
  /** Last nonce of every writer of this record. */
  readonly nonces: Readonly<Record<string, string>>;
}

/** What one member knows of another's record from its own reads. */
export interface Observation {
  readonly record: MemberRecord;
  readonly revision: number;
  /** Clocks at the send of the read that showed a change; null before the first change seen. */
  readonly aliveAt: Clocks | null;
  /** Monotonic, at the ANSWER of the first read of this revision: the taker rounds up. */
  readonly unchangedSinceMs: number;
  /** Monotonic, at the answer of the last read. */
  readonly lastReadMs: number;
  /** Clocks at the send of the last read. */
  readonly lastSent: Clocks;
}

/** There was no record of the member yet when the observer read last. */
export interface Absent {
  readonly record: null;
  /** Clocks at the send of that read. */
  readonly lastSent: Clocks;
}

/**
 * The next observation after a read. `previous` is null when the store was never read before. A record that
 * appears between two reads is alive.
 */
export function observe(
  previous: Observation | Absent | null,
  record: MemberRecord,
  revision: number,
  sent: Clocks,
  answeredMs: number,
  timing: Timing,
): Observation {
  if (previous === null || previous.record === null || revision > previous.revision) {
    return {
      record,
      revision,
      aliveAt: signOfLife(previous, record, sent, answeredMs, timing),
      unchangedSinceMs: answeredMs,
      lastReadMs: answeredMs,
      lastSent: sent,
    };
  }
  if (revision < previous.revision) return previous;
  // A gap in my own reads says nothing about the other: without this rule a store outage would make
  // everybody retire everybody.
  const gap = answeredMs - previous.lastReadMs > timing.readGapMsMax;
  return {
    ...previous,
    unchangedSinceMs: gap ? answeredMs : previous.unchangedSinceMs,
    lastReadMs: answeredMs,
    lastSent: sent,
  };
}

/**
 * A change is a sign of life of now only if my own last read was not long ago: after a gap of mine the record
 * may have changed at any time within it.
 */
function signOfLife(
  previous: Observation | Absent | null,
  record: MemberRecord,
  sent: Clocks,
  answeredMs: number,
  timing: Timing,
): Clocks | null {
  if (previous === null || record.state !== "active") return null;
  const before = previous.record === null ? null : previous;
  // A write of only a nonce moves the revision, but nobody who lives and works renewed by it.
  if (before !== null && record.renewal <= before.record.renewal) return before.aliveAt;
  // From the send: answers that waited for a paused process say nothing of the time since. By the longest
  // clock: neither does a machine that slept.
  const gapMs = Math.max(
    answeredMs - previous.lastSent.monotonicMs,
    elapsedForHolder(previous.lastSent, sent),
  );
  return gapMs > timing.readGapMsMax ? (before?.aliveAt ?? null) : sent;
}

/** I2's "seen alive within the last R", counted like a holder. */
export function seenAlive(observation: Observation, now: Clocks, timing: Timing): boolean {
  return (
    observation.record.state === "active" &&
    observation.aliveAt !== null &&
    elapsedForHolder(observation.aliveAt, now) <= timing.retireAfterMs
  );
}

/** Whether the observer may raise the epoch of this silent member. Counts the monotonic clock alone. */
export function mayRetire(observation: Observation, nowMs: number, timing: Timing): boolean {
  return (
    observation.record.state === "active" &&
    nowMs - observation.unchangedSinceMs >= timing.retireAfterMs &&
    nowMs - observation.lastReadMs <= timing.readGapMsMax
  );
}

/** How long until `mayRetire` could hold, for telling a client when to come back; at least 1. */
export function retireInMs(observation: Observation, nowMs: number, timing: Timing): number {
  return Math.max(1, observation.unchangedSinceMs + timing.retireAfterMs - nowMs);
}

export type MandateVerdict = "mandate" | "no-mandate" | "no-majority";

/**
 * A mandate runs from the SEND of the last renewal that was applied, and only while a majority of the
 * licensed size is seen alive. `alive` counts the member itself.
 */
export function mandateVerdict(
  renewalSent: Clocks | null,
  now: Clocks,
  alive: number,
  size: number,
  timing: Timing,
): MandateVerdict {
  if (alive < majorityOf(size)) return "no-majority";
  if (renewalSent === null) return "no-mandate";
  return elapsedForHolder(renewalSent, now) < timing.mandateMs ? "mandate" : "no-mandate";
}

/** Whether an epoch of a member is over: its entries are retired from that moment. */
export function epochIsOver(record: MemberRecord | null, epoch: number): boolean {
  return record !== null && record.epoch > epoch;
}

export type StartVerdict = "at-once" | "wait" | "waited" | "another-lives";

/**
 * What a new process may do with the record of its own member (design section 4.1, Start).
 * `first` is the record at the first read, null when absent; a changed renewal or mark betrays another
 * living process; a raised epoch alone is a retirement by others and ends the wait.
 */
export function startVerdict(
  first: MemberRecord | null,
  current: MemberRecord | null,
  waitedMs: number,
  timing: Timing,
): StartVerdict {
  if (first === null) return current === null ? "at-once" : "another-lives";
  if (current === null) return "another-lives";
  if (current.renewal !== first.renewal || current.journal.mark !== first.journal.mark) {
    return "another-lives";
  }
  if (first.state === "stopped") return "at-once";
  if (current.epoch > first.epoch) return "waited";
  return waitedMs >= timing.retireAfterMs ? "waited" : "wait";
}

/** Whether a journal holds everything that the member's record says was synced. */
export function journalIsWhole(
  journal: { readonly mark: string | null; readonly sequence: number },
  record: MemberRecord,
): boolean {
  return journal.mark === record.journal.mark && journal.sequence >= record.journal.sequence;
}

/** The value of the key `leader`. */
export interface LeaderRecord {
  readonly member: string;
  readonly epoch: number;
  /** Fencing number: grows by one at every change. */
  readonly term: number;
  readonly nonces: Readonly<Record<string, string>>;
}

/** Leadership ends with its holder's epoch or its stopped/broken mark; never by itself. */
export function leadershipIsOver(
  leader: LeaderRecord | null,
  holder: MemberRecord | null,
): boolean {
  if (leader === null) return true;
  return holder === null || holder.epoch !== leader.epoch || holder.state !== "active";
}

export const TAKE_OVER_STEP_MS = 60;

/** How long to wait before taking an ended leadership: by priority, then by chance. `random` in [0, 1). */
export function takeOverDelayMs(
  self: string,
  candidates: readonly { readonly id: string; readonly priority: number }[],
  random: number,
): number {
  const order = [...candidates].sort((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1));
  const rank = Math.max(
    0,
    order.findIndex((candidate) => candidate.id === self),
  );
  return Math.floor((rank + random * 0.5) * TAKE_OVER_STEP_MS);
}
