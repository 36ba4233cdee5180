/**
 * Requests in turns. When thousands of connections have something to say at once, the event loop would hear all of
 * them out before anything else: before the lease is renewed, the store's answer is read or a timer fires. So after a
 * while the others wait, in their order, and the loop goes round between one turn and the next.
 *
 * Each time it goes round it accepts one new connection, and no more. Where thousands of programs come over from a
 * dead server while others are being served, turns of milliseconds would let in a few dozen a second; the others
 * would wait for longer than they can. So turns are short while new connections come.
 */
export interface InTurn {
  /** Its turn has come, perhaps at once. */
  takeTurn(): void;
}

/** What requests may hold the event loop at a time; their answers take as long again. */
const TURN_MS = 3;
/** While new connections come. Going round costs about a twentieth of a millisecond. */
const SHORT_TURN_MS = 0.5;
/** So long after one came others may be waiting. */
const COMING_MS = 50;
/** After a pause of that length between two requests the event loop has been elsewhere. */
const PAUSE_MS = 2;

export class Turns {
  #waiting: { readonly who: InTurn; readonly sinceMs: number }[] = [];
  #begunMs = 0;
  /** When the last request had been looked at. */
  #lastMs = 0;
  #connectedMs = -COMING_MS;

  /** Looks at a request now, or lets it wait. */
  take(who: InTurn): void {
    if (this.#isNow()) {
      who.takeTurn();
      this.#lastMs = performance.now();
      return;
    }
    this.#waiting.push({ who, sinceMs: performance.now() });
    if (this.#waiting.length === 1) setImmediate(this.#turn);
  }

  /** A new connection was accepted; others may be waiting. */
  connected(): void {
    this.#connectedMs = performance.now();
  }

  #turnMs(nowMs: number): number {
    return nowMs - this.#connectedMs < COMING_MS ? SHORT_TURN_MS : TURN_MS;
  }

  #isNow(): boolean {
    if (this.#waiting.length > 0) return false;
    const nowMs = performance.now();
    if (nowMs - this.#lastMs > PAUSE_MS) this.#begunMs = nowMs;
    return nowMs - this.#begunMs < this.#turnMs(nowMs);
  }

  /** How long the first of those who wait has waited: they are as late as the event loop would be without turns. */
  waitedMs(): number {
    const first = this.#waiting[0];
    return first === undefined ? 0 : performance.now() - first.sinceMs;
  }

  readonly #turn = (): void => {
    const begunMs = performance.now();
    const untilMs = begunMs + this.#turnMs(begunMs);
    let taken = 0;
    for (const { who } of this.#waiting) {
      taken += 1;
      who.takeTurn();
      if (performance.now() >= untilMs) break;
    }
    this.#waiting = this.#waiting.slice(taken);
    if (this.#waiting.length > 0) setImmediate(this.#turn);
    else this.#begunMs = this.#lastMs = performance.now();
  };
}
