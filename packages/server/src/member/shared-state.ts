/**
 * What this member has read of the store, and the only way it writes to it.
 *
 * A value is taken in only if its revision is above the known one, from whatever path it comes: a late
 * answer or watch event never brings an old value back. Keys are never deleted.
 */
import type { Timing } from "@quorate/core";
import type { KeyValue, Outcome, Store } from "../store/store.ts";
import { StoreLostError } from "../store/store.ts";
import { memberKeyOf, STORE_KEY, type StoreRecord } from "./keys.ts";
import type { Runtime } from "./ports.ts";

export interface Known<T> {
  readonly value: T;
  readonly revision: number;
}

/** Every value in the store carries the last nonce of each of its writers. */
export interface Nonced {
  readonly nonces: Readonly<Record<string, string>>;
}

export interface Plan {
  /** The new value, without this write's nonce. */
  readonly value: Nonced;
  /** Further keys that must be at these revisions; a leader's write compares the leader key. */
  readonly compare?: readonly { readonly key: string; readonly revision: number }[];
  /** Further keys written in the same commit. */
  readonly puts?: readonly { readonly key: string; readonly value: string }[];
}

/** Built anew at every try from what is known then; a sentence says why nothing is to be written. */
export type Build<T> = (current: T | null) => Plan | string;

export type Written =
  | { readonly applied: true; readonly revision: number }
  | { readonly applied: false; readonly reason: string };

const TRIES_MAX = 12;
const SETTLE_PAUSE_MS = 100;

/** `asOf`: how many questions had been sent when it was taken in; only a later one can show that it is gone. */
type Taken = Known<unknown> & { readonly asOf: number };

export class SharedState {
  private readonly known = new Map<string, Taken>();
  private sent = 0;
  private readonly lanes = new Map<string, Promise<unknown>>();
  /** Highest revision of the store that was seen. */
  revision = 0;
  /** Revision of the last answer, whatever was seen before. */
  lastRevision = 0;
  onChange: (key: string) => void = () => {};
  onStoreLost: (reason: string) => void = () => {};
  /** An answer shows a lower revision than was seen before its question was sent. */
  onBackwards: (revision: number, seen: number) => void = () => {};
  onKeyBackwards: (key: string) => void = () => {};
  /** What a read says of the store itself. False: it is another one, and nothing of it is taken in. */
  isSameStore: (stored: StoreRecord | null) => boolean = () => true;

  private readonly store: Store;
  private readonly runtime: Runtime;
  private readonly self: string;
  private readonly timing: Timing;
  constructor(store: Store, runtime: Runtime, self: string, timing: Timing) {
    this.store = store;
    this.runtime = runtime;
    this.self = self;
    this.timing = timing;
  }

  get<T>(key: string): Known<T> | null {
    return (this.known.get(key) as Known<T> | undefined) ?? null;
  }

  revisionOf(key: string): number {
    return this.known.get(key)?.revision ?? 0;
  }

  withPrefix<T>(prefix: string): [string, Known<T>][] {
    const found: [string, Known<T>][] = [];
    for (const [key, known] of this.known) {
      if (key.startsWith(prefix)) found.push([key, known as Known<T>]);
    }
    return found.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  }

  takeIn(values: readonly KeyValue[]): void {
    const changed: string[] = [];
    for (const { key, value, revision } of values) {
      if (revision <= this.revisionOf(key)) continue;
      this.known.set(key, { value: JSON.parse(value) as unknown, revision, asOf: this.sent });
      changed.push(key);
    }
    for (const key of changed) this.onChange(key);
  }

  /** Raised when the store may be another one: a change that began before must not go on in it. */
  private generation = 0;
  /** While the store is not trusted nothing is written to it but a rebuild. */
  isTrusted: () => boolean = () => true;

  /** Starts from nothing, to look at a store that may be another one. */
  forget(): void {
    this.generation += 1;
    this.known.clear();
    this.revision = 0;
  }

  /** One transaction; what it read is taken in. A lost store counts as unknown, and is told. */
  async transact(transaction: {
    readonly compare?: readonly { readonly key: string; readonly revision: number }[];
    readonly puts?: readonly { readonly key: string; readonly value: string }[];
    readonly reads: readonly string[];
  }): Promise<Outcome> {
    let outcome: Outcome;
    // Answers may overtake each other: only what was seen BEFORE the send can show that the store went back.
    const seen = this.revision;
    const { generation } = this;
    this.sent += 1;
    const number = this.sent;
    try {
      outcome = await this.store.transact(
        {
          compare: transaction.compare ?? [],
          puts: transaction.puts ?? [],
          reads: transaction.reads,
        },
        this.timing.callDeadlineMs,
      );
    } catch (error) {
      if (!(error instanceof StoreLostError)) throw error;
      this.onStoreLost(error.message);
      return { outcome: "unknown", reason: error.message };
    }
    if (outcome.outcome === "unknown") return outcome;
    // What was asked before everything was forgotten may be an answer of the store that is gone: a process that
    // was stopped for long reads it late, and revisions of the two stores can't be compared.
    if (generation !== this.generation) {
      return { outcome: "unknown", reason: "the store may be another one since the question" };
    }
    this.lastRevision = outcome.revision;
    if (outcome.revision < seen) {
      this.onBackwards(outcome.revision, seen);
      return { outcome: "unknown", reason: "the store went backwards" };
    }
    const older = this.olderThanKnown(number, transaction.reads, outcome.read);
    if (older !== null) {
      this.onKeyBackwards(older);
      return { outcome: "unknown", reason: "the store went backwards" };
    }
    // By its id and not by what is known of it: in another store the key may have the very same revision.
    if (transaction.reads.includes(STORE_KEY)) {
      const read = outcome.read.find(({ key }) => key === STORE_KEY);
      const stored = read === undefined ? null : (JSON.parse(read.value) as StoreRecord);
      if (!this.isSameStore(stored)) {
        return { outcome: "unknown", reason: "the store is another one than before" };
      }
    }
    this.revision = Math.max(this.revision, outcome.revision);
    this.takeIn(outcome.read);
    return outcome;
  }

  /**
   * A key that the store has in an older state than was known before the question was sent, or not at all: others
   * may have worked on in a store that was restored, past all revisions that this member has seen.
   */
  private olderThanKnown(
    sent: number,
    reads: readonly string[],
    read: readonly KeyValue[],
  ): string | null {
    const found = new Map(read.map(({ key, revision }) => [key, revision]));
    const own = memberKeyOf(this.self);
    const asked = reads.some((each) => own.startsWith(each)) ? [own, ...reads] : reads;
    for (const key of new Set([...found.keys(), ...asked])) {
      const known = this.known.get(key);
      if (known === undefined || known.asOf >= sent) continue;
      if ((found.get(key) ?? 0) < known.revision) return key;
    }
    return null;
  }

  /**
   * Changes one key by compare-and-swap; one write per key is in flight. It resolves only when the outcome
   * is known: applied, or never applied. While it is not, the caller's more cautious value holds.
   */
  change<T>(key: string, build: Build<T>, untrusted = false): Promise<Written> {
    const before = this.lanes.get(key) ?? Promise.resolve();
    const next = before.then(() => this.changeNow(key, build, untrusted));
    this.lanes.set(
      key,
      next.catch(() => undefined),
    );
    return next;
  }

  private async changeNow<T>(key: string, build: Build<T>, untrusted: boolean): Promise<Written> {
    const { generation } = this;
    // A rebuild is for the store as it is now, whatever is known of another.
    const isOver = (): boolean =>
      !untrusted && (generation !== this.generation || !this.isTrusted());
    for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
      if (isOver()) return { applied: false, reason: "the store is not the one it was" };
      const current = this.get<T>(key);
      const plan = build(current?.value ?? null);
      if (typeof plan === "string") return { applied: false, reason: plan };
      const nonce = this.runtime.nonce();
      const compare = [{ key, revision: current?.revision ?? 0 }, ...(plan.compare ?? [])];
      const outcome = await this.transact({
        compare,
        puts: [{ key, value: this.text(plan.value, nonce) }, ...(plan.puts ?? [])],
        reads: [...new Set(compare.map((each) => each.key))],
      });
      if (outcome.outcome === "applied") return { applied: true, revision: this.revisionOf(key) };
      if (outcome.outcome === "unknown") {
        const seen = current?.revision ?? 0;
        const settled = await this.settle(key, seen, nonce, plan, compare, isOver);
        if (settled) return { applied: true, revision: this.revisionOf(key) };
      }
    }
    return { applied: false, reason: "others kept changing the record; try again" };
  }

  /**
   * An unknown write may still be applied later. It is over when its nonce is found, or when the key has
   * moved past the revision it compared. If neither, the key is moved by a write of only a new nonce that
   * compares the same revision. There is no blind retry.
   */
  private async settle(
    key: string,
    comparedRevision: number,
    nonce: string,
    plan: Plan,
    compare: readonly { readonly key: string; readonly revision: number }[],
    isOver: () => boolean,
  ): Promise<boolean> {
    const nonces = new Set([nonce]);
    for (;;) {
      if (isOver()) return false;
      const known = this.get<Nonced>(key);
      if (known !== null && known.revision > comparedRevision) {
        return nonces.has(known.value.nonces[this.self] ?? "");
      }
      const mover = this.runtime.nonce();
      // An absent key can't be touched without giving it a value: the same write again, comparing the same.
      const repeat = known === null;
      if (repeat) nonces.add(mover);
      const outcome = await this.transact({
        compare: repeat ? compare : [{ key, revision: comparedRevision }],
        puts: [
          { key, value: this.text(known === null ? plan.value : known.value, mover) },
          ...(repeat ? (plan.puts ?? []) : []),
        ],
        reads: [...new Set(compare.map((each) => each.key))],
      });
      if (outcome.outcome === "unknown") await this.pause(SETTLE_PAUSE_MS);
      else if (outcome.outcome === "rejected" && this.revisionOf(key) <= comparedRevision)
        return false;
    }
  }

  private text(value: Nonced, nonce: string): string {
    return JSON.stringify({ ...value, nonces: { ...value.nonces, [this.self]: nonce } });
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.runtime.after(ms, resolve);
    });
  }
}
