/**
 * Seeded random numbers. Every user of chance has a stream of its own, named after it, so that a fault
 * more or a client more does not move the dice of all the others.
 */
export class Random {
  readonly #name: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(name: string) {
    this.#name = name;
    this.#a = hashOf(name, 0x9e3779b9);
    this.#b = hashOf(name, 0x243f6a88);
    this.#c = hashOf(name, 0xb7e15162);
    for (let round = 0; round < WARM_UP_ROUNDS; round += 1) this.next();
  }

  /** A stream that depends only on this one's name and the given one. */
  stream(name: string): Random {
    return new Random(`${this.#name}/${name}`);
  }

  /** Uniform in [0, 1): sfc32. */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return (sum >>> 0) / 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  /** A whole number in [low, high], both included. */
  whole(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** How long until the next event of a kind that happens every `meanMs` on average. */
  exponential(meanMs: number): number {
    return -Math.log(1 - this.next()) * meanMs;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new Error("pick needs at least one item");
    return item;
  }

  shuffled<T>(items: readonly T[]): T[] {
    const copy = [...items];
    for (let index = copy.length - 1; index > 0; index -= 1) {
      const other = this.whole(0, index);
      const moved = copy[index]!;
      copy[index] = copy[other]!;
      copy[other] = moved;
    }
    return copy;
  }

  /** Text that nobody in the simulation can guess, because nobody else reads this stream. */
  text(): string {
    const part = (): string =>
      Math.floor(this.next() * 2 ** 32)
        .toString(36)
        .padStart(7, "0");
    return part() + part();
  }
}

const WARM_UP_ROUNDS = 12;

/** FNV-1a with a final mix. */
function hashOf(text: string, start: number): number {
  let hash = start | 0;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 12);
}
