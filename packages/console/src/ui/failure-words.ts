import { RefusedError } from "../live/pool-calls.ts";

/** What to tell about a call that failed. */
export function wordsOfFailure(error: unknown): string {
  if (error instanceof RefusedError) return `${error.message} (${error.code})`;
  return error instanceof Error ? error.message : String(error);
}
