/**
 * Reads the body of a request, within a bound. The time it may take is bounded by the server's
 * `requestTimeout`, which costs no timer per request: a sender that is too slow is cut, and the reading
 * ends as `aborted`.
 */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { refuse } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import type { QuickRequest } from "./quick-request.ts";
import { rawHeader } from "./raw-header.ts";

export type BodyEnd = (refusal: Refusal | null, body: Buffer) => void;

/** What all bodies of a server share. */
export interface BodyBounds {
  /** How much of a body that is refused is read and thrown away, so that the refusal is read. */
  readonly drainBytesMax: number;
  /** Of bodies that are not complete yet, beyond the first piece of each. */
  readonly pendingBytesMax: number;
  pendingBytes: number;
}

const EMPTY = Buffer.alloc(0);

/**
 * Calls back once with the bytes or a refusal, and not at all when the sender is gone: then there is
 * nobody to answer. What is refused is thrown away, up to a bound, so that a client that is still sending
 * gets to read the refusal instead of a reset.
 */
export function readBody(
  request: IncomingMessage | QuickRequest,
  bytesMax: number,
  bounds: BodyBounds,
  end: BodyEnd,
): void {
  // The quick lane takes only what is complete and within the bound.
  if ("body" in request) return end(null, request.body);
  const announced = rawHeader(request, "content-length");
  if (announced !== undefined && Number(announced) > bytesMax) {
    drain(request, bounds.drainBytesMax);
    end(tooLarge(bytesMax), EMPTY);
    return;
  }
  let first: Buffer | null = null;
  let rest: Buffer[] | null = null;
  let bytes = 0;
  let counted = 0;
  const uncount = (): void => {
    bounds.pendingBytes -= counted;
    counted = 0;
  };
  const refuseRest = (refusal: Refusal): void => {
    request.off("data", take);
    request.off("end", finish);
    first = null;
    rest = null;
    uncount();
    drain(request, bounds.drainBytesMax);
    end(refusal, EMPTY);
  };
  const take = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes > bytesMax) return refuseRest(tooLarge(bytesMax));
    if (first === null) {
      first = chunk;
      return;
    }
    // Nearly every body comes in one piece and costs no bookkeeping; the long ones share a bound.
    if (bounds.pendingBytes + chunk.length > bounds.pendingBytesMax) return refuseRest(CROWDED);
    if (rest === null) {
      rest = [];
      request.on("close", uncount);
    }
    rest.push(chunk);
    counted += chunk.length;
    bounds.pendingBytes += chunk.length;
  };
  const finish = (): void => {
    uncount();
    if (first === null) end(null, EMPTY);
    else end(null, rest === null ? first : Buffer.concat([first, ...rest], bytes));
  };
  request.on("data", take);
  request.on("end", finish);
  request.on("error", ignoreGone);
}

/** The JSON value in a body, or the refusal. */
export function parseJson(body: Buffer): { readonly value: unknown } | Refusal {
  if (!isUtf8(body)) return refuse("bad-request", "The body is not UTF-8.");
  try {
    return { value: JSON.parse(body.toString("utf8")) };
  } catch {
    // The parser's own words would repeat a piece of the body, which may hold a secret.
    return refuse("bad-request", "The body is not JSON.");
  }
}

/** True for `application/json`, with or without parameters. */
export function isJsonMediaType(contentType: string | undefined): boolean {
  if (contentType === undefined) return false;
  if (contentType === "application/json") return true;
  const semicolon = contentType.indexOf(";");
  const essence = semicolon === -1 ? contentType : contentType.slice(0, semicolon);
  return essence.trim().toLowerCase() === "application/json";
}

export const NOT_JSON = refuse(
  "unsupported-media-type",
  "Send the body as JSON, with the header Content-Type: application/json.",
);

const CROWDED = refuse("busy", "Too many long bodies are on their way at once. Send it again.", {
  retryAfterMs: 1_000,
});

function tooLarge(bytesMax: number): Refusal {
  return refuse("too-large", `The body may have at most ${bytesMax} bytes.`);
}

function drain(request: IncomingMessage, drainBytesMax: number): void {
  let bytes = 0;
  request.on("error", ignoreGone);
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > drainBytesMax) request.destroy();
  });
}

/** The sender hung up or was cut for slowness: there is nobody left to tell. */
function ignoreGone(): void {
  // Without a listener Node would raise the error as an uncaught one.
}
