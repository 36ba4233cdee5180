/**
 * How many sessions of other servers are taken over at a time. A confirmation is good for two seconds, and a client
 * waits no longer for an answer: a server that begins more than it can serve in that time serves none. So as many
 * are under way as it served in half a second of late. Who can't come in yet is told when it is its turn, BEFORE
 * anything is done for it. Whoever comes back at its turn goes before those who come for the first time: less is left
 * of its authorization.
 */
import { CONFIRM_NONCE_MS } from "@quorate/core";

/** Confirmations that are out, and conversions that are not answered: so much of what is done in a second. */
const UNDER_WAY_SECONDS = 0.5;
const UNDER_WAY_MIN = 100;
const UNDER_WAY_MAX = 2_000;
/** Those who come back at their turn may be so many more. */
const AT_ITS_TURN = 1.5;
const WINDOW_MS = 500;
/** Quick enough that a thousand clients of one dead server come in at once; the first half second tells. */
const PER_SECOND_FIRST = 3_000;
const PER_SECOND_MIN = 200;
/** What an answer that says when to come costs of a conversion: more could be served when fewer have to be told. */
const SHARE_OF_A_REFUSAL = 1 / 6;
const WAIT_MS_MIN = 100;
/** Of a life. Who comes at its heartbeat has two thirds of it left. */
const WAIT_SHARE_MAX = 1 / 4;
const TURNS_MAX = 100_000;
/** Turns of clients that never came back are looked for so often. */
const FORGET_EVERY_MS = 5_000;

export class ConversionGate {
  private perSecond = PER_SECOND_FIRST;
  private done = 0;
  /** How many had to stay out since the window began: only then what was done is all that can be done. */
  private refused = 0;
  private windowFromMs = 0;
  private turnAtMs = 0;
  /** Who was told when to come, and until when that holds; in the order in which they were told. */
  private readonly turns = new Map<string, number>();
  private forgotAtMs = 0;

  /** Null: come in. Else how long to stay away. */
  waitMs(
    session: string,
    underWay: number,
    lifeMs: number,
    nowMs: number,
    random: number,
  ): number | null {
    const most = Math.max(UNDER_WAY_MIN, this.perSecond * UNDER_WAY_SECONDS);
    const share = this.turns.has(session) ? AT_ITS_TURN : 1;
    if (underWay < Math.min(most, UNDER_WAY_MAX / AT_ITS_TURN) * share) {
      this.turns.delete(session);
      return null;
    }
    this.refused += 1;
    const waitMs = Math.ceil(this.nextTurnMs(lifeMs, nowMs, random));
    this.remember(session, nowMs + waitMs + lifeMs, nowMs);
    return waitMs;
  }

  private nextTurnMs(lifeMs: number, nowMs: number, random: number): number {
    this.turnAtMs = Math.max(this.turnAtMs, nowMs + WAIT_MS_MIN) + 1_000 / this.perSecond;
    const waitMs = this.turnAtMs - nowMs;
    const waitMsMax = lifeMs * WAIT_SHARE_MAX;
    if (waitMs <= waitMsMax) return waitMs;
    // All turns of that time are given away: spread over the second half of it.
    this.turnAtMs = nowMs + waitMsMax;
    return waitMsMax * (0.5 + random / 2);
  }

  private remember(session: string, untilMs: number, nowMs: number): void {
    this.turns.delete(session);
    if (this.turns.size < TURNS_MAX) this.turns.set(session, untilMs);
    if (nowMs - this.forgotAtMs < FORGET_EVERY_MS) return;
    this.forgotAtMs = nowMs;
    for (const [each, until] of this.turns) {
      // In their order but for the spread ones: what is left behind one of these is found the next time.
      if (until > nowMs) break;
      this.turns.delete(each);
    }
  }

  /** Some had their answer. */
  settled(count: number, nowMs: number): void {
    const forMs = nowMs - this.windowFromMs;
    if (forMs >= WINDOW_MS) {
      // A pause between two rushes says nothing of the speed.
      if (forMs < CONFIRM_NONCE_MS) {
        const work = this.done + this.refused * SHARE_OF_A_REFUSAL;
        const perSecond = Math.max(PER_SECOND_MIN, (work * 1_000) / forMs);
        if (this.refused > 0 || perSecond > this.perSecond) this.perSecond = perSecond;
      }
      this.done = 0;
      this.refused = 0;
      this.windowFromMs = nowMs;
    }
    this.done += count;
  }
}
