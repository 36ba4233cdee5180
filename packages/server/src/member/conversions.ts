/**
 * Heartbeats of sessions that this member never granted, turned into grants (design section 4.4).
 *
 *   hand-over (its member lives) -> own unused seat -> free seat -> a retired seat of its own member and
 *   epoch, after `confirm` -> an unused seat of another member
 *
 * A retired seat moves only for a client that is there and still believes: the leader answers `confirm` with
 * a single-use nonce after it saw the retirement, and the client repeats with it. The session is journaled
 * BEFORE the record is written, and answered when the write is settled.
 */
import {
  type AllocationEntry,
  CONFIRM_NONCE_MS,
  convert,
  epochIsOver,
  isFault,
  isRefusal,
  LIFE_MS_DEFAULT,
  refuse,
  type Refusal,
  retiredOf,
  entryOf,
  serverLifeMs,
  sourceOf,
  type Session,
  type AllocationRecord,
  retireEntry,
} from "@quorate/core";
import type { Holder } from "@quorate/protocol";
import type { MemberContext } from "./context.ts";
import { ConversionGate } from "./conversion-gate.ts";
import { allocationKeyOf, memberKeyOf, LEADER_KEY } from "./keys.ts";
import type { Leader } from "./leader.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import { isUnreached } from "./peer-calls.ts";
import type { PoolView } from "./pool-view.ts";
import { RELEASED_MEANWHILE, type Seats } from "./seats.ts";

/** What a converted heartbeat asks for, and where its seats are counted now. */
export interface Conversion {
  readonly session: string;
  readonly n: number | undefined;
  readonly feature: string;
  readonly version: string | null;
  readonly seats: number;
  readonly holder: Holder;
  readonly confirm: string | undefined;
  /** Member and epoch of the authorization that the client holds. */
  readonly member: string;
  readonly epoch: number;
}

interface Batched {
  readonly conversion: Conversion;
  readonly session: Session;
  /** The older epoch of a session that this member knows from its journal; null for a new one. */
  readonly olderEpoch: number | null;
  readonly done: (answer: Session | Refusal) => void;
}

interface HandOverOrder {
  readonly session: string;
  readonly n: number | null;
  readonly seats: number;
  readonly feature: string;
  readonly term: number;
  readonly memberEpoch: number;
}

interface FreeWant {
  readonly seats: number;
  readonly done: (moved: boolean) => void;
}

/** Sessions whose seats come out of the same entry. */
interface Part {
  readonly source: Pick<Conversion, "member" | "epoch">;
  readonly batched: Batched[];
}

const BUSY = refuse("busy", "the session is being granted; try again", { retryAfterMs: 50 });
/** A client that waits for a retirement comes back at least this often: whoever notices first may do it. */
const RETRY_MS_MAX = 1_000;
const NONCES_MAX = 100_000;
const ORDERS_MAX = 4;
const ANSWERS_A_TURN = 16;
/** Moved by one write: a few milliseconds of work for the event loop. */
const BATCH_MAX = 500;
/** A write costs this member, its journal and the store as much as dozens of conversions: they gather for it. */
const WRITE_EVERY_MS = 20;

export class Conversions {
  private readonly nonces = new Map<string, { nonce: string; from: string; untilMs: number }>();
  private readonly batches = new Map<string, Batched[]>();
  private readonly writing = new Set<string>();
  private readonly freeWants = new Map<string, FreeWant[]>();
  private readonly freeing = new Set<string>();
  /** Hand-overs ordered and not answered, by member. */
  private readonly orders = new Map<string, number>();
  private readonly gate = new ConversionGate();

  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  private readonly seats: Seats;
  private readonly leader: Leader;
  private readonly view: PoolView;
  constructor(
    member: MemberContext,
    lease: LeaseKeeper,
    seats: Seats,
    leader: Leader,
    view: PoolView,
  ) {
    this.member = member;
    this.lease = lease;
    this.seats = seats;
    this.leader = leader;
    this.view = view;
  }

  /** Null, or when to come back: asked before a token is looked at. Whoever does confirm is let in. */
  tooMany(
    request: { readonly session: string; readonly confirm?: string; readonly feature?: string },
    underWay: number,
  ): Refusal | null {
    const { session, confirm, feature } = request;
    if (confirm !== undefined && this.nonces.get(session)?.nonce === confirm) return null;
    const nowMs = this.member.nowMs();
    this.forgetNonces(nowMs);
    const lifeMs = feature === undefined ? LIFE_MS_DEFAULT : this.seats.lifeMs(feature);
    const random = this.member.ports.runtime.random();
    const waitMs = this.gate.waitMs(session, this.nonces.size + underWay, lifeMs, nowMs, random);
    if (waitMs === null) return null;
    return refuse("busy", "this server takes over many sessions at the moment; come back", {
      retryAfterMs: waitMs,
    });
  }

  /** One that was let in has its answer, whatever that is: what the speed is measured by. */
  answered(): void {
    this.gate.settled(1, this.member.nowMs());
  }

  /** The session, active at this member, or why not. `known` is its entry from an older epoch, if any. */
  async convert(asked: Conversion, known: Session | null): Promise<Session | Refusal> {
    const conversion = this.traced(asked);
    const refusal = this.lease.refusal();
    if (refusal !== null) return refusal;
    if (this.view.isRevoked(conversion.session)) {
      return this.view.revokedRefusal(conversion.session);
    }
    if (known !== null && this.isUnsplit(known)) {
      // Until then the journal must go on counting the session in its old entry, wherever its seat is now.
      void this.seats.reinstate().catch((error: unknown) => this.member.crash(error));
      return refuse("busy", "this server is taking its seats back", { retryAfterMs: 100 });
    }
    if (known === null && this.lease.leads() && conversion.member !== this.member.id) {
      const handed = await this.askHandOver(conversion);
      if (handed !== null) return handed;
    }
    const simple = await this.fromUnused(conversion, known);
    if (simple !== null) return simple;
    if (this.lease.leads() && this.seats.growthRefusal(conversion.feature) === null) {
      if (await this.freeSeats(conversion.feature, conversion.seats)) {
        const freed = await this.fromUnused(conversion, known);
        if (freed !== null) return freed;
      }
    }
    return this.fromRetired(conversion, known);
  }

  /** Where the session counts now: a whole entry takes its sessions along, a hand-over moves one. */
  private traced(asked: Conversion): Conversion {
    const record = this.member.record(asked.feature)?.value;
    if (record === undefined) return asked;
    const source = sourceOf(record, asked.member, asked.epoch, asked.session);
    return source === null ? asked : { ...asked, member: source.member, epoch: source.epoch };
  }

  // ---- own and free seats ---------------------------------------------------------------------------

  private async fromUnused(
    conversion: Conversion,
    known: Session | null,
  ): Promise<Session | Refusal | null> {
    const { feature, seats } = conversion;
    if (known === null) {
      const resumed = await this.fromHold(conversion);
      if (resumed !== null) return resumed;
    }
    if (this.seats.unused(feature) < seats) return null;
    if (this.seats.growthRefusal(feature) !== null) return null;
    if (known !== null) return this.bringForward(conversion, known);
    const session = this.begin(conversion, 0, Number.POSITIVE_INFINITY);
    if (isRefusal(session)) return session;
    const refusal = await this.seats.settleGrant(session);
    return refusal ?? session;
  }

  /**
   * A seat that is held here for this very session, after a hand-over whose answer came too late, is its own.
   * Only if it is there: what is used, holds included, must fit into the limit.
   */
  private async fromHold(conversion: Conversion): Promise<Session | Refusal | null> {
    const { feature, seats, session: id } = conversion;
    const { ledger } = this.member;
    if (ledger.sessions.has(id) || this.seats.used(feature) > this.seats.limit(feature))
      return null;
    if (ledger.numberVerdict(id, conversion.n) === "released") return RELEASED_MEANWHILE;
    const heldMs = ledger.takeHold(id, feature, this.lease.epoch, seats, this.member.nowMs());
    if (heldMs === null) return null;
    const session = this.begin(conversion, Math.ceil(heldMs), Number.POSITIVE_INFINITY);
    if (isRefusal(session)) return session;
    this.seats.note([{ kind: "hold-end", session: id }]);
    const refusal = await this.seats.settleGrant(session);
    return refusal ?? session;
  }

  /** A session of an older epoch goes on on a seat of the present one. */
  private async bringForward(conversion: Conversion, known: Session): Promise<Session | Refusal> {
    const { ledger } = this.member;
    if (!this.isOlder(known)) return BUSY;
    const olderEpoch = ledger.accountOf(known).epoch;
    const heldUntilMs = known.heldUntilMs;
    ledger.moveToEpoch(known, this.lease.epoch, 0, this.member.nowMs());
    this.renew(known, conversion, Number.POSITIVE_INFINITY);
    // Not answered by anything until it is durable in the new epoch.
    known.state = "granting";
    const refusal = await this.seats.settleGrant(known, true);
    if (refusal === null || !this.seats.isKnown(known)) return refusal ?? known;
    if (known.state === "granting") known.state = "active";
    // Its client may still believe in the old authorization: it counts where it counted before.
    ledger.moveToEpoch(known, olderEpoch, 0, this.member.nowMs());
    known.heldUntilMs = heldUntilMs;
    this.seats.note([this.seats.grantEntry(known, 0)]);
    return refusal;
  }

  /** Refused when another message has entered or released the session meanwhile. */
  private begin(conversion: Conversion, holdMs: number, lifeMsMax: number): Session | Refusal {
    const { ledger } = this.member;
    if (ledger.numberVerdict(conversion.session, conversion.n) === "released") {
      return RELEASED_MEANWHILE;
    }
    if (ledger.sessions.has(conversion.session)) return BUSY;
    return this.member.ledger.begin(
      {
        session: conversion.session,
        n: conversion.n ?? -1,
        feature: conversion.feature,
        version: conversion.version,
        seats: conversion.seats,
        holder: conversion.holder,
        lifeMs: this.lifeMs(conversion.feature, lifeMsMax),
        grantedAtMs: this.member.ports.runtime.clocks().wallMs,
        convertedFrom: `${conversion.member}/${conversion.epoch}`,
        holdMs,
      },
      this.lease.epoch,
      this.member.nowMs(),
    );
  }

  /** Whether a session still counts in an epoch that is over: another message may have moved or ended it. */
  private isOlder(known: Session): boolean {
    return (
      this.seats.isKnown(known) &&
      known.state === "active" &&
      this.member.ledger.accountOf(known).epoch !== this.lease.epoch
    );
  }

  /** Without an entry of its own yet, this member gets one with the life of the seats that come. */
  private lifeMs(feature: string, lifeMsMax: number): number {
    const lifeMs = this.seats.lifeMs(feature);
    return this.seats.entry(feature) === null ? Math.min(lifeMs, lifeMsMax) : lifeMs;
  }

  private renew(session: Session, conversion: Conversion, lifeMsMax: number): void {
    const lifeMs = this.lifeMs(session.feature, lifeMsMax);
    this.member.ledger.renew(session, conversion.n, lifeMs, this.member.nowMs());
    session.convertedFrom = `${conversion.member}/${conversion.epoch}`;
  }

  /** Free seats for all conversions that wait, in one write. */
  private freeSeats(feature: string, seats: number): Promise<boolean> {
    return new Promise((done) => {
      const wants = this.freeWants.get(feature) ?? [];
      wants.push({ seats, done });
      this.freeWants.set(feature, wants);
      if (!this.freeing.has(feature)) void this.takeFree(feature);
    });
  }

  private async takeFree(feature: string): Promise<void> {
    this.freeing.add(feature);
    try {
      // One turn of the loop lets all heartbeats that have arrived join the first write.
      await this.member.pause(0);
      for (;;) {
        const wants = (this.freeWants.get(feature) ?? []).splice(0, BATCH_MAX);
        if (wants.length === 0) return;
        const free = this.member.record(feature)?.value.free ?? 0;
        const seats = Math.min(
          free,
          wants.reduce((sum, want) => sum + want.seats, 0),
        );
        const moved = seats > 0 && (await this.leader.takeFree(feature, seats));
        for (const want of wants) want.done(moved);
        // Those that got none learn it from the ledger; they go on to the retired seats.
        await Promise.resolve();
      }
    } catch (error) {
      this.member.crash(error);
    } finally {
      this.freeing.delete(feature);
    }
  }

  // ---- retired seats --------------------------------------------------------------------------------

  private async fromRetired(
    conversion: Conversion,
    known: Session | null,
  ): Promise<Session | Refusal> {
    const { feature, seats, member, epoch } = conversion;
    const leads = this.lease.leads();
    const owns = member === this.member.id;
    const over = epochIsOver(this.member.memberRecord(member), epoch);
    if (over && (leads || owns)) {
      const left = this.retiredSeats(conversion);
      if (left !== null && left.seats >= seats) {
        if (!this.takeNonce(conversion)) return this.askConfirm(conversion);
        return this.joinBatch(conversion, known, left.lifeMs);
      }
    }
    if (!leads) return this.toLeader();
    if (!over && !owns) {
      return refuse("busy", `${member} is silent; its seats can be moved once it is retired`, {
        retryAfterMs: Math.min(RETRY_MS_MAX, this.lease.retireInMs(member)),
      });
    }
    const want = {
      session: conversion.session,
      seats,
      waitMs: 0,
      ticket: null,
      holder: conversion.holder,
    };
    const unused = Math.max(0, this.seats.unused(feature));
    const [answer] = await this.leader.provide(this.member.id, feature, [want], unused);
    if (answer?.refusal === null) {
      const moved = await this.fromUnused(conversion, known);
      if (moved !== null) return moved;
    }
    return answer?.refusal ?? refuse("no-seats", `no seat of ${feature} is left for this session`);
  }

  /**
   * Whether the entry that a session of an older epoch was granted on still waits to be taken back: what
   * is unused of it is counted from the whole of it.
   */
  private isUnsplit(known: Session): boolean {
    const record = this.member.record(known.feature)?.value;
    const { epoch } = this.member.ledger.accountOf(known);
    if (record === undefined || epoch < this.seats.trustedFrom) return false;
    const retired = retiredOf(record, this.member.id, epoch);
    const entry = entryOf(record, this.member.id);
    return retired === null ? entry?.epoch === epoch : retired.of > 0;
  }

  private toLeader(): Refusal {
    const leader = this.lease.leader();
    const url = leader === null ? undefined : this.member.memberRecord(leader.member)?.url;
    if (url === undefined || leader?.member === this.member.id) {
      return refuse("busy", "the pool has no leader at the moment; try again", {
        retryAfterMs: 200,
      });
    }
    return refuse("not-leader", `the leader can move the seat: ${url}`, { leader: url });
  }

  /** What is left of the entry of the client's own member and epoch; also before the bookkeeping. */
  private retiredSeats(
    conversion: Conversion,
  ): { seats: number; of: number; lifeMs: number } | null {
    const record = this.member.record(conversion.feature)?.value;
    if (record === undefined) return null;
    const retired = retiredOf(record, conversion.member, conversion.epoch);
    if (retired !== null) return retired;
    const entry = entryOf(record, conversion.member);
    if (entry === null || entry.epoch !== conversion.epoch) return null;
    return { ...entry, of: entry.seats };
  }

  private askConfirm(conversion: Conversion): Refusal {
    const nowMs = this.member.nowMs();
    this.forgetNonces(nowMs);
    const nonce = this.member.ports.runtime.nonce();
    const from = `${conversion.member}/${conversion.epoch}`;
    this.nonces.delete(conversion.session);
    this.nonces.set(conversion.session, { nonce, from, untilMs: nowMs + CONFIRM_NONCE_MS });
    return refuse(
      "confirm",
      "repeat the heartbeat with this nonce if the authorization has not ended by your clock",
      { nonce },
    );
  }

  private forgetNonces(nowMs: number): void {
    for (const [session, issued] of this.nonces) {
      if (issued.untilMs > nowMs && this.nonces.size < NONCES_MAX) break;
      this.nonces.delete(session);
    }
  }

  private takeNonce(conversion: Conversion): boolean {
    const issued = this.nonces.get(conversion.session);
    if (issued === undefined || conversion.confirm === undefined) return false;
    this.nonces.delete(conversion.session);
    return (
      issued.nonce === conversion.confirm &&
      issued.untilMs > this.member.nowMs() &&
      issued.from === `${conversion.member}/${conversion.epoch}`
    );
  }

  private joinBatch(
    conversion: Conversion,
    known: Session | null,
    entryLifeMs: number,
  ): Promise<Session | Refusal> {
    if (known !== null && !this.isOlder(known)) return Promise.resolve(BUSY);
    this.seats.noteLife(conversion.feature, entryLifeMs);
    const holdMs = serverLifeMs(entryLifeMs);
    const olderEpoch = known === null ? null : this.member.ledger.accountOf(known).epoch;
    if (known !== null) {
      this.member.ledger.moveToEpoch(known, this.lease.epoch, holdMs, this.member.nowMs());
    }
    const session = known ?? this.begin(conversion, holdMs, entryLifeMs);
    if (isRefusal(session)) return Promise.resolve(session);
    this.renew(session, conversion, entryLifeMs);
    session.state = "granting";
    return new Promise((done) => {
      const batch = this.batches.get(conversion.feature) ?? [];
      batch.push({ conversion, session, olderEpoch, done });
      this.batches.set(conversion.feature, batch);
      if (!this.writing.has(conversion.feature)) void this.writeBatches(conversion.feature);
    });
  }

  private async writeBatches(feature: string): Promise<void> {
    this.writing.add(feature);
    try {
      await this.member.pause(0);
      for (;;) {
        const batch = (this.batches.get(feature) ?? []).splice(0, BATCH_MAX);
        if (batch.length === 0) return;
        const nextAtMs = this.member.nowMs() + WRITE_EVERY_MS;
        const answers = await this.writeBatch(feature, batch);
        // The next batch is written while this one is answered.
        void answers().catch((error: unknown) => this.member.crash(error));
        const pauseMs = nextAtMs - this.member.nowMs();
        if (pauseMs > 0) await this.member.pause(pauseMs);
      }
    } catch (error) {
      this.member.crash(error);
    } finally {
      this.writing.delete(feature);
    }
  }

  /** Resolves when it is known which of them were moved, with what tells them. */
  private async writeBatch(
    feature: string,
    waited: readonly Batched[],
  ): Promise<() => Promise<void>> {
    // Who was released while the batch waited is neither journaled nor moved any more.
    for (const each of waited) {
      const gone = this.gone(each.session);
      if (gone !== null) each.done(gone);
    }
    const batch = waited.filter((each) => this.gone(each.session) === null);
    if (batch.length === 0) return () => Promise.resolve();
    const epoch = this.lease.epoch;
    const nowMs = this.member.nowMs();
    // Journaled BEFORE the record is written: from here on the seats count at this member.
    const failed = await this.seats.write(
      batch.map(({ session }) =>
        this.seats.grantEntry(session, Math.max(0, session.heldUntilMs - nowMs)),
      ),
    );
    let moved = new Set<Batched>();
    if (failed === null) {
      const written = await this.writeRecord(feature, batch, epoch, (accepted) => {
        moved = accepted;
      });
      if (!written) moved = new Set();
    }
    return () => this.answerBatch(feature, batch, moved, failed, epoch);
  }

  private async answerBatch(
    feature: string,
    batch: readonly Batched[],
    moved: ReadonlySet<Batched>,
    failed: Refusal | null,
    epoch: number,
  ): Promise<void> {
    for (const [index, each] of batch.entries()) {
      // Each answer costs a signature: the event loop gets a turn between a few of them.
      if (index > 0 && index % ANSWERS_A_TURN === 0) await this.member.pause(0);
      const gone = this.gone(each.session);
      const refusal = failed ?? this.lease.refusal() ?? gone;
      if (moved.has(each) && refusal === null && this.lease.epoch === epoch) {
        each.session.state = "active";
        this.seats.onChanged(each.session);
        this.member.emit("converted", {
          session: each.session.session,
          feature,
          from: each.conversion.member,
          to: this.member.id,
        });
        each.done(each.session);
        continue;
      }
      this.undo(each, moved.has(each));
      each.done(
        refusal ?? refuse("busy", "the seat could not be moved; try again", { retryAfterMs: 200 }),
      );
    }
  }

  /** A release or a revocation may have come while the session was on its way. */
  private gone(session: Session): Refusal | null {
    if (!this.seats.isKnown(session)) return RELEASED_MEANWHILE;
    return session.state === "revoked" ? this.view.revokedRefusal(session.session) : null;
  }

  /** A conversion that did not come about: the session counts where it did before, or ends. */
  private undo(each: Batched, moved: boolean): void {
    const { session, olderEpoch } = each;
    // A revoked one stays as it is: its client may still believe.
    if (this.gone(session) !== null) return;
    if (olderEpoch === null || moved) {
      session.state = "active";
      // A seat that did not come is not held; one that came is, because its client may still believe.
      if (!moved) session.heldUntilMs = 0;
      void this.seats.end(session, "superseded");
      return;
    }
    this.member.ledger.moveToEpoch(session, olderEpoch, 0, this.member.nowMs());
    session.state = "active";
    this.seats.note([this.seats.grantEntry(session, 0)]);
  }

  private async writeRecord(
    feature: string,
    batch: readonly Batched[],
    epoch: number,
    onAccepted: (accepted: Set<Batched>) => void,
  ): Promise<boolean> {
    const { state, id } = this.member;
    const written = await state.change<AllocationRecord>(allocationKeyOf(feature), (record) => {
      if (record === null) return "there is no record";
      if (this.lease.epoch !== epoch) return "this server was retired meanwhile";
      const accepted = new Set<Batched>();
      const own = entryOf(record, id);
      let next = record;
      if (own !== null && own.epoch < epoch) {
        const tidy = retireEntry(next, id, epoch);
        if (isFault(tidy)) return tidy.detail;
        next = tidy;
      }
      const parts = bySource(batch);
      for (const part of parts) {
        const { member, epoch: from } = part.source;
        const seats = part.batched.reduce((sum, { conversion }) => sum + conversion.seats, 0);
        const present = this.member.memberRecord(member)?.epoch;
        const changed = convert(next, member, from, id, epoch, seats, present);
        if (!isFault(changed)) {
          next = changed;
          for (const each of part.batched) accepted.add(each);
        } else if (part.batched.length > 1) {
          // Not enough for all of them: one by one, as they came.
          for (const each of part.batched) parts.push({ source: part.source, batched: [each] });
        }
      }
      if (accepted.size === 0) return "no seat is left in the retired entries";
      onAccepted(accepted);
      const compareOwn = { key: memberKeyOf(id), revision: state.revisionOf(memberKeyOf(id)) };
      const compareLeader = { key: LEADER_KEY, revision: state.revisionOf(LEADER_KEY) };
      const allOwn = batch.every((each) => each.conversion.member === id);
      if (!allOwn && !this.lease.leads()) return "this server does not lead any more";
      return { value: next, compare: [allOwn ? compareOwn : compareLeader] };
    });
    return written.applied;
  }

  // ---- hand-over ------------------------------------------------------------------------------------

  /** Asks the living member of a session to hand it over. Null: go on with other seats. */
  private async askHandOver(conversion: Conversion): Promise<Session | Refusal | null> {
    const { member, feature } = conversion;
    const url = this.member.memberRecord(member)?.url;
    const leader = this.lease.leader();
    if (url === undefined || leader === null || !this.lease.mayReach(member)) return null;
    const entry = this.member.record(feature)?.value.allocated[member];
    if (entry === undefined) return null;
    // Many at once have a living server: one that has just come back. It can renew them all by itself.
    const orders = this.orders.get(member) ?? 0;
    if (orders >= ORDERS_MAX) {
      return refuse("not-leader", `${member} is alive and keeps the session: ${url}`, {
        leader: url,
      });
    }
    this.orders.set(member, orders + 1);
    try {
      return await this.orderHandOver(conversion, url, leader.term, entry);
    } finally {
      this.orders.set(member, (this.orders.get(member) ?? 1) - 1);
    }
  }

  private async orderHandOver(
    conversion: Conversion,
    url: string,
    term: number,
    { lifeMs, epoch: memberEpoch }: AllocationEntry,
  ): Promise<Session | Refusal | null> {
    const { member, feature, seats } = conversion;
    const { epoch } = this.lease;
    this.seats.noteLife(feature, lifeMs);
    const session = this.begin(conversion, serverLifeMs(lifeMs), lifeMs);
    if (isRefusal(session)) return session;
    const failed = await this.seats.write([this.seats.grantEntry(session, serverLifeMs(lifeMs))]);
    if (failed !== null) return failed;
    const answer = await this.member.ports.peers.call(
      url,
      member,
      {
        kind: "hand-over",
        session: conversion.session,
        n: conversion.n ?? null,
        seats,
        feature,
        memberEpoch,
        epoch: this.lease.epoch,
        term,
      },
      2 * this.member.timing.callDeadlineMs,
    );
    if (answer === null || isUnreached(answer)) this.lease.noteUnreachable(member);
    else await this.member.state.transact({ reads: [allocationKeyOf(feature)] });
    const handed = answer !== null && answer.ok;
    const gone = this.gone(session);
    if (gone !== null) return gone;
    const refusal = this.lease.refusal();
    // The session is counted already: it stays if it fits into the limit, wherever the seat came from.
    const within = this.seats.used(feature) <= this.seats.limit(feature);
    const fits = within && this.seats.growthRefusal(feature) === null;
    if (refusal === null && this.lease.epoch === epoch && (handed ? within : fits)) {
      session.state = "active";
      if (!handed) session.heldUntilMs = 0;
      this.seats.onChanged(session);
      return session;
    }
    // Without an answer the seat may have come, or may still come, while its client believes in the old
    // authorization: it is held. Only a clear "no" says that no seat is on its way; that a copy of the order is not
    // taken twice is none.
    const saysNo = answer !== null && !answer.ok && answer.refusal.refused !== "forbidden";
    if (saysNo) session.heldUntilMs = 0;
    await this.seats.end(session, "superseded");
    if (refusal !== null) return refusal;
    if (answer !== null && !answer.ok && isRefusal(answer.refusal)) {
      if (answer.refusal.refused === "revoked" || answer.refusal.refused === "released") {
        return answer.refusal;
      }
    }
    return null;
  }

  /** This member's side of a hand-over. */
  async handOver(
    from: string,
    call: HandOverOrder,
    moveRecord: (session: Session, leaderEpoch: number) => Promise<boolean>,
  ): Promise<Refusal | null> {
    const refusal = this.lease.refusal();
    if (refusal !== null) return refusal;
    const leader = this.lease.leader();
    if (leader === null || leader.member !== from || leader.term !== call.term) {
      return refuse("not-leader", "the order does not come from the leader");
    }
    // One of before this member died or was retired comes too late: its leader has given it up.
    if (call.memberEpoch !== this.lease.epoch) {
      return refuse("busy", "the order is for an epoch of this server that is over");
    }
    if (this.member.ledger.isBuried(call.session)) {
      if (this.member.ledger.numberVerdict(call.session, call.n ?? undefined) === "released") {
        return refuse("released", "the session was released here");
      }
    }
    const session = this.member.ledger.sessions.get(call.session);
    if (session === undefined || session.feature !== call.feature || session.seats !== call.seats) {
      return refuse("busy", "the session is not known here");
    }
    if (session.state === "revoked") return refuse("revoked", "the authorization was revoked");
    if (call.n !== null && call.n <= session.n) {
      return refuse("busy", "this server has seen a newer message of the session");
    }
    if (
      session.state !== "active" ||
      this.member.ledger.accountOf(session).epoch !== this.lease.epoch
    ) {
      return refuse("busy", "the session cannot be handed over now");
    }
    // Until the write is settled the seat is neither's: the session stays counted here and is not renewed.
    session.state = "moving";
    const moved = await moveRecord(session, leader.epoch);
    // A revocation that came meanwhile stays: the leader was told of it as well.
    if (session.state === "moving") session.state = "active";
    if (!moved) return refuse("busy", "the record could not be written");
    session.heldUntilMs = 0;
    await this.seats.end(session, "handed-over");
    return null;
  }
}

/** Hundreds have the same dead server: their seats are moved in one step. */
function bySource(batch: readonly Batched[]): Part[] {
  const parts = new Map<string, Part>();
  for (const each of batch) {
    const { member, epoch } = each.conversion;
    const name = `${member}/${epoch}`;
    const part = parts.get(name);
    if (part === undefined) parts.set(name, { source: { member, epoch }, batched: [each] });
    else part.batched.push(each);
  }
  return [...parts.values()];
}
