/**
 * Where in a journal a report may begin to read. A use that began long before the asked time may lie in it, and
 * only reading everything shows that. But once it was read, the oldest use that reached into a time is known, and
 * a later time has no older one: uses end, and none begins in the past. So the first look at a day reads the
 * whole history, and those after it read that day.
 */
import type { HistoryPlace } from "../journal/journal.ts";

interface Begin {
  readonly fromMs: number;
  /** Start of the oldest use that reached into it. */
  readonly oldestMs: number;
  /** Monotonic. */
  readonly notedAtMs: number;
}

const BEGINS_MAX = 2_000;
/** A clock that was set back writes into the past, as far as this at most. */
const CLOCK_STEP_MS_MAX = 3_600_000;
/** After a while everything is read again: a member may have come back with another journal. */
const KEPT_MS_MAX = 6 * 3_600_000;

export class HistoryBegins {
  /** By member and feature, then by how long the asked time was: an hour and a month know different beginnings. */
  private readonly begins = new Map<string, Map<number, Begin>>();
  private readonly nowMs: () => number;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** Null: from the oldest row on. */
  placeFor(member: string, feature: string | undefined, fromMs: number): HistoryPlace | null {
    let atMs: number | null = null;
    for (const begin of this.begins.get(keyOf(member, feature))?.values() ?? []) {
      const isGood = begin.fromMs <= fromMs && this.nowMs() - begin.notedAtMs < KEPT_MS_MAX;
      if (isGood) atMs = Math.max(atMs ?? begin.oldestMs, begin.oldestMs);
    }
    return atMs === null ? null : { atMs: atMs - CLOCK_STEP_MS_MAX, row: 0 };
  }

  /** After the whole history was read, or all from a place that was good for it. */
  note(
    member: string,
    feature: string | undefined,
    asked: { readonly fromMs: number; readonly toMs: number },
    oldestMs: number | null,
  ): void {
    const { fromMs, toMs } = asked;
    const key = keyOf(member, feature);
    const known = this.begins.get(key) ?? new Map<number, Begin>();
    // Set anew, so that the one that was asked for longest ago comes first.
    this.begins.delete(key);
    this.begins.set(key, known);
    const length = Math.round(Math.log2(Math.max(1, toMs - fromMs)));
    const before = known.get(length);
    const begin = {
      fromMs,
      oldestMs: Math.min(oldestMs ?? fromMs, fromMs),
      // What was read from a place that was known is as old as that.
      notedAtMs: before?.notedAtMs ?? this.nowMs(),
    };
    const isOver = this.nowMs() - begin.notedAtMs >= KEPT_MS_MAX;
    known.set(length, isOver ? { ...begin, notedAtMs: this.nowMs() } : begin);
    const [oldest] = this.begins.keys();
    if (this.begins.size > BEGINS_MAX && oldest !== undefined) this.begins.delete(oldest);
  }
}

function keyOf(member: string, feature: string | undefined): string {
  return `${member}\u0000${feature ?? ""}`;
}
