/**
 * Refusals on their way out. Node's own responses and Fastify's replies, and the bare socket of a request
 * that was never parsed, all send the same problem document and the same headers.
 */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyReply } from "fastify";
import { refuse } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import { PROBLEM_MEDIA_TYPE, problemOf } from "@quorate/protocol";
import type { Reply } from "./reply.ts";

/** Said when the server failed: the cause is for the log, not for strangers. */
export const INTERNAL_ERROR = refuse(
  "internal-error",
  "The server failed while it answered. Ask another server of the pool; the log of this one says why.",
);

/** How a route of Fastify's refuses. */
export type SendRefusal = (reply: FastifyReply, refusal: Refusal, status?: number) => void;

export interface ProblemReply {
  readonly status: number;
  readonly text: string;
  /** Text that is all ASCII, as nearly all is, goes out without being converted. */
  readonly encoding: "latin1" | "utf8";
  /** Flat list of names and values, as `writeHead` takes it. */
  readonly headers: string[];
}

/** `status` stands in for the table's where HTTP has a finer one. */
export function problemReply(refusal: Refusal, status?: number): ProblemReply {
  const problem = problemOf(refusal, status);
  const text = JSON.stringify(problem);
  const bytes = Buffer.byteLength(text);
  const headers = [
    "Content-Type",
    PROBLEM_MEDIA_TYPE,
    "Content-Length",
    String(bytes),
    "Cache-Control",
    "no-store",
    "X-Content-Type-Options",
    "nosniff",
  ];
  if (refusal.retryAfterMs !== undefined) {
    headers.push("Retry-After", String(Math.ceil(refusal.retryAfterMs / 1_000)));
  }
  if (refusal.refused === "unauthorized")
    headers.push("WWW-Authenticate", 'Bearer realm="quorate"');
  const encoding = bytes === text.length ? "latin1" : "utf8";
  return { status: problem.status, text, encoding, headers };
}

export function sendProblem(
  response: Pick<Reply, "writeHead" | "end">,
  refusal: Refusal,
  status?: number,
): void {
  const reply = problemReply(refusal, status);
  response.writeHead(reply.status, reply.headers);
  response.end(reply.text, reply.encoding);
}

/** For what Node's parser refused: there is no response object, only the socket, which is closed. */
export function sendProblemToSocket(socket: Duplex, refusal: Refusal, status?: number): void {
  const reply = problemReply(refusal, status);
  let head = `HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status] ?? ""}\r\nConnection: close\r\n`;
  for (let index = 0; index < reply.headers.length; index += 2) {
    head += `${reply.headers[index]}: ${reply.headers[index + 1]}\r\n`;
  }
  socket.end(`${head}\r\n${reply.text}`);
}
