/** So many a minute for each key; the keys that were heard of longest ago are forgotten first. */
export interface Rate {
  /** False: not now. What was let through counts. */
  take(key: string): boolean;
}

const KEYS_MAX = 10_000;
const MINUTE_MS = 60_000;

export function createRate(perMinute: number, nowMs: () => number = () => performance.now()): Rate {
  const windows = new Map<string, { startedAtMs: number; count: number }>();
  return {
    take: (key) => {
      const at = nowMs();
      const found = windows.get(key);
      const window =
        found === undefined || at - found.startedAtMs >= MINUTE_MS
          ? { startedAtMs: at, count: 0 }
          : found;
      if (window.count >= perMinute) return false;
      window.count += 1;
      windows.delete(key);
      windows.set(key, window);
      if (windows.size > KEYS_MAX) {
        const oldest = windows.keys().next();
        if (oldest.done !== true) windows.delete(oldest.value);
      }
      return true;
    },
  };
}
