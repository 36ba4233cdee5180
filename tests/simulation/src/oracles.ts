/**
 * What must always hold (design section 2), checked from outside after every event in true time.
 *
 * - I1 from the clients' beliefs against the licensed seats in force.
 * - I2 and I6 on every answer that a member gives.
 * - I3, I7 and growing numbers on every revision of the store (`store-history.ts`).
 *
 * I4 and I5 are checked at the end, by `liveness.ts`.
 */
import { majorityOf, type Timing } from "@quorate/core";
import type { Granted } from "@quorate/protocol";
import { JournalFailedError, type Transaction } from "./server-parts.ts";
import type { Belief } from "./belief.ts";
import {
  overIssueCost,
  overIssues,
  type Hold,
  type Limit,
  type OverIssueCost,
} from "./history-check.ts";
import type { Scheduler } from "./scheduler.ts";
import { StoreHistory } from "./store-history.ts";
import type { VirtualDisk } from "./virtual-disk.ts";

export class Violation extends Error {
  override readonly name = "Violation";
}

interface FeatureState {
  /** Each license's seats and when it was written, oldest first. */
  readonly licensed: { readonly writtenMs: number; readonly seats: number }[];
  allowed: number;
}

export class Oracles {
  readonly history: StoreHistory;
  readonly #scheduler: Scheduler;
  readonly #timing: Timing;
  readonly #beliefs = new Set<Belief>();
  readonly #disks: ReadonlyMap<string, VirtualDisk>;
  readonly #diskOf: (member: string) => VirtualDisk | undefined;
  readonly #features = new Map<string, FeatureState>();
  readonly #renewedMs = new Map<string, number>();
  /** For the sweep over the whole history at the end. */
  readonly #holds: Hold[] = [];
  readonly #limits: Limit[] = [];
  #size = 1;
  #licenseSizes: { readonly writtenMs: number; readonly size: number }[] = [];
  /** Found while promises settled, where throwing would be an answer to the code under test. */
  #violation: Violation | null = null;

  #nobodyMayLose: boolean;
  /** Clocks beyond the bound: I1, I2 and I5 aren't promised, what they cost is measured at the end. */
  readonly #measuresOnly: boolean;
  /** Somebody began to believe, or believes for longer. */
  onBelief: () => void = () => {};

  constructor(
    scheduler: Scheduler,
    timing: Timing,
    disks: ReadonlyMap<string, VirtualDisk>,
    diskOf: (member: string) => VirtualDisk | undefined,
    nobodyMayLose: boolean,
    measuresOnly: boolean,
  ) {
    this.#nobodyMayLose = nobodyMayLose;
    this.#scheduler = scheduler;
    this.#timing = timing;
    this.#disks = disks;
    this.#diskOf = diskOf;
    this.#measuresOnly = measuresOnly;
    this.history = new StoreHistory(
      {
        memberRenewed: (member) => this.#renewedMs.set(member, scheduler.nowMs()),
        licenseChanged: (seats, size) => this.#licenseChanged(seats, size),
      },
      (rule, what) => this.violated(rule, what),
    );
  }

  /** Sessions that two programs used at once: each raises the number of its own messages. */
  readonly sharedByMistake = new Set<string>();

  violated(rule: string, what: string): void {
    if (this.#measuresOnly && !WITHOUT_CLOCKS.includes(rule)) return;
    this.#violation ??= new Violation(`${rule}: ${what}`);
  }

  /** From now on more than a minority may be away at once. */
  endCalm(): void {
    this.#nobodyMayLose = false;
  }

  /** A member threw where it should have answered: a bug, unless its disk is broken. */
  thrown(error: unknown): void {
    if (error instanceof JournalFailedError) return;
    this.violated("bug", error instanceof Error ? (error.stack ?? error.message) : String(error));
  }

  storeApplied(transaction: Transaction): void {
    this.history.applied(transaction);
  }

  watch(belief: Belief): void {
    this.#beliefs.add(belief);
  }

  /** The program was told that it has its seats. */
  began(belief: Belief): void {
    belief.began();
    this.onBelief();
    this.#checkSeats();
  }

  /** Some client heard that its authorization goes on. */
  renewed(): void {
    this.onBelief();
    this.#checkSeats();
  }

  /** The program was told that it has lost its seats; it may regain others. */
  paused(belief: Belief): void {
    if (this.#nobodyMayLose) {
      this.violated(
        "I5",
        `${belief.client} lost its seat at ${belief.member()} though only a minority died`,
      );
    }
    const hold = belief.ended();
    if (hold !== null && !belief.isShared()) this.#holds.push(hold);
  }

  /** The program gave its seats up, or is dead. */
  ended(belief: Belief): void {
    const hold = belief.close();
    if (hold !== null && !belief.isShared()) this.#holds.push(hold);
    this.#beliefs.delete(belief);
  }

  /** I2 and I6 for one positive answer at the moment it leaves. */
  answered(member: string, granted: Granted): void {
    const sinceMs = (name: string): number =>
      this.#scheduler.nowMs() - (this.#renewedMs.get(name) ?? -Infinity);
    const { retireAfterMs, readGapMsMax, callDeadlineMs } = this.#timing;
    // A renewal is seen at most one gap between reads and one answer after it was written.
    const recentMs = (retireAfterMs + readGapMsMax + callDeadlineMs) * (1 + RATE_SLACK);
    const alive = [...this.#renewedMs.keys()].filter((name) => sinceMs(name) <= recentMs);
    if (alive.length < majorityOf(this.#smallestSize())) {
      this.violated(
        "I2",
        `${member} granted while only ${alive.join(", ") || "nobody"} of ${this.#size} was alive`,
      );
    }
    const disk = this.#diskOf(member);
    if (disk?.isKnown(granted.session) !== true) {
      this.violated("I6", `${member} answered for ${granted.session}, which its journal lacks`);
    }
    disk?.answered(granted.session);
  }

  /** Of all programs that run and have their session for themselves. */
  beliefs(): readonly Belief[] {
    return [...this.#beliefs].filter((belief) => !belief.isShared());
  }

  /** What clocks beyond the bound have cost. */
  overIssueCost(): OverIssueCost {
    const nowMs = this.#scheduler.nowMs();
    return overIssueCost([...this.#holds, ...this.#openHolds(nowMs)], this.#limits);
  }

  #openHolds(nowMs: number): Hold[] {
    return this.beliefs().flatMap((belief) => belief.holdUntil(nowMs) ?? []);
  }

  afterEvent(): void {
    // Beliefs that end by themselves are measured to the last event before.
    if (this.#measuresOnly) this.#checkSeats();
    for (const state of this.#features.values()) {
      if (state.allowed > this.#licensedNow(state)) {
        this.#checkSeats();
        break;
      }
    }
    if (this.#violation !== null) throw this.#violation;
  }

  /** The independent sweep over all recorded holds. */
  checkHistory(): void {
    const nowMs = this.#scheduler.nowMs();
    const found = overIssues([...this.#holds, ...this.#openHolds(nowMs)], this.#limits)[0];
    if (found === undefined || this.#measuresOnly) return;
    throw new Violation(
      `I1: ${found.held} seats of ${found.feature} were held at ${found.atMs} ms, ${found.allowed} were allowed`,
    );
  }

  seatsOf(feature: string): number {
    return this.#features.get(feature)?.licensed.at(-1)?.seats ?? 0;
  }

  #checkSeats(): void {
    for (const belief of this.#beliefs) {
      if (belief.isShared() || !belief.heldBySdk() || belief.believes()) continue;
      this.violated("I1", `the SDK of ${belief.client} believes ${-belief.leftMs()} ms too long`);
    }
    for (const [feature, state] of this.#features) {
      const held: Belief[] = [];
      let seats = 0;
      for (const belief of this.#beliefs) {
        if (belief.feature !== feature || belief.isShared() || !belief.believes()) continue;
        held.push(belief);
        seats += belief.seats;
      }
      const licensed = this.#licensedNow(state);
      if (licensed >= state.allowed) state.allowed = licensed;
      else state.allowed = Math.max(licensed, Math.min(state.allowed, this.#known(feature, held)));
      if (seats <= state.allowed) continue;
      const who = held.map((belief) => `${belief.client} at ${belief.member()}`).join(", ");
      this.violated(
        "I1",
        `${seats} seats of ${feature} are held, ${state.allowed} allowed: ${who}`,
      );
    }
  }

  /** Seats of all sessions that a client believes in or any journal knows, so also of those under way. */
  #known(feature: string, held: readonly Belief[]): number {
    const sessions = new Map(held.map((belief) => [belief.session(), belief.seats]));
    for (const disk of this.#disks.values()) {
      for (const [session, known] of disk.sessions()) {
        if (known.feature === feature) sessions.set(session, known.seats);
      }
    }
    return [...sessions.values()].reduce((sum, seats) => sum + seats, 0);
  }

  #licenseChanged(seats: ReadonlyMap<string, number>, size: number): void {
    const writtenMs = this.#scheduler.nowMs();
    this.#size = size;
    this.#licenseSizes.push({ writtenMs, size });
    for (const feature of new Set([...this.#features.keys(), ...seats.keys()])) {
      const state = this.#features.get(feature) ?? { licensed: [], allowed: 0 };
      this.#features.set(feature, state);
      const next = seats.get(feature) ?? 0;
      const before = state.licensed.at(-1)?.seats ?? 0;
      state.licensed.push({ writtenMs, seats: next });
      // The sweep at the end knows only what clients believed, not what was journaled when a smaller
      // license took effect, so it is given the most that was ever licensed; the rest is checked live.
      const most = Math.max(...state.licensed.map((each) => each.seats));
      if (next === most && next > before) {
        this.#limits.push({ atMs: writtenMs, feature, seats: next });
      }
    }
  }

  /** The largest of the licenses that may still be in force for some member: R after a newer one. */
  #licensedNow(state: FeatureState): number {
    const nowMs = this.#scheduler.nowMs();
    let most = 0;
    state.licensed.forEach(({ seats }, index) => {
      const next = state.licensed[index + 1];
      const over = next !== undefined && next.writtenMs + this.#takesEffectMs() < nowMs;
      if (!over) most = Math.max(most, seats);
    });
    return most;
  }

  #smallestSize(): number {
    const nowMs = this.#scheduler.nowMs();
    const inForce = this.#licenseSizes.filter((_, index) => {
      const next = this.#licenseSizes[index + 1];
      return next === undefined || next.writtenMs + this.#takesEffectMs() >= nowMs;
    });
    return Math.min(...inForce.map(({ size }) => size), this.#size);
  }

  #takesEffectMs(): number {
    return this.#timing.retireAfterMs * (1 + RATE_SLACK);
  }
}

/** What is promised whatever the clocks do. */
const WITHOUT_CLOCKS: readonly string[] = ["I3", "I6", "I7", "history", "bug"];

/** R is counted on clocks that may be this much slower than true time. */
const RATE_SLACK = 0.011;
