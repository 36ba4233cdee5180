/**
 * One member's ledger of authorizations: what it granted, and which of its seats count as used.
 *
 *   granting --synced--> active --heartbeat--> active
 *      |                   |  \--revoke--> revoked --life over--> (ended)
 *      |                   +--released, expired, handed over----> (ended, seats may stay held)
 *      +--mandate gone---> (ended: nobody was told)
 *
 * Seats are counted in accounts, one for each epoch and feature, so that a whole epoch is adopted in one
 * step when its entry is reinstated. Costs per call do not grow with the number of sessions. Deliberately
 * absent: the record of allocations (the limit is passed in), journal, clock.
 */
import { TOMBSTONES_MAX } from "./limits.ts";
import { serverLifeMs } from "./timing.ts";

export interface LedgerHolder {
  readonly user: string;
  readonly host: string;
  readonly process?: string;
}

export type SessionState = "granting" | "active" | "revoked" | "moving";

/** Seats of one feature used in one epoch of this member. Held seats are part of `used`. */
export interface Account {
  readonly feature: string;
  epoch: number;
  used: number;
  /** The longest life granted in it. */
  longestLifeMs: number;
  /** Set when this account was adopted by a later epoch's. */
  adoptedBy: Account | null;
}

export interface Session {
  readonly session: string;
  /** Highest number of the client's messages seen; -1 before the first numbered one. */
  n: number;
  readonly feature: string;
  version: string | null;
  readonly seats: number;
  holder: LedgerHolder;
  lifeMs: number;
  state: SessionState;
  account: Account;
  grantedAtMs: number;
  /** Monotonic. Infinity while the member waits at its start. */
  expiresAtMs: number;
  /** Monotonic; the seats stay used till then even if the session ends earlier. 0: not held. */
  heldUntilMs: number;
  convertedFrom: string | null;
  /** Epoch that the client's token names. */
  tokenEpoch: number;
}

export interface NewSession {
  readonly session: string;
  readonly n: number;
  readonly feature: string;
  readonly version: string | null;
  readonly seats: number;
  readonly holder: LedgerHolder;
  readonly lifeMs: number;
  readonly grantedAtMs: number;
  readonly convertedFrom: string | null;
  readonly holdMs: number;
}

export type NumberVerdict = "newer" | "repeated" | "released";

interface Hold {
  readonly session: string;
  readonly account: Account;
  readonly seats: number;
  untilMs: number;
  /** Set while it is not known whether the epoch is over: until when the hold lasts if it is not. */
  otherwiseUntilMs: number | null;
}

const EXPIRY_BUCKET_MS = 250;
/** Sessions looked at in one call of `due`: a few milliseconds of work, and 100,000 a second at five calls. */
const LOOKS_MAX = 20_000;

export class Ledger {
  readonly sessions = new Map<string, Session>();
  private readonly accounts = new Map<string, Map<number, Account>>();
  private readonly holds = new Set<Hold>();
  private readonly tombstones = new Map<string, { n: number; untilMs: number }>();
  /**
   * Goes through the tombstones as they are dropped. One begun anew for each would step over all that were dropped
   * before, which a map keeps places for: that cost more than the whole rest of a release. It must not grow old
   * either, because it keeps the map's past alive.
   */
  private oldest: Iterator<string> | null = null;
  /** Sessions by the time at which they must be looked at next; a heartbeat does not touch it. */
  private readonly buckets = new Map<number, string[]>();
  private nextBucket = 0;

  /** The account in which an epoch's seats of a feature count, after adoptions. */
  account(feature: string, epoch: number): Account {
    let epochs = this.accounts.get(feature);
    if (epochs === undefined) {
      epochs = new Map();
      this.accounts.set(feature, epochs);
    }
    let account = epochs.get(epoch);
    if (account === undefined) {
      account = { feature, epoch, used: 0, longestLifeMs: 0, adoptedBy: null };
      epochs.set(epoch, account);
    }
    return rootOf(account);
  }

  /** Accounts of epochs before `epoch` that still count something, oldest first. */
  olderAccounts(feature: string, epoch: number): Account[] {
    const epochs = this.accounts.get(feature);
    if (epochs === undefined) return [];
    return [...epochs.values()]
      .filter((each) => each.adoptedBy === null && each.epoch < epoch && each.used > 0)
      .sort((a, b) => a.epoch - b.epoch);
  }

  accountOf(session: Session): Account {
    const account = rootOf(session.account);
    session.account = account;
    return account;
  }

  /** Adds a session whose seats count from now on. The caller has checked that there is room. */
  begin(wanted: NewSession, epoch: number, nowMs: number): Session {
    const account = this.account(wanted.feature, epoch);
    const session: Session = {
      session: wanted.session,
      n: wanted.n,
      feature: wanted.feature,
      version: wanted.version,
      seats: wanted.seats,
      holder: wanted.holder,
      lifeMs: wanted.lifeMs,
      state: "granting",
      account,
      grantedAtMs: wanted.grantedAtMs,
      expiresAtMs: nowMs + serverLifeMs(wanted.lifeMs),
      heldUntilMs: wanted.holdMs > 0 ? nowMs + wanted.holdMs : 0,
      convertedFrom: wanted.convertedFrom,
      tokenEpoch: epoch,
    };
    this.sessions.set(session.session, session);
    account.used += session.seats;
    account.longestLifeMs = Math.max(account.longestLifeMs, session.lifeMs);
    this.tombstones.delete(session.session);
    this.lookAgain(session.session, session.expiresAtMs);
    return session;
  }

  /** Puts back what the journal knows. Expiry and holds count from `activate`. */
  restore(known: NewSession & { readonly epoch: number }, revoked: boolean): void {
    const session = this.begin(known, known.epoch, 0);
    session.state = revoked ? "revoked" : "active";
    session.expiresAtMs = Number.POSITIVE_INFINITY;
    session.heldUntilMs = known.holdMs > 0 ? Number.POSITIVE_INFINITY : 0;
    this.restoredSessions.set(session, known.holdMs);
  }

  /** A session may have several holds: each counts until its own end. */
  restoreHold(hold: {
    readonly session: string;
    readonly feature: string;
    readonly seats: number;
    readonly epoch: number;
    readonly holdMs: number;
  }): void {
    const account = this.account(hold.feature, hold.epoch);
    account.used += hold.seats;
    account.longestLifeMs = Math.max(account.longestLifeMs, hold.holdMs);
    const { session, seats } = hold;
    const untilMs = Number.POSITIVE_INFINITY;
    const restored: Hold = { session, account, seats, untilMs, otherwiseUntilMs: null };
    this.holds.add(restored);
    this.restoredHolds.set(restored, hold.holdMs);
  }

  restoreTombstone(session: string, n: number, untilMs: number): void {
    // A later grant of the same session has overtaken the release.
    if (this.sessions.has(session)) return;
    this.tombstones.set(session, { n, untilMs });
  }

  private readonly restoredHolds = new Map<Hold, number>();
  private readonly restoredSessions = new Map<Session, number>();

  /**
   * The wait of the start is over: lives and holds of restored sessions begin now. `longestLifeMs` is the
   * longest life that may have been granted of a feature: renewals are not journaled, and a later license may
   * have given them a longer life than the journal says.
   */
  activate(nowMs: number, longestLifeMs: (feature: string) => number): void {
    for (const [hold, holdMs] of this.restoredHolds) hold.untilMs = nowMs + holdMs;
    for (const [session, holdMs] of this.restoredSessions) {
      if (this.sessions.get(session.session) !== session) continue;
      session.lifeMs = Math.max(session.lifeMs, longestLifeMs(session.feature));
      const account = this.accountOf(session);
      account.longestLifeMs = Math.max(account.longestLifeMs, session.lifeMs);
      session.expiresAtMs = nowMs + serverLifeMs(session.lifeMs);
      session.heldUntilMs = holdMs > 0 ? nowMs + holdMs : 0;
      this.lookAgain(session.session, session.expiresAtMs);
    }
    this.restoredHolds.clear();
    this.restoredSessions.clear();
  }

  /**
   * Whether a message numbered `n` is newer than all seen of the session. Without a number it counts as
   * the newest. A lower number after a release is a late message.
   */
  numberVerdict(sessionId: string, n: number | undefined): NumberVerdict {
    const tombstone = this.tombstones.get(sessionId);
    if (tombstone !== undefined) {
      return n === undefined || n > tombstone.n ? "newer" : "released";
    }
    const session = this.sessions.get(sessionId);
    if (session === undefined || n === undefined) return "newer";
    return n > session.n ? "newer" : "repeated";
  }

  /** The hot path: one map look-up by the caller, a few writes here. */
  renew(session: Session, n: number | undefined, lifeMs: number, nowMs: number): void {
    if (n !== undefined && n > session.n) session.n = n;
    if (lifeMs !== session.lifeMs) {
      session.lifeMs = lifeMs;
      const account = this.accountOf(session);
      account.longestLifeMs = Math.max(account.longestLifeMs, lifeMs);
    }
    // Never sooner than before: if a license made the life shorter and this answer is lost, the client goes
    // on believing in the longer one.
    session.expiresAtMs = Math.max(session.expiresAtMs, nowMs + serverLifeMs(session.lifeMs));
  }

  /** Moves a session's seats to the present epoch's account; the caller has checked that there is room. */
  moveToEpoch(session: Session, epoch: number, holdMs: number, nowMs: number): void {
    if (this.sessions.get(session.session) !== session) {
      throw new Error(`session ${session.session} has ended and cannot be moved`);
    }
    const from = this.accountOf(session);
    const to = this.account(session.feature, epoch);
    if (from !== to) {
      from.used -= session.seats;
      to.used += session.seats;
      to.longestLifeMs = Math.max(to.longestLifeMs, session.lifeMs);
      session.account = to;
    }
    session.tokenEpoch = epoch;
    session.heldUntilMs = holdMs > 0 ? nowMs + holdMs : 0;
  }

  /**
   * Ends a session. Its seats are free at once unless they are held: then they stay used, and the returned
   * number says for how long.
   *
   * Seats of an epoch that is over are held for one longest life. The session may have been converted
   * elsewhere, and then its seat has left the retired entry already: counted as unused too, it would be
   * taken a second time from a session of that entry that ends later. A member that could not renew its lease
   * lately does not know whether its epoch is over (`lateRenewal`): then too, until it does know.
   */
  end(session: Session, nowMs: number, presentEpoch: number, lateRenewal = false): number {
    if (this.sessions.get(session.session) !== session) return 0;
    this.sessions.delete(session.session);
    const account = this.accountOf(session);
    const otherwiseUntilMs = session.heldUntilMs;
    if (account.epoch < presentEpoch || lateRenewal) {
      const heldMs = serverLifeMs(account.longestLifeMs);
      session.heldUntilMs = Math.max(session.heldUntilMs, nowMs + heldMs);
    }
    if (session.heldUntilMs <= nowMs) {
      account.used -= session.seats;
      return 0;
    }
    const { seats, heldUntilMs: untilMs } = session;
    const unsure = lateRenewal && account.epoch >= presentEpoch;
    const hold: Hold = {
      session: session.session,
      account,
      seats,
      untilMs,
      otherwiseUntilMs: unsure ? otherwiseUntilMs : null,
    };
    this.holds.add(hold);
    // Ended before the wait of the start was over: the hold begins with the others.
    if (!Number.isFinite(untilMs)) {
      this.restoredHolds.set(hold, serverLifeMs(account.longestLifeMs));
    }
    const remainingMs = session.heldUntilMs - nowMs;
    return Number.isFinite(remainingMs) ? remainingMs : serverLifeMs(session.lifeMs);
  }

  /** Remembers a release for one life, so that a late message of the session does nothing. */
  bury(sessionId: string, n: number | undefined, lifeMs: number, nowMs: number): void {
    const earlier = this.tombstones.get(sessionId);
    const before = earlier?.n ?? -1;
    const session = this.sessions.get(sessionId);
    const known = session?.n ?? -1;
    // Put in anew, so that they stay in the order of their ends.
    if (earlier !== undefined) this.tombstones.delete(sessionId);
    // The text that is kept already, not a second one of the same id.
    this.tombstones.set(session?.session ?? sessionId, {
      n: Math.max(before, known, n ?? Math.max(before, known)),
      untilMs: nowMs + serverLifeMs(lifeMs),
    });
    if (this.tombstones.size > TOMBSTONES_MAX) this.dropOldestTombstone();
  }

  /** What the iterator has passed was dropped, and what is put in comes after it: what it finds is the oldest. */
  private dropOldestTombstone(): void {
    this.oldest ??= this.tombstones.keys();
    const oldest = this.oldest.next();
    if (oldest.done === true) this.oldest = null;
    else this.tombstones.delete(oldest.value);
  }

  isBuried(sessionId: string): boolean {
    return this.tombstones.has(sessionId);
  }

  /** All of an older account counts in the present epoch from now on. */
  adopt(from: Account, toEpoch: number): void {
    const to = this.account(from.feature, toEpoch);
    if (to === from) return;
    to.used += from.used;
    to.longestLifeMs = Math.max(to.longestLifeMs, from.longestLifeMs);
    from.used = 0;
    from.adoptedBy = to;
  }

  /**
   * Sessions whose life is over, at most `most`; the caller ends and journals them. Sessions that were
   * renewed since are put further on: each is looked at about once a life.
   */
  due(nowMs: number, most: number): Session[] {
    const over: Session[] = [];
    const last = Math.floor(nowMs / EXPIRY_BUCKET_MS);
    if (this.nextBucket === 0 || this.buckets.size === 0) this.nextBucket = this.firstBucket(last);
    let looks = LOOKS_MAX;
    while (this.nextBucket < last) {
      const bucket = this.buckets.get(this.nextBucket) ?? [];
      for (let id = bucket.pop(); id !== undefined; id = bucket.pop()) {
        const session = this.sessions.get(id);
        if (session !== undefined && session.expiresAtMs <= nowMs) over.push(session);
        else if (session !== undefined) this.lookAgain(id, session.expiresAtMs);
        looks -= 1;
        if (looks === 0 || over.length === most) return over;
      }
      this.buckets.delete(this.nextBucket);
      this.nextBucket += 1;
    }
    return over;
  }

  /** The lease was renewed in this epoch: it was not over, and what was held in case it was is let go. */
  epochGoesOn(epoch: number): void {
    for (const hold of this.holds) {
      if (hold.otherwiseUntilMs === null || rootOf(hold.account).epoch !== epoch) continue;
      hold.untilMs = hold.otherwiseUntilMs;
      hold.otherwiseUntilMs = null;
    }
  }

  /** Holds that are over by now; their seats are free. Returns the sessions that have none left. */
  endHolds(nowMs: number): string[] {
    const ended = new Set<string>();
    for (const hold of this.holds) {
      if (hold.untilMs > nowMs) continue;
      rootOf(hold.account).used -= hold.seats;
      this.holds.delete(hold);
      ended.add(hold.session);
    }
    if (ended.size > 0) for (const hold of this.holds) ended.delete(hold.session);
    this.oldest = null;
    for (const [session, tombstone] of this.tombstones) {
      if (tombstone.untilMs > nowMs) break;
      this.tombstones.delete(session);
    }
    return [...ended];
  }

  /**
   * The held seats of a session go back to it: they are held for no other. Returns how long they are still
   * held, or null when none are held in this epoch; the caller enters the session in the same step.
   */
  takeHold(
    sessionId: string,
    feature: string,
    epoch: number,
    seats: number,
    nowMs: number,
  ): number | null {
    const account = this.account(feature, epoch);
    for (const hold of this.holds) {
      if (hold.session !== sessionId || rootOf(hold.account) !== account) continue;
      if (hold.seats !== seats || hold.untilMs <= nowMs) continue;
      this.holds.delete(hold);
      account.used -= seats;
      return hold.untilMs - nowMs;
    }
    return null;
  }

  holdCount(): number {
    return this.holds.size;
  }

  /** For a session whose end was put off: it is looked at again when its time comes. */
  renewLook(session: Session): void {
    this.lookAgain(session.session, session.expiresAtMs);
  }

  private lookAgain(session: string, atMs: number): void {
    if (!Number.isFinite(atMs)) return;
    const number = Math.max(Math.floor(atMs / EXPIRY_BUCKET_MS), this.nextBucket + 1);
    const bucket = this.buckets.get(number);
    if (bucket === undefined) this.buckets.set(number, [session]);
    else bucket.push(session);
  }

  private firstBucket(last: number): number {
    let first = last;
    for (const number of this.buckets.keys()) first = Math.min(first, number);
    return first;
  }
}

function rootOf(account: Account): Account {
  let root = account;
  while (root.adoptedBy !== null) root = root.adoptedBy;
  return root;
}
