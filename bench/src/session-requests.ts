/** The requests of sessions as bytes, built before the clock runs. They say what the SDK says. */
import { hash, randomBytes } from "node:crypto";
import { AUTHORIZATIONS_PATH, authorizationPath, heartbeatPath } from "@quorate/protocol";
import { FEATURE } from "./pool.ts";

const SECRET_BYTES = 32;
const HOLDER = { user: "benchmark", host: "workstation-17", process: "4711" };

export interface SessionRequests {
  readonly checkout: Buffer;
  readonly release: Buffer;
}

/** Fresh sessions: a released one leaves a tombstone and is never used again, as in life. */
export function makeSessions(number: number): SessionRequests[] {
  const random = randomBytes(number * SECRET_BYTES);
  return Array.from({ length: number }, (_, index) => {
    const { secret, session } = identity(random, index);
    return {
      checkout: post(AUTHORIZATIONS_PATH, secret, checkoutBody(session)),
      release: request("DELETE", `${authorizationPath(session)}?n=2`, secret, ""),
    };
  });
}

export interface Heartbeat {
  readonly checkout: Buffer;
  /** The bytes of the next heartbeat, in the same buffer each time: its number is raised in place. */
  next(): Buffer;
}

export function makeHeartbeats(number: number): Heartbeat[] {
  const random = randomBytes(number * SECRET_BYTES);
  return Array.from({ length: number }, (_, index) => {
    const { secret, session } = identity(random, index);
    const bytes = post(heartbeatPath(session), secret, JSON.stringify({ n: FIRST_N }));
    let n = FIRST_N;
    return {
      checkout: post(AUTHORIZATIONS_PATH, secret, checkoutBody(session)),
      next: () => {
        n += 1;
        // The body ends with the number and a brace.
        bytes.write(String(n), bytes.length - N_DIGITS - 1, "latin1");
        return bytes;
      },
    };
  });
}

/** So many digits from the first to the last heartbeat of a run. */
const FIRST_N = 1_000_000;
const N_DIGITS = 7;

function identity(random: Buffer, index: number): { secret: string; session: string } {
  const at = index * SECRET_BYTES;
  const secret = random.toString("base64url", at, at + SECRET_BYTES);
  return { secret, session: hash("sha256", secret, "base64url") };
}

function checkoutBody(session: string): string {
  return JSON.stringify({
    session,
    n: 1,
    feature: FEATURE,
    version: "2026.1",
    seats: 1,
    holder: HOLDER,
  });
}

function post(path: string, secret: string, body: string): Buffer {
  return request("POST", path, secret, body);
}

function request(method: string, path: string, secret: string, body: string): Buffer {
  const content =
    body === "" ? "" : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
  return Buffer.from(
    `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n` +
      `Quorate-Session: ${secret}\r\n${content}\r\n${body}`,
    "latin1",
  );
}
