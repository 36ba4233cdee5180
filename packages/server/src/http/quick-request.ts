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
const HEAD_END = "\r\n\r\n";
const LETTER_P = 80;
const LETTER_D = 68;
/** Those of the load of a whole site's proxy are fewer. */
const HEADERS_MAX = 32;
const TARGET = /^[!-~]+$/;
const NAME = /^[A-Za-z0-9-]+$/;
const VALUE = /^[!-~](?:[ -~]*[!-~])?$/;
const LENGTH = /^(?:0|[1-9]\d{0,5})$/;

/** Null: not in the plainest form. Nothing of `chunk` is kept but by the request's body. */
export function readQuickRequest(
  chunk: Buffer,
  socket: Socket,
  headBytesMax: number,
): QuickRequest | null {
  const isPost = chunk[0] === LETTER_P;
  if (!isPost && chunk[0] !== LETTER_D) return null;
  const headEnd = chunk.indexOf(HEAD_END);
  if (headEnd === -1 || headEnd > headBytesMax) return null;
  const head = chunk.toString("latin1", 0, headEnd);
  if (!head.startsWith(isPost ? POST : DELETE)) return null;
  const firstEnd = head.indexOf("\r\n");
  if (firstEnd === -1 || !head.startsWith(VERSION, firstEnd - VERSION.length)) return null;
  // Not a piece of `head`: a session's id outlives its request, and a piece keeps the whole alive.
  const url = chunk.toString("latin1", isPost ? 5 : 7, firstEnd - VERSION.length);
  if (!TARGET.test(url)) return null;
  const rawHeaders: string[] = [];
  const length = readHeaders(head, firstEnd + 2, rawHeaders);
  if (length === null || chunk.length !== headEnd + HEAD_END.length + length) return null;
  const body = chunk.subarray(headEnd + HEAD_END.length);
  return { method: isPost ? "POST" : "DELETE", url, rawHeaders, socket, body };
}

/** Adds names and values to `into`. The length of the body, or null. */
function readHeaders(head: string, from: number, into: string[]): number | null {
  let hosts = 0;
  let length: string | null = null;
  for (let at = from; at < head.length;) {
    let end = head.indexOf("\r\n", at);
    if (end === -1) end = head.length;
    const colon = head.indexOf(":", at);
    if (colon === -1 || colon >= end || into.length === 2 * HEADERS_MAX) return null;
    const name = head.slice(at, colon);
    const value = head.slice(head.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1, end);
    if (!NAME.test(name) || !VALUE.test(value)) return null;
    switch (ROLES.get(name) ?? ROLES.get(name.toLowerCase())) {
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
    at = end + 2;
  }
  if (hosts !== 1) return null;
  const bytes = Number(length ?? 0);
  return bytes > BODY_BYTES_MAX ? null : bytes;
}

/**
 * Headers that say how to read the rest, or that come from browsers. The usual spellings are here as well, so that
 * nothing is made lower-case for them.
 */
const ROLES: ReadonlyMap<string, "host" | "length" | "connection" | "other parser"> = new Map([
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
