/**
 * Readings of a machine's clocks. The core never reads a clock: a reading is passed in.
 *
 * Design section 4: holders of a right count the longest of what the clocks show, because a false
 * alarm costs one renewal and a missed suspend costs an over-issue. Takers count the monotonic clock
 * alone, because a wall clock set forward must never free a seat.
 */
export interface Clocks {
  /** Never goes back; may stand still while the machine sleeps. */
  readonly monotonicMs: number;
  /** Like monotonic, but counts sleep. Where there is none, the same as monotonic. */
  readonly bootMs: number;
  /** What people read, milliseconds since 1970; may be set to anything. */
  readonly wallMs: number;
}

/** Milliseconds since `start` for the holder of a right: the longest of the three clocks. */
export function elapsedForHolder(start: Clocks, now: Clocks): number {
  return Math.max(
    now.monotonicMs - start.monotonicMs,
    now.bootMs - start.bootMs,
    now.wallMs - start.wallMs,
  );
}
