import type { Refusal, RefusalCode } from "@quorate/core";

/** The pool said no. `code` is stable (design section 5); `detail` is a sentence for people. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly code: RefusalCode;
  readonly detail: string;

  constructor(refusal: Refusal) {
    super(`${refusal.refused}: ${refusal.detail}`);
    this.code = refusal.refused;
    this.detail = refusal.detail;
  }
}

/** No server answered, or none was named. */
export class NoServerError extends Error {
  override readonly name = "NoServerError";
  readonly servers: readonly string[];

  constructor(servers: readonly string[]) {
    super(
      servers.length === 0
        ? "No license server is known: name some, or set QUORATE_SERVERS"
        : `No license server answered: ${servers.join(", ")}`,
    );
    this.servers = servers;
  }
}

/** The checkout was given up by the program: its client was closed. */
export class ClosedError extends Error {
  override readonly name = "ClosedError";
}
