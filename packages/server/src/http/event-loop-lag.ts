/**
 * How late the event loop is: the sign of overload that sheds new requests before heartbeats (design
 * section 4.4). A timer of a fixed step sees how late it fires; an average over a few steps keeps one
 * pause, such as a collection of garbage or a process that was frozen, from turning clients away.
 */
export interface LagMeter {
  lagMs(): number;
  close(): void;
}

const STEP_MS = 20;
const SHARE_OF_NEWEST = 0.25;
/** One pause counts as at most this: after a long freeze heartbeats are welcome at once. */
const LATE_MS_MAX = 1_000;

/** `waitedMs`: how long work waits that gives the event loop its turns; it is as late as the loop is. */
export function createLagMeter(
  waitedMs: () => number = () => 0,
  nowMs: () => number = () => performance.now(),
): LagMeter {
  let average = 0;
  let expectedMs = nowMs() + STEP_MS;
  const timer = setInterval(() => {
    const now = nowMs();
    const lateMs = Math.max(0, now - expectedMs, waitedMs());
    average += SHARE_OF_NEWEST * (Math.min(lateMs, LATE_MS_MAX) - average);
    expectedMs = now + STEP_MS;
  }, STEP_MS);
  timer.unref();
  return { lagMs: () => average, close: () => clearInterval(timer) };
}
