/**
 * What only the leader does (design sections 4.2 to 4.4): keeps the records in order, moves seats to where
 * they are wanted, keeps the queue. Every write compares the leader key in the same commit. Without a
 * leader seats do not move; members go on granting what they have.
 */
import {
  allocate,
  type AllocationRecord,
  effectiveLifeMs,
  entryOf,
  firstShare,
  isFault,
  lowWater,
  newRecord,
  parseRetiredKey,
  planMove,
  QUEUE_ANSWER_MS,
  reclaim,
  refuse,
  type Refusal,
  resize,
  type RecordChange,
  retireEntry,
  seatsOf,
  serverLifeMs,
  setLife,
  WaitingQueue,
} from "@quorate/core";
import type { MemberContext } from "./context.ts";
import { allocationKeyOf, LEADER_KEY } from "./keys.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import { isUnreached, type SeatWant } from "./peer-calls.ts";
import type { PoolView } from "./pool-view.ts";
import type { Seats } from "./seats.ts";

/** A want answered: null when seats were moved for it, else why not. */
export type WantAnswer = { readonly session: string; readonly refusal: Refusal | null };

const PLACE_KEPT_MS_MIN = 3_000;
const CONTENDED_MS = 3_000;
/** Of the queue of promises; far more than an answer needs on its way to the request that waits for it. */
const TURNS_TO_ENTER = 50;

async function afterTurns(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
}

export class Leader {
  private readonly queues = new Map<string, WaitingQueue>();
  private readonly lanes = new Map<string, Promise<unknown>>();
  private keeping = false;
  private term = 0;

  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  private readonly seats: Seats;
  private readonly view: PoolView;
  constructor(member: MemberContext, lease: LeaseKeeper, seats: Seats, view: PoolView) {
    this.member = member;
    this.lease = lease;
    this.seats = seats;
    this.view = view;
  }

  /** Who released does not wait any more. */
  leave(session: string): void {
    for (const queue of this.queues.values()) queue.leave(session);
  }

  queued(feature: string): number {
    return this.queues.get(feature)?.size ?? 0;
  }

  contendedFeatures(): string[] {
    return [...this.queues].filter(([, queue]) => queue.size > 0).map(([feature]) => feature);
  }

  // ---- duties ---------------------------------------------------------------------------------------

  /** The regular work: license first, then retired entries, then new members' shares. */
  async keepOrder(): Promise<void> {
    if (this.keeping) return;
    this.keeping = true;
    try {
      const leader = this.lease.leader();
      if (!this.lease.leads() || leader === null || !this.lease.hasMandate()) return;
      if (leader.term !== this.term) this.begin(leader.term);
      await this.applyLicense();
      for (const { feature, record } of this.member.records()) {
        if (!this.lease.leads()) return;
        if (this.tidied(feature, record) !== record) {
          await this.seats.change(feature, (now) => this.tidied(feature, now), true);
        }
      }
      const nowMs = this.member.nowMs();
      for (const [feature, queue] of this.queues) {
        queue.expire(nowMs);
        if (queue.size === 0) this.queues.delete(feature);
        else this.seats.contend(feature, CONTENDED_MS);
      }
    } finally {
      this.keeping = false;
    }
  }

  private begin(term: number): void {
    this.term = term;
    this.queues.clear();
    this.member.ports.log.info("this server leads the pool now", { term });
    this.member.emit("leader-changed", { member: this.member.id, term });
    this.view.begin();
  }

  /** Records for new features, and every record resized whose sequence is below the license's. */
  private async applyLicense(): Promise<void> {
    const license = this.member.license?.license;
    if (license === undefined) return;
    const wanted = new Map(license.features.map((each) => [each.name, seatsOf(each)]));
    for (const { feature } of this.member.records()) {
      if (!wanted.has(feature)) wanted.set(feature, 0);
    }
    for (const [feature, seats] of wanted) {
      const known = this.member.record(feature);
      if (known !== null && known.value.sequence >= license.sequence) continue;
      const written = await this.member.state.change<AllocationRecord>(
        allocationKeyOf(feature),
        (record) => {
          if (!this.lease.leads()) return "this server does not lead any more";
          if (record !== null && record.sequence >= license.sequence)
            return "it is resized already";
          const next =
            record === null
              ? newRecord(seats, license.sequence)
              : resize(record, seats, license.sequence);
          if (isFault(next)) throw new Error(`cannot resize ${feature}: ${next.detail}`);
          const tidy = this.tidied(feature, next);
          return {
            value: isFault(tidy) ? next : tidy,
            compare: [{ key: LEADER_KEY, revision: this.member.state.revisionOf(LEADER_KEY) }],
          };
        },
      );
      if (written.applied) this.member.emit("feature-resized", { feature, seats });
    }
  }

  /** The record with all bookkeeping done that is due; the same object when there is none. */
  private tidied(feature: string, record: AllocationRecord): AllocationRecord {
    let next = record;
    const apply = (change: RecordChange): void => {
      if (!isFault(change)) next = change;
    };
    for (const member of Object.keys(next.allocated)) {
      const present = this.member.memberRecord(member)?.epoch;
      const entry = entryOf(next, member);
      if (present === undefined || entry === null || entry.epoch >= present) continue;
      // A member that is back takes its entry itself, within a renewal; only then is it set aside for it.
      apply(retireEntry(next, member, present));
    }
    const nowMs = this.member.nowMs();
    for (const [key, entry] of Object.entries(next.retired)) {
      const { member, epoch } = parseRetiredKey(key);
      const sinceMs = this.lease.sawEndOf(member, epoch) ?? this.view.firstSawRetired(feature, key);
      if (nowMs - sinceMs >= serverLifeMs(entry.lifeMs)) {
        apply(reclaim(next, key));
        this.member.ports.log.info(`reclaimed ${entry.seats} seats of ${feature} from ${key}`);
        this.member.emit("seats-reclaimed", { feature, seats: entry.seats, from: key });
      }
    }
    return this.welcomed(feature, next);
  }

  /** Every live member without an entry gets its share of the free seats; raised lives are written. */
  private welcomed(feature: string, record: AllocationRecord): AllocationRecord {
    const licensed = this.member.feature(feature);
    const size = this.member.license?.license.pool.size ?? 1;
    if (licensed === null || record.debt > 0) return record;
    const lifeMs = effectiveLifeMs(licensed.lifeMs, this.member.options.leaseMs);
    let next = record;
    for (const id of this.lease.aliveMembers()) {
      const epoch = this.lease.liveEpoch(id);
      if (epoch === null) continue;
      const entry = entryOf(next, id);
      if (entry !== null) {
        const raised =
          entry.epoch === epoch && entry.lifeMs < lifeMs ? setLife(next, id, epoch, lifeMs) : next;
        if (!isFault(raised)) next = raised;
        continue;
      }
      const { spread } = licensed;
      const given = firstShare(id, { seats: seatsOf(licensed), free: next.free, size, spread });
      if (given <= 0 || this.hasRetired(next, id)) continue;
      const more = allocate(next, id, epoch, given, lifeMs);
      if (!isFault(more)) next = more;
    }
    return next;
  }

  /** A member with retired entries is about to take back what is its own. */
  private hasRetired(record: AllocationRecord, id: string): boolean {
    return Object.keys(record.retired).some((key) => parseRetiredKey(key).member === id);
  }

  // ---- moving seats ---------------------------------------------------------------------------------

  /** Answers a member's wants for a feature, one call of a feature at a time. */
  provide(
    member: string,
    feature: string,
    wants: readonly SeatWant[],
    unused: number,
  ): Promise<WantAnswer[]> {
    const own = member === this.member.id;
    return this.inLane(feature, () => this.provideNow(member, feature, wants, unused), own);
  }

  /** `settles`: this server's own requests take the seats that were moved for them before anybody else is looked at. */
  private inLane<T>(feature: string, work: () => Promise<T>, settles = false): Promise<T> {
    const before = this.lanes.get(feature) ?? Promise.resolve();
    const next = before.then(work);
    const over = next.then(
      () => (settles ? afterTurns(TURNS_TO_ENTER) : undefined),
      () => undefined,
    );
    this.lanes.set(feature, over);
    return next;
  }

  private async provideNow(
    member: string,
    feature: string,
    wants: readonly SeatWant[],
    own: number,
  ): Promise<WantAnswer[]> {
    const epoch = this.lease.liveEpoch(member);
    if (!this.lease.leads() || epoch === null) {
      const refusal = refuse("busy", "the leader changed; try again", { retryAfterMs: 300 });
      return wants.map(({ session }) => ({ session, refusal }));
    }
    const growth = this.seats.growthRefusal(feature);
    if (growth !== null && growth.refused !== "no-seats") {
      return wants.map(({ session }) => ({ session, refusal: growth }));
    }
    const queue = this.queueOf(feature, member, wants);
    const answers: WantAnswer[] = [];
    const served: SeatWant[] = [];
    let need = 0;
    let servedInQueue = 0;
    const inQueue = queue !== undefined && queue.size > 0;
    // What the member has unused itself, but too little of, counts for it.
    const count = (): number =>
      own + (inQueue ? this.surelyUnused(feature, member) : this.knownUnused(feature, member));
    let available = count();
    // Whoever waits goes by its ticket; a request that does not wait comes after all who do.
    for (const want of this.inTurn(queue, wants)) {
      const ahead = Math.max(0, (queue?.seatsAhead(want.session) ?? 0) - servedInQueue);
      if (growth === null && available < need + ahead + want.seats) {
        await this.lookEverywhere(feature, member, need + ahead + want.seats - own);
        available = count();
      }
      if (growth === null && available >= need + ahead + want.seats) {
        need += want.seats;
        if (queue?.has(want.session) === true) servedInQueue += want.seats;
        served.push(want);
      } else {
        answers.push({
          session: want.session,
          refusal: this.waitOrDeny(queue, feature, want, growth),
        });
      }
    }
    if (need > 0) {
      const moved = need <= own || (await this.move(feature, member, epoch, need - own));
      for (const want of served) {
        if (moved) queue?.leave(want.session);
        const refusal = moved
          ? null
          : refuse("busy", "the seats could not be moved; try again", { retryAfterMs: 200 });
        answers.push({ session: want.session, refusal });
      }
    }
    return answers;
  }

  private queueOf(
    feature: string,
    member: string,
    wants: readonly SeatWant[],
  ): WaitingQueue | undefined {
    const waits = wants.filter((want) => want.waitMs > 0);
    let queue = this.queues.get(feature);
    if (queue === undefined && waits.length > 0) {
      // Tickets begin at the wall clock, so that those of a later leader come after those of an earlier one.
      queue = new WaitingQueue(Math.floor(this.member.ports.runtime.clocks().wallMs));
      this.queues.set(feature, queue);
    }
    // Whoever waits asks again once an answer came: after two that it did not ask for, it is gone.
    const lifeMs = effectiveLifeMs(
      this.member.feature(feature)?.lifeMs,
      this.member.options.leaseMs,
    );
    const keptMs = Math.max(PLACE_KEPT_MS_MIN, Math.min(2 * QUEUE_ANSWER_MS, lifeMs / 3));
    for (const want of waits) {
      const until = this.member.nowMs() + Math.min(keptMs, want.waitMs + PLACE_KEPT_MS_MIN);
      queue?.keep(want.session, want.seats, member, want.ticket, until);
    }
    return queue;
  }

  private inTurn(queue: WaitingQueue | undefined, wants: readonly SeatWant[]): SeatWant[] {
    if (queue === undefined) return [...wants];
    const order = new Map(queue.inOrder().map((each, index) => [each.session, index]));
    const place = (want: SeatWant): number => order.get(want.session) ?? Number.POSITIVE_INFINITY;
    return [...wants].sort((a, b) => (place(a) < place(b) ? -1 : place(a) > place(b) ? 1 : 0));
  }

  private waitOrDeny(
    queue: WaitingQueue | undefined,
    feature: string,
    want: SeatWant,
    growth: Refusal | null,
  ): Refusal {
    if (queue?.has(want.session) === true) {
      this.seats.contend(feature, CONTENDED_MS);
      const place = queue.place(want.session);
      const ticket = queue.ticketOf(want.session) ?? 0;
      return refuse("queued", `place ${place} in the queue for ${feature}`, {
        place,
        ticket: String(ticket),
      });
    }
    if (growth !== null) return growth;
    const detail =
      queue !== undefined && queue.size > 0
        ? `all seats of ${feature} are in use and ${queue.size} requests wait; try again later or wait with waitMs`
        : `all seats of ${feature} are in use; try again later or wait with waitMs`;
    return refuse("no-seats", detail);
  }

  /**
   * Seats that are free or reported unused by other members. A seat that was given back after the last report
   * is counted twice: good enough where a move that fails is asked for again.
   */
  private knownUnused(feature: string, member: string): number {
    const record = this.member.record(feature)?.value;
    if (record === undefined || record.debt > 0) return 0;
    const others = this.others(feature, member).reduce((sum, each) => sum + each.unused, 0);
    return record.free + others;
  }

  /**
   * Seats that are free or unused at the leader: no report is believed. Where somebody waits a seat counted
   * twice would go to the second in the queue.
   */
  private surelyUnused(feature: string, member: string): number {
    const record = this.member.record(feature)?.value;
    if (record === undefined || record.debt > 0) return 0;
    const own = member === this.member.id ? 0 : Math.max(0, this.seats.unused(feature));
    return record.free + own;
  }

  private others(feature: string, member: string): { member: string; unused: number }[] {
    return this.lease
      .aliveMembers()
      .filter((id) => id !== member && (id === this.member.id || this.lease.mayReach(id)))
      .map((id) => ({
        member: id,
        unused: Math.max(
          0,
          id === this.member.id ? this.seats.unused(feature) : this.view.unused(id, feature),
        ),
      }));
  }

  /**
   * A denial is only given after every member that might have an unused seat was asked: reports are a second
   * old. What they give goes to the free seats.
   */
  private async lookEverywhere(feature: string, member: string, want: number): Promise<void> {
    const record = this.member.record(feature)?.value;
    if (record === undefined) return;
    const asked = Object.keys(record.allocated).filter(
      (id) =>
        id !== member &&
        id !== this.member.id &&
        (entryOf(record, id)?.seats ?? 0) > 0 &&
        this.lease.mayReach(id),
    );
    await Promise.all(asked.map((id) => this.askBack(id, feature, want)));
  }

  private async askBack(id: string, feature: string, seats: number): Promise<number> {
    if (id === this.member.id) return this.seats.giveBack(feature, seats);
    const url = this.member.memberRecord(id)?.url;
    if (url === undefined) return 0;
    const answer = await this.member.ports.peers.call(
      url,
      id,
      { kind: "give-back", feature, seats, epoch: this.lease.epoch, term: this.term },
      2 * this.member.timing.callDeadlineMs,
    );
    if (answer === null || isUnreached(answer)) this.lease.noteUnreachable(id);
    if (answer === null || !answer.ok) return 0;
    const given = (answer.body as { seats: number }).seats;
    // Who gives less than it was asked for has none left, whatever it reported a second ago.
    this.view.lower(id, feature, given, given < seats);
    await this.member.state.transact({ reads: [allocationKeyOf(feature)] });
    return given;
  }

  /** Moves `need` seats to a member, and more if there are many. False when it could not be done. */
  private async move(
    feature: string,
    member: string,
    epoch: number,
    need: number,
    background = false,
  ): Promise<boolean> {
    const record = this.member.record(feature)?.value;
    const queue = this.queues.get(feature);
    if (record === undefined) return false;
    const plan = planMove({
      member,
      want: need,
      free: record.free,
      reserved: 0,
      others: this.others(feature, member),
      background,
    });
    // While others wait, nobody gets more than it needs.
    const exact = queue !== undefined && queue.size > 0;
    if (plan === null) return false;
    await Promise.all(plan.asks.map(({ member: id, seats }) => this.askBack(id, feature, seats)));
    // Reports are a second old: if those who were asked had less, everybody is asked.
    if ((this.member.record(feature)?.value.free ?? 0) < need) {
      await this.lookEverywhere(feature, member, need);
    }
    const aim = exact ? need : plan.asks.reduce((sum, each) => sum + each.seats, plan.fromFree);
    const lifeMs = effectiveLifeMs(
      this.member.feature(feature)?.lifeMs,
      this.member.options.leaseMs,
    );
    const written = await this.seats.change(
      feature,
      (now) => {
        if (this.lease.liveEpoch(member) !== epoch) return "the member is not alive any more";
        if (now.free < need) return "the seats are not free any more";
        const entry = entryOf(now, member);
        const tidy = entry !== null && entry.epoch < epoch ? retireEntry(now, member, epoch) : now;
        if (isFault(tidy)) return tidy;
        return allocate(tidy, member, epoch, Math.min(Math.max(aim, need), tidy.free), lifeMs);
      },
      true,
    );
    if (written.applied) this.member.emit("seats-moved", { feature, to: member, seats: aim });
    return written.applied;
  }

  /** A member low on unused seats gets more before a user has to wait for them. */
  async topUp(member: string, feature: string, unused: number): Promise<void> {
    const licensed = this.member.feature(feature);
    const epoch = this.lease.liveEpoch(member);
    const record = this.member.record(feature)?.value;
    if (licensed === null || epoch === null || record === undefined || record.debt > 0) return;
    if (!lowWater(unused, licensed.seats) || this.queued(feature) > 0) return;
    await this.inLane(feature, () => this.move(feature, member, epoch, 1, true));
  }

  /** Takes all free seats that are wanted for conversions at once; resolves whether any came. */
  takeFree(feature: string, seats: number): Promise<boolean> {
    return this.seats
      .change(
        feature,
        (now) => {
          if (now.free < seats) return "not enough seats are free";
          const entry = entryOf(now, this.member.id);
          const epoch = this.lease.epoch;
          const tidy =
            entry !== null && entry.epoch < epoch ? retireEntry(now, this.member.id, epoch) : now;
          if (isFault(tidy)) return tidy;
          const lifeMs = effectiveLifeMs(
            this.member.feature(feature)?.lifeMs,
            this.member.options.leaseMs,
          );
          return allocate(tidy, this.member.id, epoch, seats, lifeMs);
        },
        true,
      )
      .then((written) => written.applied);
  }
}
