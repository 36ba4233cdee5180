/**
 * How the leader moves unused seats between members (design section 4.3).
 *
 * Deliberately absent: any quotient of seats in use to seats in total. A move is triggered by a
 * request that found no seat, or by an absolute count of unused seats, and sized by absolute counts of
 * unused seats.
 *
 * Hysteresis: a member asks in the background at LOW_WATER_SEATS, and what is taken from a member beyond
 * what somebody needs at once leaves it DONOR_KEEPS_SEATS. The gap between the two keeps seats from
 * swinging: no such move makes its donor ask.
 */
export interface MemberUnused {
  readonly member: string;
  /** Unused, unreserved and not held, as the member last reported. */
  readonly unused: number;
}

export interface MovePlan {
  readonly fromFree: number;
  /** Whom to ask for how many, the one with most unused seats first. */
  readonly asks: readonly { readonly member: string; readonly seats: number }[];
}

/** With no more unused seats than this in the whole pool, only what is needed moves. */
export const FEW_SEATS = 8;
/** A member with no more unused seats than this asks the leader before a user has to. */
export const LOW_WATER_SEATS = 2;
/** What a member keeps of its unused seats unless a request needs them at once. */
export const DONOR_KEEPS_SEATS = 4;

export interface MoveInput {
  readonly member: string;
  /** Seats that the member needs; from 1. */
  readonly want: number;
  readonly free: number;
  /** Free seats that are promised to waiting requests. */
  readonly reserved: number;
  readonly others: readonly MemberUnused[];
  readonly few?: number;
  /** Nobody waits for these seats: donors keep DONOR_KEEPS_SEATS of theirs. */
  readonly background?: boolean;
}

/**
 * From where `want` seats come, and as many more that the member gets half of what the pool has unused,
 * so that a busy member asks rarely. Null when the pool does not have `want`, or `want` is no whole
 * number from 1. Same input, same plan.
 */
export function planMove(input: MoveInput): MovePlan | null {
  const { member, want, few = FEW_SEATS, background = false } = input;
  if (!Number.isSafeInteger(want) || want < 1) return null;
  const free = Math.max(0, input.free - input.reserved);
  const donors = input.others
    .filter((other) => other.member !== member && other.unused > 0)
    .map((other) => ({ member: other.member, left: other.unused, seats: 0 }))
    .sort((a, b) => b.left - a.left || (a.member < b.member ? -1 : 1));
  const unused = donors.reduce((sum, donor) => sum + donor.left, free);
  const keep = background ? DONOR_KEEPS_SEATS : 0;

  let missing = want - Math.min(want, free);
  // From the fewest members that can give it: every further call is one more that can fail.
  for (const donor of donors) {
    const given = Math.min(missing, Math.max(0, donor.left - keep));
    take(donor, given);
    missing -= given;
  }
  if (missing > 0) return null;

  const target = unused <= few ? want : Math.max(want, Math.floor(unused / 2));
  const fromFree = Math.min(target, free);
  const already = donors.reduce((sum, donor) => sum + donor.seats, fromFree);
  level(donors, target - already);
  const asks = donors.filter((donor) => donor.seats > 0);
  return { fromFree, asks: asks.map(({ member, seats }) => ({ member, seats })) };
}

export interface FirstShareInput {
  /** Licensed seats, overdraft included. */
  readonly seats: number;
  readonly free: number;
  /** Members that the license names as the pool's size; from 1. */
  readonly size: number;
  /** What the license says of each member, if it does. */
  readonly spread?: Readonly<Record<string, number>> | undefined;
}

/**
 * What a live member without an entry gets of the free seats (design section 4.3): as the license says,
 * else an even share of the licensed size, as far as free seats go. Not of the members that happen to live:
 * those come up one by one, the first would take all, and who comes later would find its share in use. The
 * rest stays free.
 */
export function firstShare(member: string, input: FirstShareInput): number {
  const { seats, free, size, spread } = input;
  const share =
    spread === undefined ? Math.floor(seats / Math.max(1, size)) : licensedShare(spread, member);
  return Math.max(0, Math.min(share, free));
}

/**
 * Whether a member asks the leader in the background, by its count of unused seats alone. Never for a
 * feature of few seats: those move when a user needs one.
 */
export function lowWater(unused: number, seats: number): boolean {
  return unused <= LOW_WATER_SEATS && seats > FEW_SEATS;
}

interface Donor {
  readonly member: string;
  left: number;
  seats: number;
}

/** Takes up to `extra` from whoever has most left, so that nobody is emptied for another's comfort. */
function level(donors: readonly Donor[], extra: number): void {
  // Bisects the line above which everything is taken; then single seats, from the first in order.
  let line = DONOR_KEEPS_SEATS;
  let high = Math.max(line, ...donors.map((donor) => donor.left));
  const above = (line: number): number =>
    donors.reduce((sum, donor) => sum + Math.max(0, donor.left - line), 0);
  while (line < high) {
    const middle = Math.floor((line + high) / 2);
    if (above(middle) <= extra) high = middle;
    else line = middle + 1;
  }
  let missing = extra - Math.min(extra, above(line));
  for (const donor of donors) {
    const single = missing > 0 && line > DONOR_KEEPS_SEATS && donor.left >= line ? 1 : 0;
    missing -= single;
    take(donor, Math.max(0, donor.left - line) + single);
  }
}

function take(donor: Donor, seats: number): void {
  donor.left -= seats;
  donor.seats += seats;
}

function licensedShare(spread: Readonly<Record<string, number>>, member: string): number {
  const share = Object.hasOwn(spread, member) ? (spread[member] ?? 0) : 0;
  return Number.isSafeInteger(share) && share > 0 ? share : 0;
}
