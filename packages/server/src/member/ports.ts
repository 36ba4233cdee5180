/**
 * What a member needs from the world. Production passes real clocks, SQLite and HTTP; the simulator passes
 * virtual ones. Nothing in `member/` reads a clock, draws a random number or opens a socket by itself.
 */
import type { Clocks } from "@quorate/core";
import type { TokenClaims } from "@quorate/protocol";
import type { Journal } from "../journal/journal.ts";
import type { Store } from "../store/store.ts";
import type { PeerAnswer, PeerCall } from "./peer-calls.ts";

export interface Runtime {
  clocks(): Clocks;
  /** Calls back once, not before `ms` of monotonic time; the returned function cancels. */
  after(ms: number, callback: () => void): () => void;
  /** Uniform in [0, 1). */
  random(): number;
  /** Unguessable, for nonces and marks: base64url of 16 bytes. */
  nonce(): string;
}

export interface Peers {
  /** Resolves null when there is no answer within the deadline. Never rejects. */
  call(url: string, to: string, call: PeerCall, deadlineMs: number): Promise<PeerAnswer | null>;
}

export interface Tokens {
  sign(claims: TokenClaims): string;
  /** The claims if the token was signed by `memberKey` of this pool, else null. Expiry is not looked at. */
  read(token: string, memberKeyOf: (member: string) => string | null): TokenClaims | null;
  /** The same, without holding the event loop for the signature. */
  readSoon(
    token: string,
    memberKeyOf: (member: string) => string | null,
  ): Promise<TokenClaims | null>;
  /** Whether `session` is the hash of `secret`. */
  sessionMatches(session: string, secret: string): boolean;
}

/** A license text that was parsed and whose vendor signature and pool were checked. */
export interface Licenses {
  /** The license, or a sentence that says what is wrong. */
  check(text: string): { license: import("@quorate/core").License; canonical: string } | string;
  /** This member's own copy. */
  readOwn(): Promise<string | null>;
  /** Replaces the own copy, durably; `backup` keeps the old one beside it. */
  writeOwn(text: string, backup: boolean): Promise<void>;
}

export interface Log {
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

export interface MemberPorts {
  readonly runtime: Runtime;
  readonly store: Store;
  readonly journal: Journal;
  readonly peers: Peers;
  readonly tokens: Tokens;
  readonly licenses: Licenses;
  readonly log: Log;
}
