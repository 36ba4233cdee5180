/** The real clocks and timers of a process. */
import { randomFillSync } from "node:crypto";
import { uptime } from "node:os";
import type { Clocks } from "@quorate/core";
import type { Runtime } from "./member/ports.ts";

/**
 * Reading the boot clock takes a system file, too much for every heartbeat: its distance to the monotonic
 * clock, which only a suspend changes, is read this often. In between the wall clock shows a suspend.
 */
const BOOT_CLOCK_READ_MS = 10;

export function createRuntime(): Runtime {
  let sleptMs = uptime() * 1_000 - performance.now();
  let readAtMs = performance.now();
  return {
    clocks(): Clocks {
      const monotonicMs = performance.now();
      if (monotonicMs - readAtMs > BOOT_CLOCK_READ_MS) {
        readAtMs = monotonicMs;
        sleptMs = uptime() * 1_000 - monotonicMs;
      }
      return { monotonicMs, bootMs: monotonicMs + sleptMs, wallMs: Date.now() };
    },
    after(ms, callback) {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
    random: Math.random,
    nonce: createNonces(),
  };
}

const NONCE_BYTES = 16;
/** Asking the system for random bytes costs the same for one nonce as for a hundred. */
const NONCES_AT_ONCE = 128;

function createNonces(): () => string {
  const bytes = Buffer.alloc(NONCE_BYTES * NONCES_AT_ONCE);
  let at = bytes.length;
  return () => {
    if (at === bytes.length) {
      randomFillSync(bytes);
      at = 0;
    }
    at += NONCE_BYTES;
    return bytes.toString("base64url", at - NONCE_BYTES, at);
  };
}
