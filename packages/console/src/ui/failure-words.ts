import type { Administrator } from "../live/administrator.ts";
import { RefusedError } from "../live/pool-calls.ts";

/** What to tell about a change that failed. A token that the server did not take is forgotten. */
export function wordsOfFailure(error: unknown, administrator: Administrator): string {
  if (error instanceof RefusedError) {
    if (error.code === "forbidden" || error.code === "unauthorized") administrator.enter(null);
    return `${error.message} (${error.code})`;
  }
  return error instanceof Error ? error.message : String(error);
}
