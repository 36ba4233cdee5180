import { InvalidArgumentError } from "commander";

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
/** The longest a request may wait; the servers refuse more. */
const WAIT_MS_MAX = 24 * 3_600_000;

/** Milliseconds of `500`, `500ms`, `30s`, `5m` or `1h`. */
export function parseWait(text: string): number {
  const match = /^(\d{1,12})(ms|s|m|h)?$/.exec(text);
  const waitMs = Number(match?.[1]) * (UNIT_MS[match?.[2] ?? "ms"] ?? Number.NaN);
  if (waitMs <= WAIT_MS_MAX) return waitMs;
  throw new InvalidArgumentError("Write it as 500ms, 30s or 5m; at most 24h.");
}

/** A whole number from `least` to `most`, as an option's parser. */
export function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (Number.isSafeInteger(number) && number >= least && number <= most) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}
