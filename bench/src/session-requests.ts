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

/** Sessions that are held, as many as one likes: what is kept of each are its secret and its id. */
export class HeldSessions {
  readonly count: number;
  readonly #random: Buffer;
  readonly #ids: Buffer;
  #next = 0;
  #n = FIRST_N;

  constructor(count: number) {
    this.count = count;
    this.#random = randomBytes(count * SECRET_BYTES);
    this.#ids = Buffer.alloc(count * ID_CHARACTERS);
    for (let index = 0; index < count; index += 1) {
      this.#ids.write(identity(this.#random, index).session, index * ID_CHARACTERS, "latin1");
    }
  }

  checkout(index: number): Buffer {
    return post(AUTHORIZATIONS_PATH, this.#secret(index), checkoutBody(this.#session(index)));
  }

  /** A heartbeat whose session, secret and number are put in place. */
  template(): Buffer {
    return post(
      heartbeatPath("s".repeat(ID_CHARACTERS)),
      "s".repeat(ID_CHARACTERS),
      `{"n":${FIRST_N}}`,
    );
  }

  /** The next heartbeat of the next session, far from the last one, as clients come. */
  nextInto(template: Buffer): Buffer {
    this.#next += SPREAD_PRIME;
    if (this.#next >= this.count) {
      this.#next %= this.count;
      // Higher at each visit, however many a round has.
      this.#n += 1;
    }
    const from = this.#next * ID_CHARACTERS;
    this.#ids.copy(template, SESSION_AT, from, from + ID_CHARACTERS);
    template.write(this.#secret(this.#next), SECRET_AT, "latin1");
    // The body ends with the number and a brace.
    template.write(String(this.#n), template.length - N_DIGITS - 1, "latin1");
    return template;
  }

  #secret(index: number): string {
    const at = index * SECRET_BYTES;
    return this.#random.toString("base64url", at, at + SECRET_BYTES);
  }

  #session(index: number): string {
    const at = index * ID_CHARACTERS;
    return this.#ids.toString("latin1", at, at + ID_CHARACTERS);
  }
}

/** So many digits from the first to the last heartbeat of a run. */
const FIRST_N = 1_000_000;
const N_DIGITS = 7;
const SPREAD_PRIME = 7_919;
const ID_CHARACTERS = 43;
const SESSION_AT = `POST ${AUTHORIZATIONS_PATH}/`.length;
const SECRET_AT = request("POST", heartbeatPath("s".repeat(ID_CHARACTERS)), "!", "").indexOf("!");

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
