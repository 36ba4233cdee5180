/**
 * A random walk over the record of allocations against a model that counts seats in places and knows
 * nothing of how the record is built. Seats that come to `free` while there are more than licensed
 * vanish; that is all the model has for debt.
 */
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  allocate,
  borrow,
  conservationFault,
  convert,
  entryOf,
  giveBack,
  handOver,
  isFault,
  newRecord,
  parseRetiredKey,
  reclaim,
  reinstateUnused,
  reinstateWhole,
  resize,
  retiredKey,
  retireEntry,
  returnBorrowed,
  setLife,
} from "./allocations.ts";
import type { AllocationRecord, RecordChange } from "./allocations.ts";

const MEMBERS = ["a", "constructor", "__proto__"] as const;
const EPOCHS_MAX = 4;
const SEATS_MAX = 20;

const KINDS = [
  "allocate",
  "giveBack",
  "retireEntry",
  "reinstateWhole",
  "reinstateUnused",
  "reclaim",
  "convert",
  "handOver",
  "resize",
  "borrow",
  "returnBorrowed",
  "setLife",
] as const;

type Kind = (typeof KINDS)[number];

interface Step {
  readonly kind: Kind;
  readonly from: string;
  readonly fromEpoch: number;
  readonly to: string;
  readonly toEpoch: number;
  readonly seats: number;
  readonly lifeMs: number;
  /** The epoch that the member seats are converted from is in by now. */
  readonly presentEpoch: number;
  readonly newSeats: number;
  /** How far the license's sequence grows. */
  readonly raise: number;
  /** Takes the epochs of the entries that are there, where they are, so that more steps succeed. */
  readonly aimed: boolean;
}

const epochs = fc.integer({ min: 0, max: EPOCHS_MAX });
const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom(...KINDS, "allocate", "allocate", "borrow"),
    from: fc.constantFrom(...MEMBERS),
    fromEpoch: epochs,
    to: fc.constantFrom(...MEMBERS),
    toEpoch: epochs,
    seats: fc.constantFrom(0, 1, 1, 2, 3, 5),
    lifeMs: fc.integer({ min: 1, max: 5 }),
    presentEpoch: epochs,
    newSeats: fc.integer({ min: 0, max: 2 * SEATS_MAX }),
    raise: fc.integer({ min: 0, max: 2 }),
    aimed: fc.constantFrom(true, true, false),
  }),
  { minLength: 1, maxLength: 80, size: "max" },
);

interface Retired {
  readonly epoch: number;
  readonly member: string;
  seats: number;
  of: number;
}

/** Seats by place. A live place without seats is remembered, a retired one is forgotten. */
class Model {
  licensed: number;
  sequence = 1;
  free: number;
  borrowed = 0;
  readonly live = new Map<string, { epoch: number; seats: number }>();
  readonly retired = new Map<string, Retired>();

  constructor(licensed: number) {
    this.licensed = licensed;
    this.free = licensed;
  }

  get total(): number {
    const sum = (entries: Iterable<{ seats: number }>): number =>
      [...entries].reduce((total, entry) => total + entry.seats, 0);
    return this.free + this.borrowed + sum(this.live.values()) + sum(this.retired.values());
  }

  toFree(seats: number): void {
    this.free += seats;
    this.free -= Math.max(0, Math.min(this.free, this.total - this.licensed));
  }

  grow(member: string, epoch: number, seats: number): boolean {
    const live = this.live.get(member);
    if (live !== undefined && live.epoch !== epoch) return false;
    for (const retired of this.retired.values()) {
      if (retired.member === member && retired.epoch >= epoch) return false;
    }
    this.live.set(member, { epoch, seats: (live?.seats ?? 0) + seats });
    return true;
  }

  takeLive(member: string, epoch: number, seats: number): boolean {
    const live = this.live.get(member);
    if (live?.epoch !== epoch || live.seats < seats) return false;
    live.seats -= seats;
    return seats > 0;
  }

  retire(member: string, below: number): void {
    const live = this.live.get(member);
    if (live === undefined || live.epoch >= below) return;
    this.live.delete(member);
    if (live.seats === 0) return;
    const { epoch, seats } = live;
    this.retired.set(retiredKey(member, epoch), { epoch, member, seats, of: seats });
  }

  setAside(member: string, epoch: number, presentEpoch: number): Retired | undefined {
    if (this.live.get(member)?.epoch === epoch) this.retire(member, presentEpoch);
    return this.retired.get(retiredKey(member, epoch));
  }

  takeRetired(member: string, epoch: number, seats: number): void {
    const key = retiredKey(member, epoch);
    const entry = this.retired.get(key);
    if (entry === undefined) return;
    entry.seats -= seats;
    if (entry.seats === 0) this.retired.delete(key);
  }

  copy(): Model {
    const copy = new Model(this.licensed);
    copy.sequence = this.sequence;
    copy.free = this.free;
    copy.borrowed = this.borrowed;
    for (const [member, entry] of this.live) copy.live.set(member, { ...entry });
    for (const [key, entry] of this.retired) copy.retired.set(key, { ...entry });
    return copy;
  }
}

const ON_RECORD: Record<Kind, (record: AllocationRecord, step: Step) => RecordChange> = {
  allocate: (record, { to, toEpoch, seats, lifeMs }) =>
    allocate(record, to, toEpoch, seats, lifeMs),
  giveBack: (record, { from, fromEpoch, seats }) => giveBack(record, from, fromEpoch, seats),
  retireEntry: (record, { from, toEpoch }) => retireEntry(record, from, toEpoch),
  reinstateWhole: (record, { from, fromEpoch, toEpoch, lifeMs }) =>
    reinstateWhole(record, from, fromEpoch, toEpoch, lifeMs),
  reinstateUnused: (record, { from, fromEpoch, toEpoch, seats, lifeMs }) =>
    reinstateUnused(record, from, fromEpoch, toEpoch, seats, lifeMs),
  reclaim: (record, { from, fromEpoch }) => reclaim(record, retiredKey(from, fromEpoch)),
  convert: (record, { from, fromEpoch, to, toEpoch, seats, presentEpoch }) =>
    convert(record, from, fromEpoch, to, toEpoch, seats, presentEpoch),
  handOver: (record, { from, fromEpoch, to, toEpoch, seats }) =>
    handOver(record, from, fromEpoch, to, toEpoch, seats, "s"),
  resize: (record, { newSeats, raise }) => resize(record, newSeats, record.sequence + raise),
  borrow: (record, { from, fromEpoch, seats }) => borrow(record, from, fromEpoch, seats),
  returnBorrowed: (record, { seats }) => returnBorrowed(record, seats),
  setLife: (record, { from, fromEpoch, lifeMs }) => setLife(record, from, fromEpoch, lifeMs),
};

/** Changes the model and says whether the step is allowed. */
const ON_MODEL: Record<Kind, (model: Model, step: Step) => boolean> = {
  allocate: (model, { to, toEpoch, seats }) => {
    if (seats === 0 || model.free < seats) return false;
    model.free -= seats;
    return model.grow(to, toEpoch, seats);
  },
  giveBack: (model, { from, fromEpoch, seats }) => {
    if (!model.takeLive(from, fromEpoch, seats)) return false;
    model.toFree(seats);
    return true;
  },
  retireEntry: (model, { from, toEpoch }) => {
    model.retire(from, toEpoch);
    return true;
  },
  reinstateWhole: (model, { from, fromEpoch, toEpoch }) => {
    const entry = model.setAside(from, fromEpoch, toEpoch);
    if (fromEpoch >= toEpoch || entry === undefined || entry.of !== entry.seats) return false;
    const whole = entry.seats;
    model.takeRetired(from, fromEpoch, whole);
    return model.grow(from, toEpoch, whole);
  },
  reinstateUnused: (model, { from, fromEpoch, toEpoch, seats }) => {
    const entry = model.setAside(from, fromEpoch, toEpoch);
    if (fromEpoch >= toEpoch || entry === undefined) return false;
    if (entry.of === 0 || seats > entry.of) return false;
    const moved = Math.min(seats, entry.seats);
    const paid = Math.min(moved, Math.max(0, model.total - model.licensed));
    entry.of = 0;
    model.takeRetired(from, fromEpoch, moved);
    return moved === paid || model.grow(from, toEpoch, moved - paid);
  },
  reclaim: (model, { from, fromEpoch }) => {
    const left = model.retired.get(retiredKey(from, fromEpoch))?.seats;
    if (left === undefined) return false;
    model.takeRetired(from, fromEpoch, left);
    model.toFree(left);
    return true;
  },
  convert: (model, { from, fromEpoch, to, toEpoch, seats, presentEpoch }) => {
    const entry = model.setAside(from, fromEpoch, presentEpoch);
    if (seats === 0 || entry === undefined || entry.seats < seats) return false;
    model.takeRetired(from, fromEpoch, seats);
    return model.grow(to, toEpoch, seats);
  },
  handOver: (model, { from, fromEpoch, to, toEpoch, seats }) =>
    model.takeLive(from, fromEpoch, seats) && model.grow(to, toEpoch, seats),
  resize: (model, { newSeats, raise }) => {
    model.sequence += raise;
    model.licensed = newSeats;
    model.toFree(Math.max(0, newSeats - model.total));
    return raise > 0;
  },
  borrow: (model, { from, fromEpoch, seats }) => {
    model.borrowed += seats;
    return model.takeLive(from, fromEpoch, seats);
  },
  returnBorrowed: (model, { seats }) => {
    if (seats === 0 || model.borrowed < seats) return false;
    model.borrowed -= seats;
    model.toFree(seats);
    return true;
  },
  setLife: (model, { from, fromEpoch }) => model.live.get(from)?.epoch === fromEpoch,
};

function aim(record: AllocationRecord, step: Step): Step {
  if (!step.aimed) return step;
  const isReinstate = step.kind.startsWith("reinstate");
  const retired = Object.keys(record.retired).map(parseRetiredKey);
  const live = Object.entries(record.allocated).map(([member, { epoch }]) => ({ member, epoch }));
  const fromRetired = isReinstate || step.kind === "reclaim" || step.kind === "convert";
  const sources = fromRetired ? [...retired, ...live] : live;
  const source = sources.find((entry) => entry.member === step.from) ?? sources[0];
  const { member: from, epoch: fromEpoch } = source ?? { member: step.from, epoch: step.fromEpoch };
  const receiver = entryOf(record, isReinstate ? from : step.to)?.epoch ?? step.toEpoch;
  const least = isReinstate ? fromEpoch + 1 : 0;
  const toEpoch = step.kind === "retireEntry" ? step.toEpoch : Math.max(receiver, least);
  return { ...step, from, fromEpoch, toEpoch, presentEpoch: fromEpoch + 1 };
}

/** The record in the model's words. */
function places(record: AllocationRecord): unknown {
  return {
    licensed: record.seats,
    sequence: record.sequence,
    free: record.free,
    borrowed: record.borrowed,
    total: record.seats + record.debt,
    live: Object.entries(record.allocated)
      .map(([member, { epoch, seats }]) => [member, { epoch, seats }])
      .sort(byName),
    retired: Object.entries(record.retired)
      .map(([key, { seats, of }]) => [key, { ...parseRetiredKey(key), seats, of }])
      .sort(byName),
  };
}

function modelPlaces(model: Model): unknown {
  const { licensed, sequence, free, borrowed } = model;
  const live = [...model.live].sort(byName);
  const retired = [...model.retired].sort(byName);
  const total = Math.max(model.total, licensed);
  return { licensed, sequence, free, borrowed, total, live, retired };
}

function byName(left: readonly unknown[], right: readonly unknown[]): number {
  return String(left[0]) < String(right[0]) ? -1 : 1;
}

function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null) Object.values(value).forEach(frozen);
  return Object.freeze(value);
}

/** Every seat's life only grows on the way to another holder, so that every wait is long enough. */
function longestLife(record: AllocationRecord, step: Step): number {
  const key = retiredKey(step.from, step.fromEpoch);
  const retired = Object.hasOwn(record.retired, key) ? record.retired[key]?.lifeMs : undefined;
  const live = entryOf(record, step.from);
  return retired ?? (live?.epoch === step.fromEpoch ? live.lifeMs : 0);
}

test("the record agrees with a model of seats in places through every walk", () => {
  const reached = new Map<string, number>();
  fc.assert(
    fc.property(fc.integer({ min: 0, max: SEATS_MAX }), steps, (seats, walk) => {
      let record = frozen(newRecord(seats, 1));
      let model = new Model(seats);
      for (const planned of walk) {
        const step = aim(record, planned);
        const change = ON_RECORD[step.kind](record, step);
        const next = model.copy();
        const expected = ON_MODEL[step.kind](next, step) ? next : null;
        const way = isFault(change) ? "refused" : "done";
        reached.set(`${step.kind} ${way}`, (reached.get(`${step.kind} ${way}`) ?? 0) + 1);
        expect(isFault(change) ? null : places(change), JSON.stringify(step)).toEqual(
          expected === null ? null : modelPlaces(expected),
        );
        if (isFault(change) || expected === null) {
          expect(isFault(change) && change.fault).not.toBe("conservation");
          continue;
        }
        expect(conservationFault(change)).toBeNull();
        expect(isDeepStrictEqual(JSON.parse(JSON.stringify(change)), change)).toBe(true);
        if (["convert", "handOver", "reinstateWhole"].includes(step.kind)) {
          const receiver = step.kind === "reinstateWhole" ? step.from : step.to;
          const lifeMs = entryOf(change, receiver)?.lifeMs ?? 0;
          expect(lifeMs).toBeGreaterThanOrEqual(longestLife(record, step));
        }
        for (const [member, { epoch, lifeMs }] of Object.entries(record.allocated)) {
          const after = entryOf(change, member);
          if (step.kind === "setLife" || after?.epoch !== epoch) continue;
          expect(after.lifeMs).toBeGreaterThanOrEqual(lifeMs);
        }
        record = frozen(change);
        model = expected;
      }
    }),
    { numRuns: 500 },
  );
  for (const kind of KINDS) expect(reached.get(`${kind} done`) ?? 0, kind).toBeGreaterThan(0);
  const refusable = KINDS.filter((kind) => kind !== "retireEntry");
  for (const kind of refusable) {
    expect(reached.get(`${kind} refused`) ?? 0, kind).toBeGreaterThan(0);
  }
});

test("an operation that names another epoch changes nothing", () => {
  const epochs = fc.integer({ min: 0, max: 9 });
  fc.assert(
    fc.property(fc.constantFrom(...MEMBERS), epochs, epochs, (member, epoch, other) => {
      fc.pre(epoch !== other);
      const started = allocate(newRecord(9, 1), member, epoch, 4, 10);
      if (isFault(started)) throw new Error(started.detail);
      const record = allocate(started, "other", 1, 2, 10);
      if (isFault(record)) throw new Error(record.detail);
      const changes = [
        allocate(record, member, other, 1, 10),
        giveBack(record, member, other, 1),
        borrow(record, member, other, 1),
        setLife(record, member, other, 1),
        handOver(record, member, other, "other", 1, 1, "s"),
        handOver(record, "other", 1, member, other, 1, "s"),
        convert(record, member, other, "other", 1, 1, 10),
        reinstateWhole(record, member, other, 10, 10),
        reinstateUnused(record, member, other, 10, 1, 10),
        reclaim(record, retiredKey(member, other)),
      ];
      for (const change of changes) {
        expect(isFault(change) ? change.fault : "done").toMatch(/^(epoch|no-entry)$/);
      }
    }),
  );
});

test("converting takes from the named entry and from no other", () => {
  const epochs = fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 4 });
  fc.assert(
    fc.property(epochs, fc.nat(), fc.integer({ min: 1, max: 3 }), (epochs, pick, seats) => {
      const ordered = epochs.toSorted((a, b) => a - b);
      let record = newRecord(20, 1);
      for (const epoch of ordered) {
        const retired = retireEntry(record, "a", epoch);
        const next = isFault(retired) ? retired : allocate(retired, "a", epoch, 3, 10);
        if (isFault(next)) throw new Error(next.detail);
        record = next;
      }
      const named = ordered[pick % ordered.length] ?? 0;
      const change = convert(record, "a", named, "b", 1, seats, 7);
      if (isFault(change)) throw new Error(change.detail);
      for (const epoch of ordered.filter((epoch) => epoch !== named)) {
        const key = retiredKey("a", epoch);
        expect(change.retired[key]).toEqual(record.retired[key]);
      }
      expect(change.retired[retiredKey("a", named)]?.seats ?? 0).toBe(3 - seats);
      expect(entryOf(change, "b")?.seats).toBe(seats);
      expect(change.free).toBe(record.free);
    }),
  );
});

test("an entry is split once, whatever is converted before and after", () => {
  const count = fc.integer({ min: 0, max: 6 });
  fc.assert(
    fc.property(count, count, count, (before, unused, after) => {
      let record = newRecord(6, 1);
      const apply = (change: RecordChange): void => {
        if (!isFault(change)) record = change;
      };
      apply(allocate(record, "a", 1, 6, 10));
      apply(convert(record, "a", 1, "b", 1, before, 2));
      apply(reinstateUnused(record, "a", 1, 2, unused, 10));
      const back = entryOf(record, "a")?.seats ?? 0;
      expect(back).toBe(Math.min(unused, 6 - before));
      apply(convert(record, "a", 1, "b", 1, after));
      apply(reinstateUnused(record, "a", 1, 2, 6, 10));
      apply(reinstateWhole(record, "a", 1, 2, 10));
      expect(entryOf(record, "a")?.seats ?? 0).toBe(back);
    }),
  );
});
