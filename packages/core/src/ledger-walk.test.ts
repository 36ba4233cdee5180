/**
 * A random walk over the ledger against a model that keeps nothing but a list: which seats count in which
 * epoch, and until when at least.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Ledger, type Session } from "./ledger.ts";
import { serverLifeMs } from "./timing.ts";

const LIVES = [6_000, 20_000, 60_000] as const;
const DUE_LATE_MS_MAX = 750;
const NAMES = ["a", "b", "c", "d", "e", "f"] as const;

interface ModelSession {
  epoch: number;
  seats: number;
  lifeMs: number;
  /** The earliest time at which it may be found over; Infinity during the wait of the start. */
  endsAtMs: number;
  heldUntilMs: number;
}

interface ModelHold {
  session: string;
  epoch: number;
  seats: number;
  untilMs: number;
}

const name = fc.constantFrom(...NAMES);
const step = fc.oneof(
  fc.record({
    kind: fc.constant("begin" as const),
    name,
    seats: fc.integer({ min: 1, max: 4 }),
    lifeMs: fc.constantFrom(...LIVES),
    holdMs: fc.constantFrom(0, 0, 5_000, 61_000),
  }),
  fc.record({ kind: fc.constant("renew" as const), name, lifeMs: fc.constantFrom(...LIVES) }),
  fc.record({ kind: fc.constant("end" as const), name }),
  fc.record({
    kind: fc.constant("move" as const),
    name,
    holdMs: fc.constantFrom(0, 8_000),
  }),
  fc.record({ kind: fc.constant("retired" as const) }),
  fc.record({ kind: fc.constant("adopt" as const) }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 9_000 }) }),
  fc.record({ kind: fc.constant("restart" as const), downMs: fc.integer({ min: 0, max: 9_000 }) }),
);

class Walk {
  ledger = new Ledger();
  nowMs = 1_000;
  epoch = 1;
  readonly sessions = new Map<string, ModelSession>();
  holds: ModelHold[] = [];
  /** The longest life that was granted in each epoch. */
  private readonly longest = new Map<number, number>();

  apply(each: typeof step extends fc.Arbitrary<infer T> ? T : never): void {
    switch (each.kind) {
      case "begin":
        return this.begin(each.name, each.seats, each.lifeMs, each.holdMs);
      case "renew":
        return this.with(each.name, (session, model) => {
          this.ledger.renew(session, undefined, each.lifeMs, this.nowMs);
          model.lifeMs = each.lifeMs;
          this.granted(model.epoch, each.lifeMs);
          // A client that never hears this answer believes in the one before.
          model.endsAtMs = Math.max(model.endsAtMs, this.nowMs + serverLifeMs(each.lifeMs));
        });
      case "end":
        return this.with(each.name, (session) => this.end(session));
      case "move":
        return this.with(each.name, (session, model) => {
          this.ledger.moveToEpoch(session, this.epoch, each.holdMs, this.nowMs);
          model.epoch = this.epoch;
          this.granted(this.epoch, model.lifeMs);
          model.heldUntilMs = each.holdMs > 0 ? this.nowMs + each.holdMs : 0;
        });
      case "retired":
        this.epoch += 1;
        return;
      case "adopt":
        return this.adopt();
      case "wait":
        this.nowMs += each.ms;
        return this.expire();
      case "restart":
        return this.restart(each.downMs);
    }
  }

  private granted(epoch: number, lifeMs: number): void {
    this.longest.set(epoch, Math.max(this.longest.get(epoch) ?? 0, lifeMs));
  }

  private with(name: string, work: (session: Session, model: ModelSession) => void): void {
    const session = this.ledger.sessions.get(name);
    const model = this.sessions.get(name);
    if (session !== undefined && model !== undefined) work(session, model);
  }

  private begin(session: string, seats: number, lifeMs: number, holdMs: number): void {
    if (this.sessions.has(session)) return;
    this.ledger.begin(
      {
        session,
        n: 1,
        feature: "cad",
        version: null,
        seats,
        holder: { user: "u", host: "h" },
        lifeMs,
        grantedAtMs: 0,
        convertedFrom: null,
        holdMs,
      },
      this.epoch,
      this.nowMs,
    );
    this.granted(this.epoch, lifeMs);
    this.sessions.set(session, {
      epoch: this.epoch,
      seats,
      lifeMs,
      endsAtMs: this.nowMs + serverLifeMs(lifeMs),
      heldUntilMs: holdMs > 0 ? this.nowMs + holdMs : 0,
    });
  }

  private end(session: Session): void {
    const model = this.sessions.get(session.session);
    if (model === undefined) throw new Error(`${session.session} ended twice`);
    if (model.epoch < this.epoch) {
      const longestMs = serverLifeMs(this.longest.get(model.epoch) ?? 0);
      model.heldUntilMs = Math.max(model.heldUntilMs, this.nowMs + longestMs);
    }
    const heldMs = Math.max(0, model.heldUntilMs - this.nowMs);
    expect(this.ledger.end(session, this.nowMs, this.epoch)).toBe(heldMs);
    this.sessions.delete(session.session);
    if (heldMs === 0) return;
    const { epoch, seats, heldUntilMs: untilMs } = model;
    this.holds.push({ session: session.session, epoch, seats, untilMs });
  }

  /** What the housekeeping does, five times a second: nothing is ended early, nothing is forgotten. */
  private expire(): void {
    for (const session of this.ledger.due(this.nowMs, 100)) {
      expect(this.sessions.get(session.session)?.endsAtMs).toBeLessThanOrEqual(this.nowMs);
      this.end(session);
    }
    for (const { endsAtMs } of this.sessions.values()) {
      expect(endsAtMs).toBeGreaterThan(this.nowMs - DUE_LATE_MS_MAX);
    }
    const over = this.holds.filter(({ untilMs }) => untilMs <= this.nowMs);
    this.holds = this.holds.filter(({ untilMs }) => untilMs > this.nowMs);
    const left = new Set(this.holds.map(({ session }) => session));
    const ended = new Set(over.map(({ session }) => session).filter((each) => !left.has(each)));
    expect(this.ledger.endHolds(this.nowMs).sort()).toEqual([...ended].sort());
    expect(this.ledger.holdCount()).toBe(this.holds.length);
  }

  private adopt(): void {
    const [oldest] = this.ledger.olderAccounts("cad", this.epoch);
    if (oldest === undefined) return;
    const from = oldest.epoch;
    this.ledger.adopt(oldest, this.epoch);
    this.granted(this.epoch, this.longest.get(from) ?? 0);
    for (const each of [...this.sessions.values(), ...this.holds]) {
      if (each.epoch === from) each.epoch = this.epoch;
    }
  }

  /** A new process with a clock of its own; what is left of a hold when it was journaled begins anew. */
  private restart(downMs: number): void {
    const before = this.nowMs;
    this.ledger = new Ledger();
    this.epoch += 1;
    this.longest.clear();
    const holdMsOf = (untilMs: number): number => Math.max(0, untilMs - before);
    for (const [session, model] of this.sessions) {
      const known = {
        session,
        n: 1,
        feature: "cad",
        version: null,
        seats: model.seats,
        holder: { user: "u", host: "h" },
        lifeMs: model.lifeMs,
        grantedAtMs: 0,
        convertedFrom: null,
        holdMs: holdMsOf(model.heldUntilMs),
        epoch: model.epoch,
      };
      this.ledger.restore(known, false);
      this.granted(model.epoch, model.lifeMs);
    }
    for (const hold of this.holds) {
      this.granted(hold.epoch, holdMsOf(hold.untilMs));
      this.ledger.restoreHold({ ...hold, feature: "cad", holdMs: holdMsOf(hold.untilMs) });
    }
    this.nowMs = 1_000 + downMs;
    expect(this.ledger.due(this.nowMs, 100)).toEqual([]);
    expect(this.ledger.endHolds(this.nowMs)).toEqual([]);
    this.ledger.activate(this.nowMs, () => LIVES[1]);
    for (const model of this.sessions.values()) {
      model.lifeMs = Math.max(model.lifeMs, LIVES[1]);
      this.granted(model.epoch, model.lifeMs);
      model.endsAtMs = this.nowMs + serverLifeMs(model.lifeMs);
      const holdMs = holdMsOf(model.heldUntilMs);
      model.heldUntilMs = holdMs > 0 ? this.nowMs + holdMs : 0;
    }
    for (const hold of this.holds) hold.untilMs = this.nowMs + holdMsOf(hold.untilMs);
  }

  check(): void {
    const counted = new Map<number, number>();
    for (const { epoch, seats } of [...this.sessions.values(), ...this.holds]) {
      counted.set(epoch, (counted.get(epoch) ?? 0) + seats);
    }
    const older = [...counted].filter(([epoch]) => epoch < this.epoch).sort(([a], [b]) => a - b);
    expect(
      this.ledger.olderAccounts("cad", this.epoch).map(({ epoch, used }) => [epoch, used]),
    ).toEqual(older);
    expect(this.ledger.account("cad", this.epoch).used).toBe(counted.get(this.epoch) ?? 0);
    expect([...this.ledger.sessions.keys()].sort()).toEqual([...this.sessions.keys()].sort());
  }
}

test("seats are counted in their epoch, once, for as long as they must be and no longer", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const walk = new Walk();
      for (const each of steps) {
        walk.apply(each);
        walk.check();
      }
    }),
    { numRuns: 1_000 },
  );
});
