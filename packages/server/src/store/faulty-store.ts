/**
 * A handle of a memory store whose outcomes a test decides: answered late, unknown although applied, applied
 * long after the deadline, or never.
 */
import type { MemoryStore } from "./memory-store.ts";
import type { Change, Outcome, Store, Transaction, Watch } from "./store.ts";

export type Fate =
  | { readonly kind: "answered" }
  /** Applied at once; the answer takes so long. */
  | { readonly kind: "slow"; readonly ms: number }
  /** Applied at once; the answer is lost. */
  | { readonly kind: "lost" }
  /** Unknown at the deadline, and applied that much after the send. */
  | { readonly kind: "late"; readonly ms: number }
  | { readonly kind: "never" };

type After = (ms: number, callback: () => void) => unknown;

export class FaultyStore implements Store {
  readonly name = "faulty";
  readonly failoverGapMs = 0;
  readonly backing: MemoryStore;
  private readonly after: After;
  /** Decides what becomes of each transaction. */
  fate: (transaction: Transaction) => Fate = () => ({ kind: "answered" });
  /** How long a hint takes; null: none comes. */
  watchMs: number | null = 1;

  constructor(backing: MemoryStore, after: After) {
    this.backing = backing;
    this.after = after;
  }

  transact(transaction: Transaction, deadlineMs: number): Promise<Outcome> {
    const fate = this.fate(transaction);
    return new Promise((resolve) => {
      const unknown = (): void => {
        this.after(deadlineMs, () => {
          resolve({ outcome: "unknown", reason: "no answer within the deadline" });
        });
      };
      switch (fate.kind) {
        case "answered":
          return resolve(this.backing.apply(transaction));
        case "slow": {
          const outcome = this.backing.apply(transaction);
          this.after(fate.ms, () => resolve(outcome));
          return;
        }
        case "lost":
          this.backing.apply(transaction);
          return unknown();
        case "late":
          unknown();
          this.after(fate.ms, () => this.backing.apply(transaction));
          return;
        case "never":
          return unknown();
      }
    });
  }

  watch(prefix: string, fromRevision: number, onChange: (change: Change) => void): Watch {
    return this.backing.watch(prefix, fromRevision, (change) => {
      if (this.watchMs !== null) this.after(this.watchMs, () => onChange(change));
    });
  }

  close(): Promise<void> {
    return this.backing.close();
  }
}
