/** The real clocks and timers of a process. */
import { randomBytes } from "node:crypto";
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
    nonce: () => randomBytes(16).toString("base64url"),
  };
}
