/**
 * What happened, as lines that a person can read. All lines enter a digest, by which two runs of one seed
 * are compared; only the last ones are kept.
 */
import { createHash } from "node:crypto";

export class Story {
  readonly #nowMs: () => number;
  readonly #print: ((line: string) => void) | null;
  readonly #digest = createHash("sha256");
  readonly #last: string[] = [];
  #lines = 0;

  constructor(nowMs: () => number, print: ((line: string) => void) | null) {
    this.#nowMs = nowMs;
    this.#print = print;
  }

  tell(who: string, what: string): void {
    const line = `${(this.#nowMs() / 1000).toFixed(4).padStart(11)}  ${who.padEnd(10)} ${what}`;
    this.#digest.update(line);
    this.#digest.update("\n");
    this.#lines += 1;
    this.#last.push(line);
    if (this.#last.length > 2 * LAST_LINES) this.#last.splice(0, LAST_LINES);
    this.#print?.(line);
  }

  last(): readonly string[] {
    return this.#last.slice(-LAST_LINES);
  }

  /** Equal for two runs exactly if all their lines are equal. Ends the story. */
  digest(): string {
    return `${this.#lines} lines, sha256 ${this.#digest.copy().digest("hex")}`;
  }
}

/** What was written, as a person would say it: records of allocations in full, all else by its key. */
export function wordsOf(key: string, value: string): string {
  if (!key.startsWith(ALLOCATION)) return key;
  const record: RecordShape = JSON.parse(value);
  const parts = [`${record.seats} seats`, `${record.free} free`];
  for (const [member, { seats, epoch }] of Object.entries(record.allocated)) {
    parts.push(`${member}/${epoch} ${seats}`);
  }
  for (const [key, { seats, of }] of Object.entries(record.retired)) {
    parts.push(`retired ${key} ${seats} of ${of}`);
  }
  if (record.debt > 0) parts.push(`debt ${record.debt}`);
  return `${key.slice(ALLOCATION.length)} (license ${record.sequence}: ${parts.join(", ")})`;
}

interface RecordShape {
  readonly sequence: number;
  readonly seats: number;
  readonly free: number;
  readonly debt: number;
  readonly allocated: Readonly<Record<string, { readonly seats: number; readonly epoch: number }>>;
  readonly retired: Readonly<Record<string, { readonly seats: number; readonly of: number }>>;
}

const ALLOCATION = "allocation/";
const LAST_LINES = 400;
