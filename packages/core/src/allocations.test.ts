import { isDeepStrictEqual } from "node:util";
import { describe, expect, test } from "vitest";
import {
  allocate,
  borrow,
  conservationFault,
  convert,
  sourceOf,
  entryOf,
  forgetHanded,
  giveBack,
  HANDED_MAX,
  handOver,
  isFault,
  newRecord,
  parseRetiredKey,
  reclaim,
  reinstateUnused,
  reinstateWhole,
  resize,
  retiredKey,
  retiredOf,
  retireEntry,
  returnBorrowed,
  setLife,
  withNonce,
} from "./allocations.ts";
import type { AllocationRecord, RecordChange } from "./allocations.ts";

const LIFE = 60_000;

/** The record of a change that must not be refused. */
function done(change: RecordChange): AllocationRecord {
  if (isFault(change)) throw new Error(`${change.fault}: ${change.detail}`);
  return change;
}

function faultOf(change: RecordChange): string | null {
  return isFault(change) ? change.fault : null;
}

/** Ten seats: member a has six in epoch 1, member b two in epoch 1, two are free. */
function shared(): AllocationRecord {
  const first = done(allocate(newRecord(10, 1), "a", 1, 6, LIFE));
  return done(allocate(first, "b", 1, 2, LIFE));
}

describe("allocate and give back", () => {
  test("a new record has every seat free", () => {
    expect(newRecord(7, 3)).toMatchObject({ seats: 7, free: 7, sequence: 3, debt: 0 });
    expect(() => newRecord(-1, 1)).toThrow(RangeError);
    expect(() => newRecord(1, 0.5)).toThrow(RangeError);
  });

  test("seats go from free to the member and back", () => {
    const record = done(giveBack(shared(), "a", 1, 4));
    expect(record.free).toBe(6);
    expect(entryOf(record, "a")).toEqual({ seats: 2, epoch: 1, lifeMs: LIFE });
  });

  test("more seats than are free are refused", () => {
    expect(faultOf(allocate(shared(), "a", 1, 3, LIFE))).toBe("not-enough");
    expect(faultOf(giveBack(shared(), "a", 1, 7))).toBe("not-enough");
  });

  test("an entry of another epoch must be retired first", () => {
    expect(faultOf(allocate(shared(), "a", 2, 1, LIFE))).toBe("epoch");
    const retired = done(retireEntry(shared(), "a", 2));
    expect(entryOf(done(allocate(retired, "a", 2, 1, LIFE)), "a")?.seats).toBe(1);
  });

  test("a late writer cannot bring a retired epoch back to life", () => {
    const retired = done(retireEntry(shared(), "a", 2));
    expect(faultOf(allocate(retired, "a", 1, 1, LIFE))).toBe("epoch");
    expect(faultOf(handOver(retired, "b", 1, "a", 1, 1, "s"))).toBe("epoch");
  });

  test("the life of an entry is the longest that was allocated, until it is set", () => {
    const longer = done(allocate(shared(), "a", 1, 1, 2 * LIFE));
    expect(entryOf(longer, "a")?.lifeMs).toBe(2 * LIFE);
    const same = done(allocate(longer, "a", 1, 1, LIFE));
    expect(entryOf(same, "a")?.lifeMs).toBe(2 * LIFE);
    expect(entryOf(done(setLife(same, "a", 1, LIFE)), "a")?.lifeMs).toBe(LIFE);
    expect(faultOf(setLife(same, "a", 2, LIFE))).toBe("epoch");
    expect(faultOf(setLife(same, "c", 1, LIFE))).toBe("no-entry");
  });

  test("a nonce leaves the other members' nonces", () => {
    const record = withNonce(withNonce(shared(), "a", "x"), "b", "y");
    expect(withNonce(record, "a", "z").nonces).toEqual({ a: "z", b: "y" });
  });
});

describe("retire, reinstate and reclaim", () => {
  test("retiring keeps what the entry had", () => {
    const record = done(retireEntry(shared(), "a", 4));
    expect(entryOf(record, "a")).toBeNull();
    expect(record.retired).toEqual({ "a/1": { seats: 6, of: 6, lifeMs: LIFE } });
  });

  test("retiring without an older entry changes nothing", () => {
    const record = shared();
    expect(retireEntry(record, "a", 1)).toBe(record);
    expect(retireEntry(record, "c", 9)).toBe(record);
  });

  test("an entry without seats is dropped when it is retired", () => {
    const empty = done(giveBack(shared(), "b", 1, 2));
    const record = done(retireEntry(empty, "b", 2));
    expect(entryOf(record, "b")).toBeNull();
    expect(record.retired).toEqual({});
  });

  test("an entry nobody took from comes back whole", () => {
    const record = done(retireEntry(shared(), "a", 2));
    const back = done(reinstateWhole(record, "a", 1, 2, LIFE));
    expect(entryOf(back, "a")).toEqual({ seats: 6, epoch: 2, lifeMs: LIFE, since: 1 });
    expect(back.retired).toEqual({});
    const direct = done(reinstateWhole(shared(), "a", 1, 2, LIFE));
    expect(direct).toEqual(back);
  });

  test("a whole entry is added to what the new epoch has, with the longer life", () => {
    const retired = done(retireEntry(shared(), "a", 2));
    const fresh = done(allocate(retired, "a", 2, 1, LIFE / 2));
    const back = done(reinstateWhole(fresh, "a", 1, 2, LIFE / 2));
    expect(entryOf(back, "a")).toEqual({ seats: 7, epoch: 2, lifeMs: LIFE, since: 1 });
  });

  test("a token of an epoch whose entry was taken over whole is found in the later one", () => {
    const back = done(reinstateWhole(shared(), "a", 1, 3, LIFE));
    expect(sourceOf(back, "a", 1, "s")).toMatchObject({ member: "a", epoch: 3 });
    const again = done(retireEntry(back, "a", 4));
    expect(again.retired).toEqual({ "a/3": { seats: 6, of: 6, lifeMs: LIFE, since: 1 } });
    expect(sourceOf(again, "a", 1, "s")).toMatchObject({ member: "a", epoch: 3 });
    expect(sourceOf(again, "a", 3, "s")).toMatchObject({ member: "a", epoch: 3 });
    expect(sourceOf(again, "a", 4, "s")).toBeNull();
    expect(sourceOf(again, "b", 1, "s")).toMatchObject({ member: "b", epoch: 1 });
  });

  test("a session that was handed over counts where its seats went, whoever dies later", () => {
    const moved = done(handOver(shared(), "a", 1, "b", 1, 1, "s"));
    expect(sourceOf(moved, "a", 1, "s")).toMatchObject({ member: "b", epoch: 1 });
    expect(sourceOf(moved, "a", 1, "t")).toMatchObject({ member: "a", epoch: 1 });
    const dead = done(retireEntry(done(retireEntry(moved, "b", 2)), "a", 2));
    expect(sourceOf(dead, "a", 1, "s")).toMatchObject({ member: "b", epoch: 1 });
    const returned = done(reinstateWhole(dead, "a", 1, 2, LIFE));
    expect(sourceOf(returned, "a", 1, "s")).toMatchObject({ member: "b", epoch: 1 });
    const forgotten = done(forgetHanded(moved, "a", 1, ["s"]));
    expect(entryOf(forgotten, "a")).toEqual({ seats: 5, epoch: 1, lifeMs: LIFE });
  });

  test("only so many sessions are handed over out of one entry within a life", () => {
    let record = done(allocate(newRecord(200, 1), "a", 1, 200, LIFE));
    for (let index = 0; index < HANDED_MAX; index += 1) {
      record = done(handOver(record, "a", 1, "b", 1, 1, `s${index}`));
    }
    expect(faultOf(handOver(record, "a", 1, "b", 1, 1, "one more"))).toBe("not-enough");
  });

  test("a token of an epoch that was split is not found in the later entry", () => {
    const retired = done(convert(shared(), "a", 1, "b", 1, 1, 2));
    const back = done(reinstateUnused(retired, "a", 1, 2, 2, LIFE));
    expect(sourceOf(back, "a", 1, "s")).toMatchObject({ member: "a", epoch: 1 });
    const reclaimed = done(reclaim(back, "a/1"));
    expect(sourceOf(reclaimed, "a", 1, "s")).toBeNull();
    expect(sourceOf(reclaimed, "a", 2, "s")).toMatchObject({ member: "a", epoch: 2 });
  });

  test("an entry that a seat was converted from is not whole, even before its bookkeeping", () => {
    const record = done(convert(shared(), "a", 1, "b", 1, 1, 2));
    expect(retiredOf(record, "a", 1)).toEqual({ seats: 5, of: 6, lifeMs: LIFE });
    expect(faultOf(reinstateWhole(record, "a", 1, 2, LIFE))).toBe("not-enough");
  });

  test("what the journal proves unused comes back once", () => {
    const taken = done(convert(shared(), "a", 1, "b", 1, 1, 2));
    const back = done(reinstateUnused(taken, "a", 1, 2, 3, LIFE));
    expect(entryOf(back, "a")).toEqual({ seats: 3, epoch: 2, lifeMs: LIFE });
    expect(retiredOf(back, "a", 1)).toEqual({ seats: 2, of: 0, lifeMs: LIFE });
    expect(faultOf(reinstateUnused(back, "a", 1, 2, 1, LIFE))).toBe("not-enough");
    expect(faultOf(reinstateWhole(back, "a", 1, 2, LIFE))).toBe("not-enough");
  });

  test("no more comes back than is left, and no proof exceeds what the entry had", () => {
    const taken = done(convert(shared(), "a", 1, "b", 1, 4, 2));
    expect(entryOf(done(reinstateUnused(taken, "a", 1, 2, 5, LIFE)), "a")?.seats).toBe(2);
    expect(faultOf(reinstateUnused(taken, "a", 1, 2, 7, LIFE))).toBe("not-enough");
  });

  test("a proof of nothing splits the entry all the same", () => {
    const back = done(reinstateUnused(shared(), "a", 1, 2, 0, LIFE));
    expect(entryOf(back, "a")).toBeNull();
    expect(retiredOf(back, "a", 1)).toEqual({ seats: 6, of: 0, lifeMs: LIFE });
  });

  test("reinstating needs a higher epoch", () => {
    expect(faultOf(reinstateWhole(shared(), "a", 1, 1, LIFE))).toBe("epoch");
    expect(faultOf(reinstateUnused(shared(), "a", 1, 0, 1, LIFE))).toBe("epoch");
    expect(faultOf(reinstateWhole(shared(), "c", 1, 2, LIFE))).toBe("no-entry");
  });

  test("after the wait the rest is free", () => {
    const record = done(retireEntry(shared(), "a", 2));
    expect(done(reclaim(record, "a/1"))).toMatchObject({ free: 8, retired: {} });
    expect(faultOf(reclaim(record, "b/1"))).toBe("no-entry");
  });
});

describe("convert and hand over", () => {
  test("a converted seat carries the old life to its new member", () => {
    const long = done(setLife(shared(), "a", 1, 9 * LIFE));
    const record = done(convert(long, "a", 1, "c", 5, 2, 2));
    expect(entryOf(record, "c")).toEqual({ seats: 2, epoch: 5, lifeMs: 9 * LIFE });
  });

  test("an entry that is not retired is not converted from", () => {
    expect(faultOf(convert(shared(), "a", 1, "b", 1, 1))).toBe("epoch");
    expect(faultOf(convert(shared(), "a", 1, "b", 1, 1, 1))).toBe("epoch");
    expect(faultOf(convert(shared(), "c", 1, "b", 1, 1))).toBe("no-entry");
  });

  test("a returned member converts from its own older entry", () => {
    const record = done(convert(shared(), "a", 1, "a", 2, 2, 2));
    expect(entryOf(record, "a")?.seats).toBe(2);
    expect(retiredOf(record, "a", 1)).toMatchObject({ seats: 4, of: 6 });
  });

  test("an entry whose last seat was converted is dropped", () => {
    const record = done(convert(shared(), "a", 1, "b", 1, 6, 2));
    expect(record.retired).toEqual({});
    expect(faultOf(convert(record, "a", 1, "b", 1, 1, 2))).toBe("no-entry");
  });

  test("a hand-over moves seats and life between live entries", () => {
    const long = done(setLife(shared(), "a", 1, 2 * LIFE));
    const record = done(handOver(long, "a", 1, "b", 1, 2, "s"));
    expect(entryOf(record, "a")?.seats).toBe(4);
    expect(entryOf(record, "b")).toEqual({ seats: 4, epoch: 1, lifeMs: 2 * LIFE });
    expect(faultOf(handOver(long, "a", 2, "b", 1, 2, "s"))).toBe("epoch");
    expect(faultOf(handOver(long, "a", 1, "b", 2, 2, "s"))).toBe("epoch");
  });
});

describe("license change and borrowing", () => {
  test("a smaller license takes free seats first, the rest is debt", () => {
    expect(done(resize(shared(), 9, 2))).toMatchObject({ seats: 9, free: 1, debt: 0 });
    expect(done(resize(shared(), 5, 2))).toMatchObject({ seats: 5, free: 0, debt: 3 });
  });

  test("a larger license pays the debt first", () => {
    const small = done(resize(shared(), 5, 2));
    expect(done(resize(small, 7, 3))).toMatchObject({ free: 0, debt: 1 });
    expect(done(resize(small, 12, 3))).toMatchObject({ free: 4, debt: 0 });
  });

  test("a license that is not newer changes nothing", () => {
    expect(faultOf(resize(shared(), 12, 1))).toBe("bad-number");
    expect(faultOf(resize(shared(), 12, 0))).toBe("bad-number");
  });

  test("a broken record is not healed by a resize", () => {
    expect(faultOf(resize({ ...shared(), free: 3 }, 12, 2))).toBe("conservation");
    expect(faultOf(resize({ ...shared(), free: 3, debt: 1 }, 12, 2))).toBe("conservation");
  });

  test("whatever comes back pays the debt before it is free", () => {
    const borrowed = done(borrow(shared(), "b", 1, 1));
    const small = done(resize(borrowed, 2, 2));
    expect(small).toMatchObject({ free: 0, debt: 6 });
    const given = done(giveBack(small, "a", 1, 1));
    expect(given).toMatchObject({ free: 0, debt: 5 });
    const returned = done(returnBorrowed(given, 1));
    expect(returned).toMatchObject({ free: 0, debt: 4, borrowed: 0 });
    const back = done(reinstateUnused(returned, "a", 1, 2, 2, LIFE));
    expect(back).toMatchObject({ free: 0, debt: 2 });
    expect(entryOf(back, "a")).toBeNull();
    expect(done(reclaim(back, "a/1"))).toMatchObject({ free: 1, debt: 0 });
  });

  test("a borrowed seat leaves its member and comes back to the free ones", () => {
    const record = done(borrow(shared(), "a", 1, 2));
    expect(record.borrowed).toBe(2);
    expect(entryOf(record, "a")?.seats).toBe(4);
    expect(done(returnBorrowed(record, 2))).toMatchObject({ borrowed: 0, free: 4 });
    expect(faultOf(returnBorrowed(record, 3))).toBe("not-enough");
  });
});

describe("numbers, keys and names", () => {
  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])(
    "%d is refused wherever a number is asked for",
    (bad) => {
      const retired = done(retireEntry(done(borrow(shared(), "b", 1, 1)), "a", 2));
      const changes = [
        allocate(retired, "b", bad, 1, LIFE),
        allocate(retired, "b", 1, bad, LIFE),
        allocate(retired, "b", 1, 1, bad),
        giveBack(retired, "b", 1, bad),
        giveBack(retired, "b", bad, 1),
        retireEntry(retired, "b", bad),
        reinstateWhole(retired, "a", bad, 2, LIFE),
        reinstateWhole(retired, "a", 1, bad, LIFE),
        reinstateWhole(retired, "a", 1, 2, bad),
        reinstateUnused(retired, "a", 1, 2, bad, LIFE),
        reinstateUnused(retired, "a", 1, 2, 1, bad),
        convert(retired, "a", bad, "b", 1, 1),
        convert(retired, "a", 1, "b", bad, 1),
        convert(retired, "a", 1, "b", 1, bad),
        convert(retired, "a", 1, "b", 1, 1, bad),
        handOver(retired, "b", 1, "c", 1, bad, "s"),
        handOver(retired, "b", 1, "c", bad, 1, "s"),
        resize(retired, bad, 2),
        resize(retired, 5, bad),
        borrow(retired, "b", 1, bad),
        returnBorrowed(retired, bad),
        setLife(retired, "b", 1, bad),
      ];
      expect(new Set(changes.map(faultOf))).toEqual(new Set(["bad-number"]));
    },
  );

  test("a move of no seats is refused", () => {
    const record = shared();
    expect(faultOf(allocate(record, "a", 1, 0, LIFE))).toBe("bad-number");
    expect(faultOf(giveBack(record, "a", 1, 0))).toBe("bad-number");
    expect(faultOf(handOver(record, "a", 1, "b", 1, 0, "s"))).toBe("bad-number");
  });

  test("a retired key names its member and epoch", () => {
    for (const member of ["a", "lic-1.example", "__proto__", "odd/name/3"]) {
      expect(parseRetiredKey(retiredKey(member, 12))).toEqual({ member, epoch: 12 });
    }
    for (const key of ["a", "a/", "a/01", "a/-1", "a/1.5", "a/x", "12", "a/1e3"]) {
      expect(() => parseRetiredKey(key)).toThrow(RangeError);
    }
  });

  test("names that objects know are just names", () => {
    for (const name of ["__proto__", "constructor", "hasOwnProperty", "toString"]) {
      const fresh = newRecord(5, 1);
      expect(entryOf(fresh, name)).toBeNull();
      expect(faultOf(giveBack(fresh, name, 1, 1))).toBe("no-entry");
      const record = withNonce(done(allocate(fresh, name, 1, 2, LIFE)), name, "n");
      expect(Object.hasOwn(record.nonces, name)).toBe(true);
      expect(entryOf(record, name)?.seats).toBe(2);
      expect(isDeepStrictEqual(JSON.parse(JSON.stringify(record)), record)).toBe(true);
      const back = done(reinstateWhole(record, name, 1, 2, LIFE));
      expect(entryOf(back, name)?.epoch).toBe(2);
    }
    expect(entryOf(newRecord(1, 1), "seats")).toBeNull();
  });

  test("a record that does not conserve its seats is found", () => {
    const record = shared();
    const entry = { seats: 1, of: 2, lifeMs: LIFE };
    expect(conservationFault(record)).toBeNull();
    expect(conservationFault({ ...record, free: 1 })?.fault).toBe("conservation");
    expect(conservationFault({ ...record, free: 3, debt: 1 })?.fault).toBe("conservation");
    expect(conservationFault({ ...record, free: -2, debt: 0 })?.fault).toBe("bad-number");
    const withRetired = (key: string, of: number): AllocationRecord => ({
      ...record,
      free: 1,
      retired: { [key]: { ...entry, of } },
    });
    expect(conservationFault(withRetired("c/1", 2))).toBeNull();
    expect(conservationFault(withRetired("c/1", 0))).toBeNull();
    expect(conservationFault(withRetired("c/1", 0.5))?.fault).toBe("bad-number");
    expect(conservationFault(withRetired("c", 2))?.fault).toBe("conservation");
    const short = {
      ...withRetired("c/1", 1),
      free: 0,
      retired: { "c/1": { ...entry, seats: 2, of: 1 } },
    };
    expect(conservationFault(short)?.fault).toBe("conservation");
    const huge = { ...newRecord(Number.MAX_SAFE_INTEGER, 1), borrowed: 1, debt: 1 };
    expect(conservationFault(huge)?.fault).toBe("conservation");
  });
});
