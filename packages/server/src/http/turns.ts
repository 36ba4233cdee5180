/**
 * Requests in turns. When thousands of connections have something to say at once, the event loop would hear all of
 * them out before anything else: before the lease is renewed, the store's answer is read or a timer fires. So after a
 * while the others wait, in their order, and the loop goes round between one turn and the next.
 */
export interface InTurn {
  /** Its turn has come, perhaps at once. */
  takeTurn(): void;
}

/** What requests may hold the event loop at a time; their answers take as long again. */
const TURN_MS = 5;
/** After a pause of that length between two requests the event loop has been elsewhere. */
const PAUSE_MS = 2;

export class Turns {
  #waiting: { readonly who: InTurn; readonly sinceMs: number }[] = [];
  #begunMs = 0;
  /** When the last request had been looked at. */
  #lastMs = 0;

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

  #isNow(): boolean {
    if (this.#waiting.length > 0) return false;
    const nowMs = performance.now();
    if (nowMs - this.#lastMs > PAUSE_MS) this.#begunMs = nowMs;
    return nowMs - this.#begunMs < TURN_MS;
  }

  /** How long the first of those who wait has waited: they are as late as the event loop would be without turns. */
  waitedMs(): number {
    const first = this.#waiting[0];
    return first === undefined ? 0 : performance.now() - first.sinceMs;
  }

  readonly #turn = (): void => {
    const untilMs = performance.now() + TURN_MS;
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
