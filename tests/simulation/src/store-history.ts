/**
 * The second check of a history: every revision of the store in its order, without clocks. Records keep
 * conservation (I3); epochs, renewals, terms and the sequence of the license only grow (I7).
 *
 * It reads the records by itself instead of calling the code that wrote them. `memberRenewed` and
 * `licenseChanged` tell the other oracles what they need.
 */
import type { Transaction } from "./server-parts.ts";

export interface StoreFacts {
  memberRenewed(member: string): void;
  licenseChanged(seats: ReadonlyMap<string, number>, size: number): void;
}

export class StoreHistory {
  readonly counts = { revisions: 0, failovers: 0, retirements: 0, licenses: 0, reclaimedSeats: 0 };
  readonly #facts: StoreFacts;
  readonly #violation: (rule: string, what: string) => void;
  readonly #members = new Map<string, { epoch: number; renewal: number; isRebuilt: boolean }>();
  readonly #records = new Map<string, AllocationShape>();
  #leader: LeaderShape | null = null;
  #license = { sequence: 0, text: "" };

  constructor(facts: StoreFacts, violation: (rule: string, what: string) => void) {
    this.#facts = facts;
    this.#violation = violation;
  }

  applied(transaction: Transaction): void {
    this.counts.revisions += 1;
    const isRebuild = transaction.puts.length > 1 && transaction.puts[0]?.key === "store";
    for (const { key, value } of transaction.puts) {
      const parsed: Shapes = JSON.parse(value);
      if (key.startsWith("member/")) this.#memberWritten(key.slice(7), parsed, isRebuild);
      else if (key === "leader") this.#leaderWritten(parsed);
      else if (key === "license") this.#licenseWritten(parsed);
      else if (key.startsWith("allocation/")) this.#allocationWritten(key, parsed, isRebuild);
    }
    for (const key of transaction.deletes ?? []) {
      if (key.startsWith("member/") || key === "leader" || key === "license") {
        this.#violation("history", `${key} was deleted`);
      }
    }
  }

  /** From then on a member's journal may know a later epoch than the store, whoever worked on in it. */
  #wasRestored = false;

  /** The store is an older one: what it holds is looked at again when it is written. */
  restored(): void {
    this.#wasRestored = true;
    this.#members.clear();
    this.#records.clear();
    this.#leader = null;
    this.#license = { sequence: 0, text: "" };
  }

  /** Seats and debt of the last record of a feature. */
  recordOf(feature: string): AllocationShape | null {
    for (const [key, record] of this.#records) if (key.endsWith(`/${feature}`)) return record;
    return null;
  }

  /** The epoch that a member's last record names; 0 before its first. */
  epochOf(member: string): number {
    return this.#members.get(member)?.epoch ?? 0;
  }

  #memberWritten(member: string, next: MemberShape, isRebuild: boolean): void {
    const last = this.#members.get(member) ?? { epoch: 0, renewal: 0, isRebuilt: false };
    if (next.epoch < last.epoch || next.renewal < last.renewal) {
      this.#violation(
        "history",
        `${member} went from epoch ${last.epoch}, renewal ${last.renewal} to ${next.epoch}, ${next.renewal}`,
      );
    }
    // Who rebuilt the pool may not have known all epochs of a member; its own journal does. Before it begins anew it
    // may write a nonce, after an unknown outcome, or be retired once more.
    const mayJump = isRebuild || last.isRebuilt || this.#wasRestored;
    const begins = next.state === "active" && next.epoch > last.epoch;
    const isRebuilt = isRebuild || (last.isRebuilt && !begins);
    if (next.epoch > last.epoch + 1 && last.epoch > 0 && !mayJump) {
      this.#violation("history", `${member} jumped from epoch ${last.epoch} to ${next.epoch}`);
    }
    if (next.epoch > last.epoch) this.counts.retirements += 1;
    this.#members.set(member, { epoch: next.epoch, renewal: next.renewal, isRebuilt });
    if (next.renewal > last.renewal) this.#facts.memberRenewed(member);
  }

  #leaderWritten(next: LeaderShape): void {
    const last = this.#leader;
    const moved = last === null || last.member !== next.member || last.epoch !== next.epoch;
    if (last !== null && (next.term < last.term || (moved && next.term === last.term))) {
      this.#violation(
        "history",
        `term ${last.term} of ${last.member} was followed by term ${next.term} of ${next.member}`,
      );
    }
    if (moved && last !== null) this.counts.failovers += 1;
    this.#leader = next;
  }

  #licenseWritten({ text }: { readonly text: string }): void {
    const license: LicenseShape = JSON.parse(text);
    const last = this.#license;
    const replaced = license.sequence === last.sequence && text !== last.text;
    if (license.sequence < last.sequence || replaced) {
      this.#violation("I7", `license ${last.sequence} was replaced by another ${license.sequence}`);
    }
    if (license.sequence === last.sequence) return;
    this.#license = { sequence: license.sequence, text };
    this.counts.licenses += 1;
    this.#facts.licenseChanged(
      new Map(
        license.features.map(({ name, seats, overdraft }) => [name, seats + (overdraft ?? 0)]),
      ),
      license.pool.size,
    );
  }

  #allocationWritten(key: string, next: AllocationShape, isRebuild: boolean): void {
    const last = this.#records.get(key);
    const sum = (entries: Readonly<Record<string, { readonly seats: number }>>): number =>
      Object.values(entries).reduce((seats, entry) => seats + entry.seats, 0);
    const out = sum(next.allocated) + sum(next.retired) + next.borrowed;
    const numbers = [
      next.free,
      next.borrowed,
      next.debt,
      next.seats,
      ...Object.values(next.allocated).map(({ seats }) => seats),
      ...Object.values(next.retired).map(({ seats }) => seats),
    ];
    if (numbers.some((number) => !Number.isInteger(number) || number < 0)) {
      this.#violation("I3", `${key} holds a number that is no count: ${JSON.stringify(next)}`);
    }
    if (next.free + out !== next.seats + next.debt || (next.free > 0 && next.debt > 0)) {
      this.#violation("I3", `${key} does not add up: ${JSON.stringify(next)}`);
    }
    if (last !== undefined) {
      if (next.sequence < last.sequence) {
        this.#violation("history", `${key} went back to license ${next.sequence}`);
      }
      // A rebuild counts all seats as out that ever were.
      const sameLicense = next.sequence === last.sequence && !isRebuild;
      if (sameLicense && (next.seats !== last.seats || next.debt > last.debt)) {
        this.#violation("I3", `${key} grew under one license: ${JSON.stringify(next)}`);
      }
      this.#countReclaimed(last, next);
    }
    this.#records.set(key, next);
  }

  #countReclaimed(last: AllocationShape, next: AllocationShape): void {
    const gained = next.free + last.debt - (last.free + next.debt);
    const gone = Object.entries(last.retired).reduce(
      (seats, [key, entry]) => seats + entry.seats - (next.retired[key]?.seats ?? 0),
      0,
    );
    if (gained > 0 && gone > 0) this.counts.reclaimedSeats += Math.min(gained, gone);
  }
}

type Shapes = MemberShape & LeaderShape & AllocationShape & { readonly text: string };

interface MemberShape {
  readonly epoch: number;
  readonly renewal: number;
  readonly state: string;
}

interface LeaderShape {
  readonly member: string;
  readonly epoch: number;
  readonly term: number;
}

interface AllocationShape {
  readonly sequence: number;
  readonly seats: number;
  readonly free: number;
  readonly borrowed: number;
  readonly debt: number;
  readonly allocated: Readonly<Record<string, { readonly seats: number; readonly epoch: number }>>;
  readonly retired: Readonly<Record<string, { readonly seats: number }>>;
}

interface LicenseShape {
  readonly sequence: number;
  readonly pool: { readonly size: number };
  readonly features: readonly {
    readonly name: string;
    readonly seats: number;
    readonly overdraft?: number;
  }[];
}
