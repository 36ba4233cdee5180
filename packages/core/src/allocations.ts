/**
 * The record of allocations of one feature: who may grant how many seats (design section 4.3).
 *
 *            allocate                retireEntry               reclaim
 *    free -------------> allocated -------------> retired ---------------> free
 *      ^                 |   ^   |                  |
 *      +-----------------+   |   | borrow           | reinstateWhole, reinstateUnused, convert
 *      |    giveBack         +---|------------------+
 *      |                         v
 *      +--------------------- borrowed
 *           returnBorrowed
 *
 * Whatever flows towards `free` pays debt first. The record is one value in the store, written by
 * compare-and-swap, so it cannot tear. Deliberately absent: time, the store, and the question who may
 * call what; the callers hold those rules.
 *
 * Every function is pure, leaves its input alone, names the epoch it means, and checks conservation
 * (I3) of what it returns. An allocated entry whose epoch is below its member's counts as retired from
 * that moment; moving it into `retired` is bookkeeping that the functions below do before they take
 * anything out of it, so that `of` says what the entry had BEFORE the first seat left it.
 *
 * Members are named by people: all reads go by own properties, so "constructor" is just a name.
 */
import { MEMBERS_MAX } from "./limits.ts";

export interface AllocationEntry {
  readonly seats: number;
  /** The member's epoch in which the entry may be granted from. */
  readonly epoch: number;
  /** The longest life that may be granted on these seats. */
  readonly lifeMs: number;
  /**
   * The first epoch whose sessions count here: earlier entries were reinstated whole, sessions and all. Their
   * clients' tokens name those epochs until their next heartbeat. Missing: `epoch`.
   */
  readonly since?: number;
  /**
   * Sessions handed over within the last life, and the `member/epoch` that has their seats. A client that did
   * not get the answer still bears a token of this entry: its seat must not be taken from here.
   */
  readonly handed?: Readonly<Record<string, string>>;
}

/** So many sessions may be handed over out of one entry within one life; it bounds the record. */
export const HANDED_MAX = 64;

export interface RetiredEntry {
  /** What is left. */
  readonly seats: number;
  /** What the entry had when it was retired; 0 once it was split by `reinstateUnused`. */
  readonly of: number;
  readonly lifeMs: number;
  /** As in the entry it was. */
  readonly since?: number;
  readonly handed?: Readonly<Record<string, string>>;
}

export interface AllocationRecord {
  /** Sequence of the license that `seats` comes from. */
  readonly sequence: number;
  /** Each member's last nonce, by which it finds out whether an unknown write was applied. */
  readonly nonces: Readonly<Record<string, string>>;
  /** Licensed seats, overdraft included. */
  readonly seats: number;
  readonly free: number;
  readonly allocated: Readonly<Record<string, AllocationEntry>>;
  /** By `retiredKey`. An entry without seats is dropped, so there is at most one for each seat. */
  readonly retired: Readonly<Record<string, RetiredEntry>>;
  readonly borrowed: number;
  /** Seats that are still out above `seats` after a smaller license. */
  readonly debt: number;
}

export interface RecordFault {
  readonly fault: "conservation" | "epoch" | "not-enough" | "no-entry" | "bad-number";
  readonly detail: string;
}

/** The record after the change, or why it was not made. */
export type RecordChange = AllocationRecord | RecordFault;

export function isFault(change: object): change is RecordFault {
  return "fault" in change;
}

/** A feature's first record: every seat is free. Throws on numbers no license can have. */
export function newRecord(seats: number, sequence: number): AllocationRecord {
  if (!isCount(seats) || !isCount(sequence)) {
    throw new RangeError(`no record for ${seats} seats at sequence ${sequence}`);
  }
  return {
    sequence,
    nonces: {},
    seats,
    free: seats,
    allocated: {},
    retired: {},
    borrowed: 0,
    debt: 0,
  };
}

/** The live entry of a member, whatever its epoch. */
export function entryOf(record: AllocationRecord, member: string): AllocationEntry | null {
  return own(record.allocated, member);
}

/** What is left of a member's entry of `epoch` in the bookkeeping of retired entries. */
export function retiredOf(
  record: AllocationRecord,
  member: string,
  epoch: number,
): RetiredEntry | null {
  return own(record.retired, retiredKey(member, epoch));
}

/**
 * The entry in which a session counts whose token names `member` and `epoch`: that one, a later one that took
 * it over whole, or the one that the session was handed over to. Null when there is none.
 */
export function sourceOf(
  record: AllocationRecord,
  member: string,
  epoch: number,
  session: string,
): { readonly member: string; readonly epoch: number } | null {
  let source: { readonly member: string; readonly epoch: number } | null = null;
  let next: { readonly member: string; readonly epoch: number } | null = { member, epoch };
  // Handed over again and again it may go on; a circle cannot be longer than the members.
  for (let step = 0; next !== null && step < MEMBERS_MAX; step += 1) {
    const found = entryFor(record, next.member, next.epoch);
    if (found === null) return step === 0 ? null : next;
    source = { member: found.member, epoch: found.epoch };
    const handed = own(found.handed, session);
    next = handed === null ? null : splitRetiredKey(handed);
  }
  return source;
}

function entryFor(
  record: AllocationRecord,
  member: string,
  epoch: number,
): { member: string; epoch: number; handed: Readonly<Record<string, string>> } | null {
  const live = entryOf(record, member);
  if (live !== null && (live.since ?? live.epoch) <= epoch && epoch <= live.epoch) {
    return { member, epoch: live.epoch, handed: live.handed ?? {} };
  }
  for (const [key, entry] of Object.entries(record.retired)) {
    const at = splitRetiredKey(key);
    if (at?.member !== member) continue;
    if ((entry.since ?? at.epoch) <= epoch && epoch <= at.epoch) {
      return { member, epoch: at.epoch, handed: entry.handed ?? {} };
    }
  }
  return null;
}

export function retiredKey(member: string, epoch: number): string {
  return `${member}/${epoch}`;
}

/** Throws on a text that `retiredKey` cannot have made. */
export function parseRetiredKey(key: string): { member: string; epoch: number } {
  const parts = splitRetiredKey(key);
  if (parts === null) throw new RangeError(`not the key of a retired entry: ${key}`);
  return parts;
}

/**
 * I3: free + allocated + retired + borrowed = seats + debt, free = 0 while debt > 0, and every number a
 * count. Null when it holds.
 */
export function conservationFault(record: AllocationRecord): RecordFault | null {
  const { sequence, seats, free, borrowed, debt } = record;
  const bad = checkCounts({ sequence, seats, free, borrowed, debt });
  if (bad !== null) return bad;
  let out = borrowed;
  for (const [member, { seats, epoch, lifeMs }] of Object.entries(record.allocated)) {
    const bad = checkCounts({ seats, epoch, lifeMs });
    if (bad !== null) return fault(bad.fault, `allocated to ${member}: ${bad.detail}`);
    out += seats;
  }
  for (const [key, { seats, of, lifeMs }] of Object.entries(record.retired)) {
    const bad = checkCounts({ seats, of, lifeMs });
    if (bad !== null) return fault(bad.fault, `retired ${key}: ${bad.detail}`);
    if (splitRetiredKey(key) === null) {
      return fault("conservation", `retired ${key} names no member and epoch`);
    }
    if (of !== 0 && of < seats) {
      return fault("conservation", `retired ${key} has ${seats} seats of ${of}`);
    }
    out += seats;
  }
  if (free + out !== seats + debt || !isCount(free + out)) {
    return fault("conservation", `${free} free and ${out} out for ${seats} seats and debt ${debt}`);
  }
  if (debt > 0 && free > 0) {
    return fault("conservation", `${free} seats are free beside a debt of ${debt}`);
  }
  return null;
}

/**
 * Moves free seats to the member's entry of exactly this epoch, and raises the life it may grant to
 * `lifeMs` at least. An entry of another epoch must be retired first.
 */
export function allocate(
  record: AllocationRecord,
  member: string,
  epoch: number,
  seats: number,
  lifeMs: number,
): RecordChange {
  const bad = checkCounts({ epoch }) ?? checkPositive({ seats, lifeMs });
  if (bad !== null) return bad;
  if (seats > record.free) {
    return fault("not-enough", `${seats} seats wanted, ${record.free} are free`);
  }
  return settled(grown({ ...record, free: record.free - seats }, member, { seats, epoch, lifeMs }));
}

/** The owner's: out of its entry, to the debt first and the rest to the free seats. */
export function giveBack(
  record: AllocationRecord,
  member: string,
  epoch: number,
  seats: number,
): RecordChange {
  const bad = checkCounts({ epoch }) ?? checkPositive({ seats });
  if (bad !== null) return bad;
  const less = shrunk(record, member, epoch, seats);
  return isFault(less) ? less : settled(freed(less, seats));
}

/**
 * Sets the member's entry of an epoch below `newEpoch` aside; without one the record stays the same.
 * An entry without seats is dropped.
 */
export function retireEntry(
  record: AllocationRecord,
  member: string,
  newEpoch: number,
): RecordChange {
  const bad = checkCounts({ newEpoch });
  if (bad !== null) return bad;
  const entry = entryOf(record, member);
  if (entry === null || entry.epoch >= newEpoch) return settled(record);
  const allocated = without(record.allocated, member);
  if (entry.seats === 0) return settled({ ...record, allocated });
  const key = retiredKey(member, entry.epoch);
  if (own(record.retired, key) !== null) {
    return fault("epoch", `${key} was retired before and is allocated again`);
  }
  const { epoch: _over, seats, ...kept } = entry;
  const aside: RetiredEntry = { seats, of: seats, ...kept };
  const retired = { ...record.retired, [key]: aside };
  return settled({ ...record, allocated, retired });
}

/**
 * A returned member takes back all of its entry of `fromEpoch`, sessions and all. Only if nothing of it
 * was ever taken: else a session could be counted at two members, or not at all (design section 4.5).
 */
export function reinstateWhole(
  record: AllocationRecord,
  member: string,
  fromEpoch: number,
  toEpoch: number,
  lifeMs: number,
): RecordChange {
  const bad = checkReinstate(fromEpoch, toEpoch) ?? checkPositive({ lifeMs });
  if (bad !== null) return bad;
  const aside = setAside(record, member, fromEpoch, toEpoch);
  if (isFault(aside)) return aside;
  const { record: before, entry } = aside;
  if (entry.of === 0 || entry.seats !== entry.of) {
    return fault(
      "not-enough",
      `${retiredKey(member, fromEpoch)} is not whole: ${entry.seats} of ${entry.of} seats are left`,
    );
  }
  return settled(
    grown(taken(before, member, fromEpoch, entry.seats), member, {
      seats: entry.seats,
      epoch: toEpoch,
      // The sessions that come along were granted up to the old life.
      lifeMs: Math.max(lifeMs, entry.lifeMs),
      since: entry.since ?? fromEpoch,
      ...(entry.handed === undefined ? {} : { handed: entry.handed }),
    }),
  );
}

/**
 * A returned member takes back what its journal proves unused of its entry of `fromEpoch`, at most what
 * is left; debt is paid first. The remainder stays retired for its clients or the wait. The proof counts
 * from `of`, so it may be used once: `of` becomes 0, and a second call is refused.
 */
export function reinstateUnused(
  record: AllocationRecord,
  member: string,
  fromEpoch: number,
  toEpoch: number,
  unused: number,
  lifeMs: number,
): RecordChange {
  const bad =
    checkReinstate(fromEpoch, toEpoch) ?? checkCounts({ unused }) ?? checkPositive({ lifeMs });
  if (bad !== null) return bad;
  const aside = setAside(record, member, fromEpoch, toEpoch);
  if (isFault(aside)) return aside;
  const { record: before, entry } = aside;
  const key = retiredKey(member, fromEpoch);
  if (entry.of === 0) return fault("not-enough", `${key} was split before`);
  if (unused > entry.of) {
    return fault("not-enough", `${unused} unused seats claimed of the ${entry.of} ${key} had`);
  }
  const split = { ...before, retired: { ...before.retired, [key]: { ...entry, of: 0 } } };
  const moved = Math.min(unused, entry.seats);
  const paid = Math.min(moved, before.debt);
  const rest = freed(taken(split, member, fromEpoch, moved), paid);
  if (moved === paid) return settled(rest);
  return settled(grown(rest, member, { seats: moved - paid, epoch: toEpoch, lifeMs }));
}

/** After the wait: all that is left of a retired entry, to the debt first and the rest to free. */
export function reclaim(record: AllocationRecord, key: string): RecordChange {
  const entry = own(record.retired, key);
  if (entry === null) return fault("no-entry", `nothing is retired as ${key}`);
  const retired = without(record.retired, key);
  return settled(freed({ ...record, retired }, entry.seats));
}

/**
 * Moves seats of a retired entry to the live entry of whoever converts a session that was granted on
 * them. `retiredAtEpoch`, the present epoch of the member they are taken from, also opens an entry that
 * is still under `allocated`. The receiver's life becomes the old entry's at least: the client may
 * believe that long, whoever dies next.
 */
export function convert(
  record: AllocationRecord,
  fromMember: string,
  fromEpoch: number,
  toMember: string,
  toEpoch: number,
  seats: number,
  retiredAtEpoch?: number,
): RecordChange {
  const bad =
    checkCounts({ fromEpoch, toEpoch, retiredAtEpoch: retiredAtEpoch ?? 0 }) ??
    checkPositive({ seats });
  if (bad !== null) return bad;
  const aside = setAside(record, fromMember, fromEpoch, retiredAtEpoch ?? 0);
  if (isFault(aside)) return aside;
  const { record: before, entry } = aside;
  if (seats > entry.seats) {
    const key = retiredKey(fromMember, fromEpoch);
    return fault("not-enough", `${seats} seats wanted, ${entry.seats} are left in ${key}`);
  }
  const less = taken(before, fromMember, fromEpoch, seats);
  return settled(grown(less, toMember, { seats, epoch: toEpoch, lifeMs: entry.lifeMs }));
}

/**
 * Moves the seats of a session from one live entry straight into another, with the life they were granted
 * for. The first entry remembers where they went; it refuses past HANDED_MAX.
 */
export function handOver(
  record: AllocationRecord,
  from: string,
  fromEpoch: number,
  to: string,
  toEpoch: number,
  seats: number,
  session: string,
): RecordChange {
  const bad = checkCounts({ fromEpoch, toEpoch }) ?? checkPositive({ seats });
  if (bad !== null) return bad;
  const less = shrunk(record, from, fromEpoch, seats);
  if (isFault(less)) return less;
  const entry = entryOf(less, from);
  if (entry === null) return fault("no-entry", `${from} has no entry`);
  if (Object.keys(entry.handed ?? {}).length >= HANDED_MAX) {
    return fault("not-enough", `${HANDED_MAX} sessions were handed over by ${from} lately`);
  }
  const handed = { ...entry.handed, [session]: retiredKey(to, toEpoch) };
  const noted = {
    ...less,
    allocated: { ...less.allocated, [from]: { ...entry, handed } },
  };
  return settled(grown(noted, to, { seats, epoch: toEpoch, lifeMs: entry.lifeMs }));
}

/** The owner's, one life after a session was handed over: its old token is believed by nobody any more. */
export function forgetHanded(
  record: AllocationRecord,
  member: string,
  epoch: number,
  sessions: readonly string[],
): RecordChange {
  const entry = liveEntry(record, member, epoch);
  if (isFault(entry)) return entry;
  const { handed: before = {}, ...rest } = entry;
  const left = Object.entries(before).filter(([session]) => !sessions.includes(session));
  const next = left.length === 0 ? rest : { ...rest, handed: Object.fromEntries(left) };
  return settled({ ...record, allocated: { ...record.allocated, [member]: next } });
}

/**
 * A newer license. More seats pay debt before they are free; fewer come out of the free ones, and what
 * is still out above them is debt. Nobody is thrown out.
 */
export function resize(record: AllocationRecord, newSeats: number, sequence: number): RecordChange {
  const bad = checkCounts({ newSeats, sequence }) ?? conservationFault(record);
  if (bad !== null) return bad;
  if (sequence <= record.sequence) {
    return fault("bad-number", `sequence ${sequence} does not follow ${record.sequence}`);
  }
  const out = record.seats + record.debt - record.free;
  return settled({
    ...record,
    sequence,
    seats: newSeats,
    free: Math.max(0, newSeats - out),
    debt: Math.max(0, out - newSeats),
  });
}

/** Out of the member's entry; the caller writes the borrowed seat's own key in the same transaction. */
export function borrow(
  record: AllocationRecord,
  member: string,
  epoch: number,
  seats: number,
): RecordChange {
  const bad = checkCounts({ epoch }) ?? checkPositive({ seats });
  if (bad !== null) return bad;
  const less = shrunk(record, member, epoch, seats);
  return isFault(less) ? less : settled({ ...less, borrowed: less.borrowed + seats });
}

export function returnBorrowed(record: AllocationRecord, seats: number): RecordChange {
  const bad = checkPositive({ seats });
  if (bad !== null) return bad;
  if (seats > record.borrowed) {
    return fault("not-enough", `${seats} seats returned, ${record.borrowed} are borrowed`);
  }
  return settled(freed({ ...record, borrowed: record.borrowed - seats }, seats));
}

/**
 * Sets the life that may be granted on the entry. Anybody may raise it; lowering is its owner's, one
 * old life after it stopped granting the old one. The caller guards that: it takes a clock.
 */
export function setLife(
  record: AllocationRecord,
  member: string,
  epoch: number,
  lifeMs: number,
): RecordChange {
  const bad = checkCounts({ epoch }) ?? checkPositive({ lifeMs });
  if (bad !== null) return bad;
  const entry = liveEntry(record, member, epoch);
  if (isFault(entry)) return entry;
  return settled({
    ...record,
    allocated: { ...record.allocated, [member]: { ...entry, lifeMs } },
  });
}

/** Leaves the other members' nonces as they are: they may still be looking for theirs. */
export function withNonce(
  record: AllocationRecord,
  member: string,
  nonce: string,
): AllocationRecord {
  return { ...record, nonces: { ...record.nonces, [member]: nonce } };
}

/** Adds to the member's entry of exactly that epoch, which is made if there is none. */
function grown(record: AllocationRecord, member: string, more: AllocationEntry): RecordChange {
  const entry = entryOf(record, member);
  if (entry !== null && entry.epoch !== more.epoch) {
    return fault("epoch", `${member} has an entry of epoch ${entry.epoch}, not ${more.epoch}`);
  }
  // A late writer must not bring an epoch back to life that was set aside.
  for (const key of Object.keys(record.retired)) {
    const retired = splitRetiredKey(key);
    if (retired?.member === member && retired.epoch >= more.epoch) {
      return fault("epoch", `${key} is retired; epoch ${more.epoch} of ${member} is over`);
    }
  }
  const since = Math.min(entry?.since ?? more.epoch, more.since ?? more.epoch);
  const handed = { ...entry?.handed, ...more.handed };
  const next: AllocationEntry = {
    seats: (entry?.seats ?? 0) + more.seats,
    epoch: more.epoch,
    lifeMs: Math.max(entry?.lifeMs ?? 0, more.lifeMs),
    ...(since < more.epoch ? { since } : {}),
    ...(Object.keys(handed).length > 0 ? { handed } : {}),
  };
  return { ...record, allocated: { ...record.allocated, [member]: next } };
}

/** Takes out of the member's live entry, which stays even without seats. */
function shrunk(
  record: AllocationRecord,
  member: string,
  epoch: number,
  seats: number,
): RecordChange {
  const entry = liveEntry(record, member, epoch);
  if (isFault(entry)) return entry;
  if (seats > entry.seats) {
    return fault("not-enough", `${seats} seats wanted, ${member} has ${entry.seats}`);
  }
  const next = { ...entry, seats: entry.seats - seats };
  return { ...record, allocated: { ...record.allocated, [member]: next } };
}

/** Takes out of a retired entry that has that many; without seats it is dropped. */
function taken(
  record: AllocationRecord,
  member: string,
  epoch: number,
  seats: number,
): AllocationRecord {
  const key = retiredKey(member, epoch);
  const entry = own(record.retired, key);
  if (entry === null || entry.seats === seats) {
    return { ...record, retired: without(record.retired, key) };
  }
  const next = { ...entry, seats: entry.seats - seats };
  return { ...record, retired: { ...record.retired, [key]: next } };
}

function freed(record: AllocationRecord, seats: number): AllocationRecord {
  const paid = Math.min(seats, record.debt);
  return { ...record, debt: record.debt - paid, free: record.free + seats - paid };
}

/** The retired entry, after the bookkeeping if it was still under `allocated`. */
function setAside(
  record: AllocationRecord,
  member: string,
  epoch: number,
  presentEpoch: number,
): { record: AllocationRecord; entry: RetiredEntry } | RecordFault {
  const live = entryOf(record, member);
  const isLate = live !== null && live.epoch === epoch;
  const next = isLate && epoch < presentEpoch ? retireEntry(record, member, presentEpoch) : record;
  if (isFault(next)) return next;
  const entry = retiredOf(next, member, epoch);
  if (entry !== null) return { record: next, entry };
  return next === record && isLate
    ? fault("epoch", `epoch ${epoch} of ${member} is not retired`)
    : fault("no-entry", `nothing is retired as ${retiredKey(member, epoch)}`);
}

function liveEntry(
  record: AllocationRecord,
  member: string,
  epoch: number,
): AllocationEntry | RecordFault {
  const entry = entryOf(record, member);
  if (entry === null) return fault("no-entry", `${member} has no entry`);
  if (entry.epoch !== epoch) {
    return fault("epoch", `${member} has an entry of epoch ${entry.epoch}, not ${epoch}`);
  }
  return entry;
}

function settled(change: RecordChange): RecordChange {
  return isFault(change) ? change : (conservationFault(change) ?? change);
}

function splitRetiredKey(key: string): { member: string; epoch: number } | null {
  const slash = key.lastIndexOf("/");
  const member = key.slice(0, Math.max(0, slash));
  const epoch = Number(key.slice(slash + 1));
  return isCount(epoch) && retiredKey(member, epoch) === key ? { member, epoch } : null;
}

function checkReinstate(fromEpoch: number, toEpoch: number): RecordFault | null {
  const bad = checkCounts({ fromEpoch, toEpoch });
  if (bad !== null) return bad;
  if (fromEpoch < toEpoch) return null;
  return fault("epoch", `epoch ${toEpoch} does not follow ${fromEpoch}`);
}

function checkCounts(numbers: Readonly<Record<string, number>>): RecordFault | null {
  for (const [name, value] of Object.entries(numbers)) {
    if (!isCount(value)) return fault("bad-number", `${name} is ${value}, which is no count`);
  }
  return null;
}

function checkPositive(numbers: Readonly<Record<string, number>>): RecordFault | null {
  for (const [name, value] of Object.entries(numbers)) {
    if (!isCount(value) || value === 0) {
      return fault("bad-number", `${name} is ${value}, and must be a whole number from 1`);
    }
  }
  return null;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function fault(fault: RecordFault["fault"], detail: string): RecordFault {
  return { fault, detail };
}

function own<T>(map: Readonly<Record<string, T>>, key: string): T | null {
  return Object.hasOwn(map, key) ? (map[key] ?? null) : null;
}

function without<T>(map: Readonly<Record<string, T>>, key: string): Record<string, T> {
  return Object.fromEntries(Object.entries(map).filter(([name]) => name !== key));
}
