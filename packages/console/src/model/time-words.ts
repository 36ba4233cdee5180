/** Instants and durations as people read them. */
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Two units at most: `48 s`, `5 min`, `3 h 20 min`, `12 days`. */
export function durationWords(ms: number): string {
  const least = Math.max(0, ms);
  if (least < MINUTE_MS) return `${Math.floor(least / SECOND_MS)} s`;
  if (least < HOUR_MS) return `${Math.floor(least / MINUTE_MS)} min`;
  if (least < 2 * DAY_MS) {
    const hours = Math.floor(least / HOUR_MS);
    const minutes = Math.floor((least % HOUR_MS) / MINUTE_MS);
    return minutes === 0 || hours >= 10 ? `${hours} h` : `${hours} h ${minutes} min`;
  }
  return `${Math.floor(least / DAY_MS).toLocaleString("en")} days`;
}

export interface Term {
  readonly words: string;
  /** What it means for work now: nothing yet, soon, or already. */
  readonly tone: "plain" | "soon" | "over";
}

const SOON_MS = 30 * DAY_MS;

/** How a feature's term stands: without end, ends in so long, over, or not begun. */
export function termWords(starts: string | null, expires: string | null, nowMs: number): Term {
  if (starts !== null && Date.parse(starts) > nowMs) {
    return { words: `starts in ${durationWords(Date.parse(starts) - nowMs)}`, tone: "soon" };
  }
  if (expires === null) return { words: "no end", tone: "plain" };
  const leftMs = Date.parse(expires) - nowMs;
  if (leftMs <= 0) return { words: `ended ${durationWords(-leftMs)} ago`, tone: "over" };
  return { words: `ends in ${durationWords(leftMs)}`, tone: leftMs <= SOON_MS ? "soon" : "plain" };
}

/** `12:03:44` of the reader's own day, `Nov 23, 12:03` of another one. */
export function instantWords(atMs: number, nowMs: number): string {
  const at = new Date(atMs);
  if (at.toDateString() === new Date(nowMs).toDateString()) return clockWords(atMs);
  const year =
    at.getFullYear() === new Date(nowMs).getFullYear() ? {} : { year: "numeric" as const };
  return at.toLocaleString("en", {
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    ...year,
  });
}

export function clockWords(atMs: number): string {
  return new Date(atMs).toLocaleTimeString("en", { hourCycle: "h23" });
}

export function dayWords(text: string): string {
  const options = { year: "numeric", month: "short", day: "numeric" } as const;
  return new Date(text).toLocaleDateString("en", options);
}
