/** The log of a server: one JSON object a line on standard error. */
import type { OpenMemberOptions } from "@quorate/server";
import pino, { type DestinationStream } from "pino";

type Log = OpenMemberOptions["log"];

const CAUSES_MAX = 5;

export function serverLog(
  member: string,
  destination: DestinationStream = pino.destination({ fd: 2, sync: true }),
): Log {
  // Without this an error is an empty object: nothing in it is enumerable.
  const serializers = { error: wordsOf };
  const log = pino({ base: { member }, serializers }, destination);
  return {
    info: (message, fields) => log.info(fields ?? {}, message),
    warn: (message, fields) => log.warn(fields ?? {}, message),
    error: (message, fields) => log.error(fields ?? {}, message),
  };
}

/** Where it happened and why, cause by cause; never other members of an error, which may hold whole answers. */
function wordsOf(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  let words = error.stack ?? error.message;
  let { cause } = error;
  for (let depth = 0; depth < CAUSES_MAX && cause instanceof Error; depth += 1) {
    // What could not be parsed is repeated in the words about it, and may be a secret.
    words += `\ncaused by ${cause.name}${cause instanceof SyntaxError ? "" : `: ${cause.message}`}`;
    ({ cause } = cause);
  }
  return words;
}
