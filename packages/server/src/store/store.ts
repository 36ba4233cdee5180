/**
 * The port to the linearizable key-value store that the members share.
 *
 * It holds only slow things. There are deliberately no leases, no clock and no blind put in it: every
 * write compares the revision it read. `memory` serves the simulator, `sqlite` several processes of one
 * machine, `etcd` several machines; one conformance suite holds all adapters.
 */
export interface KeyValue {
  readonly key: string;
  /** JSON text; at most VALUE_BYTES_MAX. */
  readonly value: string;
  /** Revision of the store at which this key was last written; grows by one per applied transaction. */
  readonly revision: number;
}

export interface Transaction {
  /** All must match, else nothing is written. Revision 0: the key must be absent. */
  readonly compare: readonly { readonly key: string; readonly revision: number }[];
  readonly puts: readonly { readonly key: string; readonly value: string }[];
  readonly deletes?: readonly string[];
  /** Keys, or prefixes ending in `/`, read in the same commit, after the writes. Also when rejected. */
  readonly reads: readonly string[];
}

export type Outcome =
  | {
      /** All compares held and the writes are durable, or a compare failed and nothing was written. */
      readonly outcome: "applied" | "rejected";
      /** The store's revision at this commit. */
      readonly revision: number;
      /** What `reads` found, ordered by key. */
      readonly read: readonly KeyValue[];
    }
  /** No answer within the deadline: it may have been applied, and may still be. */
  | { readonly outcome: "unknown"; readonly reason: string };

/** What a watch says: only a hint to read. */
export interface Change {
  readonly key: string;
  readonly revision: number;
  /** Null when the key was deleted. */
  readonly value: string | null;
}

export interface Watch {
  close(): void;
}

export interface Store {
  /** For people: `sqlite:/var/lib/quorate/store.db`. */
  readonly name: string;
  /** How long the store may be away after a failure of its own, ms; enters the check of the lease. */
  readonly failoverGapMs: number;
  /**
   * Never rejects for a store that is away: that is `unknown`. Rejects with StoreLostError when the
   * store is not the one it was (its file was deleted or replaced).
   */
  transact(transaction: Transaction, deadlineMs: number): Promise<Outcome>;
  /**
   * Tells each change of keys under `prefix` above `fromRevision` at least once and in order of revision;
   * several changes of one key may be told as the last of them.
   */
  watch(prefix: string, fromRevision: number, onChange: (change: Change) => void): Watch;
  close(): Promise<void>;
}

/** The store is gone or another one; the message says what to do. */
export class StoreLostError extends Error {
  override readonly name = "StoreLostError";
}

export const VALUE_BYTES_MAX = 1024 * 1024;
export const KEY_CHARACTERS_MAX = 300;
export const TRANSACTION_KEYS_MAX = 1_200;
