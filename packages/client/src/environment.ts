/**
 * What the SDK needs from the world. Programs get the real one from `defaults.ts` or `node.ts`; the
 * simulator passes virtual clocks, timers and chance. Nothing else in this package touches a global one.
 */
import type { Clocks } from "@quorate/core";

export interface ClientClocks {
  now(): Clocks;
  /** True if `bootMs` counts the time that the machine slept. */
  readonly hasBootClock: boolean;
}

export interface ClientTimers {
  /**
   * Calls back once, not before `ms` of monotonic time; the returned function cancels. A `background`
   * timer need not keep the process alive.
   */
  after(ms: number, callback: () => void, background: boolean): () => void;
}

export interface SessionIdentity {
  /** 32 random bytes as base64url; never logged. */
  readonly secret: string;
  /** base64url of the SHA-256 of the secret's text. */
  readonly session: string;
}

export interface Environment {
  readonly clocks: ClientClocks;
  readonly timers: ClientTimers;
  /** Uniform in [0, 1). */
  random(): number;
  newSession(): Promise<SessionIdentity>;
}
