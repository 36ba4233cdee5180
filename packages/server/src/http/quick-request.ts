/**
 * Reads the plainest form of a request about a session: head and body complete in one piece, a few ordinary
 * headers, nothing that HTTP/1.1 has two opinions on. Everything else is null, and is for Node's parser: this one
 * refuses nothing and repairs nothing, so the two can't disagree about what a request is.
 */
import type { Socket } from "node:net";
import { BODY_BYTES_MAX } from "@quorate/core";
import { AUTHORIZATIONS_PATH } from "@quorate/protocol";
import type { RequestHead } from "./raw-header.ts";

export interface QuickRequest extends RequestHead {
  readonly method: "POST" | "DELETE";
  readonly url: string;
  readonly body: Buffer;
}

const POST = `POST ${AUTHORIZATIONS_PATH}`;
const DELETE = `DELETE ${AUTHORIZATIONS_PATH}`;
const VERSION = " HTTP/1.1";
const LETTER_P = 80;
const LETTER_D = 68;
const RETURN = 13;
const NEWLINE = 10;
const SPACE = 32;
const COLON = 58;
/** Those of the load of a whole site's proxy are fewer. */
const HEADERS_MAX = 32;
const LENGTH = /^(?:0|[1-9]\d{0,5})$/;

/** What a byte may be part of. */
const VISIBLE = 1;
const NAME = 2;
const KINDS = Uint8Array.from({ length: 256 }, (_, byte) =>
  /[A-Za-z0-9-]/.test(String.fromCharCode(byte))
    ? VISIBLE | NAME
    : byte > SPACE && byte < 127
      ? VISIBLE
      : 0,
);

/** Of each header where its name begins and ends, and its value; of the request that is being read. */
const places = new Uint32Array(4 * HEADERS_MAX);

/** Null: not in the plainest form. Nothing of `chunk` is kept but by the request's body. */
export function readQuickRequest(
  chunk: Buffer,
  socket: Socket,
  headBytesMax: number,
): QuickRequest | null {
  const isPost = chunk[0] === LETTER_P;
  if (!isPost && chunk[0] !== LETTER_D) return null;
  const urlFrom = isPost ? 5 : 7;
  const urlEnd = endOf(VISIBLE, chunk, urlFrom);
  const firstEnd = urlEnd + VERSION.length;
  if (!isLineEnd(chunk, firstEnd)) return null;
  const headEnd = findHeaders(chunk, firstEnd + 2);
  if (headEnd === -1 || headEnd > headBytesMax) return null;
  const head = chunk.toString("latin1", 0, headEnd);
  if (!head.startsWith(isPost ? POST : DELETE) || !head.startsWith(VERSION, urlEnd)) return null;
  const rawHeaders: string[] = [];
  const length = readHeaders(head, rawHeaders);
  if (length === null || chunk.length !== headEnd + 4 + length) return null;
  // Not a piece of `head`: a session's id outlives its request, and a piece keeps the whole alive.
  const url = chunk.toString("latin1", urlFrom, urlEnd);
  const body = chunk.subarray(headEnd + 4);
  return { method: isPost ? "POST" : "DELETE", url, rawHeaders, socket, body };
}

/** How many headers `findHeaders` found. */
let found = 0;

/** Finds the headers, byte by byte: half the price of looking for ends and testing the pieces. The end, or -1. */
function findHeaders(chunk: Buffer, from: number): number {
  found = 0;
  for (let at = from; ; found += 1) {
    if (found > 0 && isLineEnd(chunk, at)) return at - 2;
    if (found === HEADERS_MAX) return -1;
    const colon = endOf(NAME, chunk, at);
    if (colon === at || chunk[colon] !== COLON) return -1;
    const begin = chunk[colon + 1] === SPACE ? colon + 2 : colon + 1;
    let end = endOf(VISIBLE, chunk, begin);
    // No spaces at its ends, and no empty value.
    if (end === begin) return -1;
    while (chunk[end] === SPACE) end = endOf(VISIBLE, chunk, end + 1);
    if (chunk[end - 1] === SPACE || !isLineEnd(chunk, end)) return -1;
    const place = 4 * found;
    places[place] = at;
    places[place + 1] = colon;
    places[place + 2] = begin;
    places[place + 3] = end;
    at = end + 2;
  }
}

function endOf(kind: number, chunk: Buffer, from: number): number {
  let at = from;
  while (at < chunk.length && ((KINDS[chunk[at] ?? 0] ?? 0) & kind) !== 0) at += 1;
  return at;
}

function isLineEnd(chunk: Buffer, at: number): boolean {
  return chunk[at] === RETURN && chunk[at + 1] === NEWLINE;
}

/** Adds names and values to `into`. The length of the body, or null. */
function readHeaders(head: string, into: string[]): number | null {
  let hosts = 0;
  let length: string | null = null;
  for (let place = 0; place < 4 * found; place += 4) {
    const name = head.slice(places[place], places[place + 1]);
    const value = head.slice(places[place + 2], places[place + 3]);
    switch (ROLE_LENGTHS.has(name.length) ? roleOf(name) : undefined) {
      case "host":
        hosts += 1;
        break;
      case "length":
        if (length !== null || !LENGTH.test(value)) return null;
        length = value;
        break;
      case "connection":
        if (value !== "keep-alive") return null;
        break;
      case "other parser":
        return null;
      case undefined:
    }
    into.push(name, value);
  }
  if (hosts !== 1) return null;
  const bytes = Number(length ?? 0);
  return bytes > BODY_BYTES_MAX ? null : bytes;
}

function roleOf(name: string): Role | undefined {
  return ROLES.get(name) ?? ROLES.get(name.toLowerCase());
}

type Role = "host" | "length" | "connection" | "other parser";

/**
 * Headers that say how to read the rest, or that come from browsers. The usual spellings are here as well, so that
 * nothing is made lower-case for them.
 */
const ROLES: ReadonlyMap<string, Role> = new Map([
  ["Host", "host"],
  ["host", "host"],
  ["Content-Length", "length"],
  ["content-length", "length"],
  ["Connection", "connection"],
  ["connection", "connection"],
  ...[
    "transfer-encoding",
    "content-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "origin",
    "proxy-connection",
    "keep-alive",
  ].map((name) => [name, "other parser"] as const),
]);

/** Most headers are known by it to be none of these. */
const ROLE_LENGTHS: ReadonlySet<number> = new Set(Array.from(ROLES.keys(), (name) => name.length));
