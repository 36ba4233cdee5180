/**
 * How many sessions of other servers are taken over at a time. A confirmation is good for two seconds, and a client
 * waits no longer for an answer: a server that begins more than it can serve in that time serves none. So as many
 * are under way as it served in half a second of late. Who can't come in yet is told when it is its turn, BEFORE
 * anything is done for it.
 */
import { CONFIRM_NONCE_MS } from "@quorate/core";

/** Confirmations that are out, and conversions that are not answered: so much of what is done in a second. */
const UNDER_WAY_SECONDS = 0.5;
const UNDER_WAY_MIN = 100;
const UNDER_WAY_MAX = 2_000;
const WINDOW_MS = 500;
/** Quick enough that a thousand clients of one dead server come in at once; the first half second tells. */
const PER_SECOND_FIRST = 3_000;
const PER_SECOND_MIN = 200;
const WAIT_MS_MIN = 100;
/** Of a life. Who comes at its heartbeat has two thirds of it left. */
const WAIT_SHARE_MAX = 1 / 4;

export class ConversionGate {
  private perSecond = PER_SECOND_FIRST;
  private done = 0;
  private windowFromMs = 0;
  private turnAtMs = 0;

  /** Null: come in. Else how long to stay away. */
  waitMs(underWay: number, lifeMs: number, nowMs: number, random: number): number | null {
    const most = Math.max(UNDER_WAY_MIN, this.perSecond * UNDER_WAY_SECONDS);
    if (underWay < Math.min(most, UNDER_WAY_MAX)) return null;
    this.turnAtMs = Math.max(this.turnAtMs, nowMs + WAIT_MS_MIN) + 1_000 / this.perSecond;
    const waitMs = this.turnAtMs - nowMs;
    const waitMsMax = lifeMs * WAIT_SHARE_MAX;
    if (waitMs <= waitMsMax) return Math.ceil(waitMs);
    // All turns of that time are given away: spread over the second half of it.
    this.turnAtMs = nowMs + waitMsMax;
    return Math.ceil(waitMsMax * (0.5 + random / 2));
  }

  /** Some had their answer. */
  settled(count: number, nowMs: number): void {
    const forMs = nowMs - this.windowFromMs;
    if (forMs >= WINDOW_MS) {
      // A pause between two rushes says nothing of the speed.
      if (forMs < CONFIRM_NONCE_MS) {
        this.perSecond = Math.max(PER_SECOND_MIN, (this.done * 1_000) / forMs);
      }
      this.done = 0;
      this.windowFromMs = nowMs;
    }
    this.done += count;
  }
}
