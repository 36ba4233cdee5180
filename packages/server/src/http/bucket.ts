/** So many a second, and so many at once: what is not taken is kept, up to a bound. */
export interface BucketBounds {
  readonly perSecond: number;
  /** How many may be taken at once. */
  readonly burst: number;
}

export class Bucket {
  readonly #bounds: BucketBounds;
  readonly #nowMs: () => number;
  #left: number;
  #atMs: number;

  constructor(bounds: BucketBounds, nowMs: () => number) {
    this.#bounds = bounds;
    this.#nowMs = nowMs;
    this.#left = bounds.burst;
    this.#atMs = nowMs();
  }

  /** False: there is none left. The clock is looked at only then. */
  take(): boolean {
    if (this.#left < 1) this.#refill();
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  /** For what was taken and not used. */
  giveBack(): void {
    this.#left = Math.min(this.#bounds.burst, this.#left + 1);
  }

  isFull(): boolean {
    this.#refill();
    return this.#left >= this.#bounds.burst;
  }

  #refill(): void {
    const at = this.#nowMs();
    const more = ((at - this.#atMs) / 1_000) * this.#bounds.perSecond;
    this.#left = Math.min(this.#bounds.burst, this.#left + more);
    this.#atMs = at;
  }
}
