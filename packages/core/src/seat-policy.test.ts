import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DONOR_KEEPS_SEATS,
  FEW_SEATS,
  firstShare,
  LOW_WATER_SEATS,
  lowWater,
  planMove,
} from "./seat-policy.ts";
import type { MoveInput } from "./seat-policy.ts";

const inputs = fc.record<MoveInput>({
  member: fc.constant("me"),
  want: fc.integer({ min: 1, max: 40 }),
  free: fc.integer({ min: 0, max: 40 }),
  reserved: fc.integer({ min: 0, max: 20 }),
  others: fc.uniqueArray(
    fc.record({
      member: fc.constantFrom("a", "b", "c", "constructor", "__proto__", "me"),
      unused: fc.integer({ min: 0, max: 60 }),
    }),
    { selector: (other) => other.member },
  ),
  background: fc.boolean(),
});

function available({ free, reserved, others }: MoveInput): number {
  const givers = others.filter((other) => other.member !== "me");
  return givers.reduce((sum, other) => sum + other.unused, Math.max(0, free - reserved));
}

function sumOf(plan: { fromFree: number; asks: readonly { seats: number }[] }): number {
  return plan.asks.reduce((sum, ask) => sum + ask.seats, plan.fromFree);
}

describe("planMove", () => {
  test("takes from the free seats first", () => {
    const plan = planMove({
      member: "me",
      want: 3,
      free: 5,
      reserved: 0,
      others: [{ member: "a", unused: 2 }],
    });
    expect(plan).toEqual({ fromFree: 3, asks: [] });
  });

  test("asks the member with most unused seats, by name among equals", () => {
    const others = [
      { member: "c", unused: 3 },
      { member: "b", unused: 4 },
      { member: "a", unused: 3 },
    ];
    const move = { member: "me", free: 0, reserved: 0, others, few: 100 };
    expect(planMove({ ...move, want: 2 })?.asks).toEqual([{ member: "b", seats: 2 }]);
    expect(planMove({ ...move, want: 6 })?.asks).toEqual([
      { member: "b", seats: 4 },
      { member: "a", seats: 2 },
    ]);
  });

  test("moves half of what is unused when there is much", () => {
    const others = [
      { member: "a", unused: 40 },
      { member: "b", unused: 10 },
    ];
    const plan = planMove({ member: "me", want: 1, free: 10, reserved: 0, others });
    expect(plan).toEqual({ fromFree: 10, asks: [{ member: "a", seats: 20 }] });
  });

  test("takes what nobody needs at once from all who have much alike", () => {
    const others = [
      { member: "a", unused: 21 },
      { member: "b", unused: 20 },
    ];
    const plan = planMove({ member: "me", want: 1, free: 0, reserved: 0, others });
    expect(plan?.asks).toEqual([
      { member: "a", seats: 11 },
      { member: "b", seats: 9 },
    ]);
  });

  test("empties a member for a request, and no further member for comfort", () => {
    const others = [
      { member: "a", unused: 6 },
      { member: "b", unused: 5 },
      { member: "c", unused: 5 },
    ];
    const move = { member: "me", free: 0, reserved: 0, others };
    expect(planMove({ ...move, want: 6 })?.asks).toEqual([
      { member: "a", seats: 6 },
      { member: "b", seats: 1 },
      { member: "c", seats: 1 },
    ]);
    expect(planMove({ ...move, want: 1 })?.asks).toEqual([
      { member: "a", seats: 2 },
      { member: "b", seats: 1 },
      { member: "c", seats: 1 },
    ]);
  });

  test("in the background takes nothing of the last seats of a member", () => {
    const others = [{ member: "a", unused: DONOR_KEEPS_SEATS + 1 }];
    const move = { member: "me", free: 0, reserved: 0, others, background: true };
    expect(planMove({ ...move, want: 1 })?.asks).toEqual([{ member: "a", seats: 1 }]);
    expect(planMove({ ...move, want: 2 })).toBeNull();
  });

  test("leaves seats that are promised to others", () => {
    const move = { member: "me", want: 2, others: [] };
    expect(planMove({ ...move, free: 3, reserved: 2 })).toBeNull();
    expect(planMove({ ...move, free: 3, reserved: 1 })).toEqual({ fromFree: 2, asks: [] });
    expect(planMove({ ...move, free: 1, reserved: 5 })).toBeNull();
  });

  test.each([0, -1, 0.5, Number.NaN])("plans nothing for %d seats", (want) => {
    expect(planMove({ member: "me", want, free: 9, reserved: 0, others: [] })).toBeNull();
  });

  test("never takes more than there is and always covers what is wanted", () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const plan = planMove(input);
        if (plan === null) {
          if (input.background !== true) expect(available(input)).toBeLessThan(input.want);
          return;
        }
        expect(sumOf(plan)).toBeGreaterThanOrEqual(input.want);
        expect(plan.fromFree).toBeLessThanOrEqual(Math.max(0, input.free - input.reserved));
        expect(new Set(plan.asks.map((ask) => ask.member)).size).toBe(plan.asks.length);
        for (const ask of plan.asks) {
          const donor = input.others.find((other) => other.member === ask.member);
          expect(ask.member).not.toBe("me");
          expect(ask.seats).toBeGreaterThan(0);
          expect(ask.seats).toBeLessThanOrEqual(donor?.unused ?? 0);
        }
      }),
    );
  });

  test("moves at most half of what is unused, or what is wanted; exactly that when few are left", () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const plan = planMove(input);
        if (plan === null) return;
        const unused = available(input);
        expect(sumOf(plan)).toBeLessThanOrEqual(Math.max(input.want, Math.floor(unused / 2)));
        if (unused <= FEW_SEATS) expect(sumOf(plan)).toBe(input.want);
      }),
    );
  });

  test("gives the whole half when the donors can spare it", () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const plan = planMove(input);
        if (plan === null || available(input) <= FEW_SEATS) return;
        const target = Math.max(input.want, Math.floor(available(input) / 2));
        const left = input.others
          .filter((other) => other.member !== "me")
          .map(({ member, unused }) => {
            return unused - (plan.asks.find((ask) => ask.member === member)?.seats ?? 0);
          });
        if (sumOf(plan) < target)
          expect(Math.max(0, ...left)).toBeLessThanOrEqual(DONOR_KEEPS_SEATS);
      }),
    );
  });

  test("does not depend on the order in which members reported", () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const turned = { ...input, others: input.others.toReversed() };
        expect(planMove(turned)).toEqual(planMove(input));
      }),
    );
  });

  test("a move in the background brings no donor to its own low water", () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const plan = planMove({ ...input, background: true });
        for (const ask of plan?.asks ?? []) {
          const donor = input.others.find((other) => other.member === ask.member);
          expect(lowWater((donor?.unused ?? 0) - ask.seats, 1_000)).toBe(false);
        }
      }),
    );
  });
});

describe("lowWater", () => {
  test("is an absolute count of unused seats, whatever the number of seats", () => {
    for (const seats of [FEW_SEATS + 1, 100, 1_000_000]) {
      expect(lowWater(LOW_WATER_SEATS, seats)).toBe(true);
      expect(lowWater(LOW_WATER_SEATS + 1, seats)).toBe(false);
    }
  });

  test("never asks for a feature of few seats", () => {
    expect(lowWater(0, FEW_SEATS)).toBe(false);
  });
});

describe("firstShare", () => {
  const names = fc.constantFrom("a", "b", "c", "d", "constructor", "__proto__");

  test("is even over the licensed size, whoever lives, and leaves the rest free", () => {
    expect(firstShare("a", { seats: 11, free: 11, size: 3 })).toBe(3);
    expect(firstShare("c", { seats: 11, free: 5, size: 3 })).toBe(3);
    expect(firstShare("a", { seats: 2, free: 2, size: 3 })).toBe(0);
  });

  test("follows the license, as far as free seats go", () => {
    const spread = { c: 4, a: 5, gone: 9 };
    expect(firstShare("a", { seats: 10, free: 10, size: 3, spread })).toBe(5);
    expect(firstShare("c", { seats: 10, free: 1, size: 3, spread })).toBe(1);
    expect(firstShare("new", { seats: 10, free: 10, size: 3, spread })).toBe(0);
  });

  test("takes no share from what objects inherit or from numbers no license may have", () => {
    const spread = { a: -1, b: 1.5, c: 2 };
    for (const member of ["a", "b", "constructor", "__proto__"]) {
      expect(firstShare(member, { seats: 10, free: 10, size: 3, spread })).toBe(0);
    }
  });

  test("gives every member of the licensed size its share, in whatever order they come", () => {
    fc.assert(
      fc.property(
        fc.nat(60),
        fc.uniqueArray(names, { minLength: 1 }),
        fc.nat(3),
        (seats, members, absent) => {
          const size = members.length + absent;
          let free = seats;
          for (const member of members) {
            const share = firstShare(member, { seats, free, size });
            expect(share).toBe(Math.floor(seats / size));
            free -= share;
          }
          expect(free).toBeGreaterThanOrEqual(0);
        },
      ),
    );
  });

  test("never gives out more than is free, nor more than the license says", () => {
    const spread = fc.option(fc.dictionary(names, fc.nat(50)), { nil: undefined });
    fc.assert(
      fc.property(
        fc.nat(60),
        fc.nat(60),
        fc.nat(9),
        names,
        spread,
        (seats, free, size, ...rest) => {
          const [member, spread] = rest;
          const share = firstShare(member, { seats, free, size, spread });
          expect(share).toBeGreaterThanOrEqual(0);
          expect(share).toBeLessThanOrEqual(free);
          const own = Object.hasOwn(spread ?? {}, member) ? (spread?.[member] ?? 0) : 0;
          if (spread !== undefined) expect(share).toBeLessThanOrEqual(own);
        },
      ),
    );
  });
});
