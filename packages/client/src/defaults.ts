/**
 * The real world of a browser or any runtime with web standards: the only file of the package that reads
 * a clock, sets a timer, draws chance or holds `fetch`. Node adds its own in `node.ts`.
 */
import { newSecret, sessionOf, type Holder } from "@quorate/protocol";
import type { ClientClocks, ClientTimers, Environment } from "./environment.ts";
import { fetchTransport } from "./fetch-transport.ts";
import { httpWire } from "./http-wire.ts";
import type { Wire } from "./wire.ts";

/** Browsers have no clock that counts sleep and can't be set, so a jump of the wall clock is believed. */
const webClocks: ClientClocks = {
  hasBootClock: false,
  now() {
    const monotonicMs = performance.now();
    return { monotonicMs, bootMs: monotonicMs, wallMs: Date.now() };
  },
};

const webTimers: ClientTimers = {
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

export const webEnvironment: Environment = {
  clocks: webClocks,
  timers: webTimers,
  random: () => Math.random(),
  async newSession() {
    const secret = newSecret(crypto.getRandomValues(new Uint8Array(32)));
    return { secret, session: await sessionOf(secret) };
  },
};

export function webWire(timers: ClientTimers, token: string | null): Wire {
  return httpWire(
    fetchTransport((input, init) => fetch(input, init), timers),
    token,
  );
}

export function webHolder(): Holder {
  const { location } = globalThis as { location?: { hostname?: string } };
  return { user: "unknown", host: location?.hostname || "unknown" };
}

/**
 * Calls `leave` when the page goes for good. A page that is only put aside (`persisted`) may come back; its
 * seats come back with it, or end by themselves one life later.
 */
export function onPageHide(leave: () => void): () => void {
  const { document } = globalThis as { document?: unknown };
  if (document === undefined) return () => undefined;
  const listener = (event: PageTransitionEvent): void => {
    if (!event.persisted) leave();
  };
  globalThis.addEventListener("pagehide", listener);
  return () => globalThis.removeEventListener("pagehide", listener);
}
