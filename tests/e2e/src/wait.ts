/** Waiting for a condition: the only way these tests let time pass. */
const LOOK_EVERY_MS = 25;
const WAIT_MS_DEFAULT = 15_000;

/** Milliseconds on the clock that all processes of this machine share. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** The first value of `look` that is neither false nor null; fails with `what` and the last look's words. */
export async function waitFor<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = WAIT_MS_DEFAULT,
): Promise<Exclude<T, false | null | undefined>> {
  const untilMs = nowMs() + timeoutMs;
  for (;;) {
    let last: unknown = null;
    try {
      const found = await look();
      if (found !== false && found !== null && found !== undefined) {
        return found as Exclude<T, false | null | undefined>;
      }
      last = found;
    } catch (error) {
      last = error;
    }
    if (nowMs() > untilMs) {
      throw new Error(`waited ${timeoutMs} ms in vain: ${what} (last look: ${String(last)})`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** Resolves when an instant of the shared clock has come: for waits that a rule of the design names. */
export async function until(atMs: number): Promise<void> {
  await waitFor(`instant ${atMs}`, () => nowMs() >= atMs, Math.max(1_000, atMs - nowMs() + 5_000));
}
