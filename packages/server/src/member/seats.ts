/**
 * This member's own seats: how many it may grant now, granting and renewing, giving back, and taking its
 * old entries back after it returned (design sections 4.3 and 4.5).
 *
 * The limit of a feature is what the record says for the present epoch, less what is being given back: it is
 * lowered BEFORE `giveBack` is written, and raised only by a record that was taken in. No await stands
 * between the look at the limit and the entry in the ledger.
 */
import {
  type Account,
  type AllocationEntry,
  effectiveLifeMs,
  entryOf,
  forgetHanded,
  giveBack,
  isFault,
  type NewSession,
  parseRetiredKey,
  type RecordChange,
  refuse,
  type Refusal,
  reinstateUnused,
  reinstateWhole,
  retireEntry,
  retiredOf,
  serverLifeMs,
  type Session,
  setLife,
} from "@quorate/core";
import { APPEND_ENTRIES_MAX, type EndReason, type JournalEntry } from "../journal/journal.ts";
import type { MemberContext } from "./context.ts";
import { type AllocationRecord, allocationKeyOf, LEADER_KEY } from "./keys.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { Written } from "./shared-state.ts";

const DUE_A_TICK_MAX = 2_000;

export const RELEASED_MEANWHILE = refuse(
  "released",
  "the authorization was released while it was granted",
);

export class Seats {
  /** Seats being given back or handed over, by feature: not granted from, whatever the record says. */
  private readonly giving = new Map<string, number>();
  /**
   * Features of which a whole entry is being taken back: the record may be read before the write is known to be
   * applied, and until its sessions are adopted the limit looks unused.
   */
  private readonly taking = new Set<string>();
  /** Features whose unused seats somebody waits for: local grants go through the leader. */
  private readonly contendedUntilMs = new Map<string, number>();
  private readonly denials = new Map<string, number>();
  /**
   * The first epoch whose entries the journal may prove unused: it lacks what came before, if it was restored
   * from a copy or is new.
   */
  trustedFrom = Number.POSITIVE_INFINITY;
  /** Whether requests of the feature are about to take the seats that were moved here for them. */
  isAwaited: (feature: string) => boolean = () => false;
  onEnded: (session: Session) => void = () => {};
  onChanged: (session: Session) => void = () => {};
  onJournalFailed: (error: unknown) => void = () => {};

  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  constructor(member: MemberContext, lease: LeaseKeeper) {
    this.member = member;
    this.lease = lease;
  }

  // ---- limits ---------------------------------------------------------------------------------------

  /** Seats of the feature this member may have in use now. */
  limit(feature: string): number {
    const known = this.member.record(feature);
    if (known === null) return 0;
    const entry = entryOf(known.value, this.member.id);
    if (entry === null || entry.epoch !== this.lease.epoch) return 0;
    return entry.seats - (this.giving.get(feature) ?? 0);
  }

  used(feature: string): number {
    return this.member.ledger.account(feature, this.lease.epoch).used;
  }

  unused(feature: string): number {
    return this.taking.has(feature) ? 0 : this.limit(feature) - this.used(feature);
  }

  /** Null, or why nothing new may be granted of the feature although a seat may be unused. */
  growthRefusal(feature: string): Refusal | null {
    const known = this.member.record(feature);
    const sequence = this.member.license?.license.sequence ?? 0;
    if (known === null || known.value.sequence < sequence) {
      return refuse("busy", `the seats of ${feature} are being set to the new license`, {
        retryAfterMs: 300,
      });
    }
    if (known.value.debt > 0) {
      return refuse(
        "no-seats",
        `the license was made smaller: ${known.value.debt} more seats of ${feature} must be released first`,
      );
    }
    return null;
  }

  /** The longest life this member may grant of the feature now. */
  lifeMs(feature: string): number {
    const wanted = effectiveLifeMs(
      this.member.feature(feature)?.lifeMs,
      this.member.options.leaseMs,
    );
    const entry = this.entry(feature);
    return entry === null ? wanted : Math.min(wanted, entry.lifeMs);
  }

  /** This member's live entry of the present epoch. */
  entry(feature: string): AllocationEntry | null {
    const known = this.member.record(feature);
    const entry = known === null ? null : entryOf(known.value, this.member.id);
    return entry !== null && entry.epoch === this.lease.epoch ? entry : null;
  }

  /** When this member began to grant a shorter life than its entry allows, by feature. */
  private readonly shorterSinceMs = new Map<string, number>();

  /**
   * Seats come out of an entry with that life, perhaps a longer one than is granted here: their clients may believe
   * that long, and the entry here must say so till then.
   */
  noteLife(feature: string, lifeMs: number): void {
    if (lifeMs > this.lifeMs(feature)) this.shorterSinceMs.delete(feature);
  }

  /**
   * Lowering the life of an entry is its owner's, one old life after it stopped granting the old one, or after seats
   * with a longer life came: until then a client may believe that long, and whoever reclaims must wait that long.
   */
  async lowerLives(): Promise<void> {
    for (const { feature } of this.member.records()) {
      const entry = this.entry(feature);
      const lifeMs = this.lifeMs(feature);
      if (entry === null || entry.lifeMs <= lifeMs) {
        this.shorterSinceMs.delete(feature);
        continue;
      }
      const sinceMs = this.shorterSinceMs.get(feature) ?? this.member.nowMs();
      this.shorterSinceMs.set(feature, sinceMs);
      if (this.member.nowMs() - sinceMs < serverLifeMs(entry.lifeMs)) continue;
      const { epoch } = entry;
      await this.change(feature, (record) =>
        this.shorterSinceMs.get(feature) === sinceMs
          ? setLife(record, this.member.id, epoch, lifeMs)
          : `seats of ${feature} with a longer life came`,
      );
    }
  }

  private readonly handedSinceMs = new Map<string, number>();

  /** One life after a hand-over nobody believes in the old token any more. */
  async forgetHandedOver(): Promise<void> {
    const nowMs = this.member.nowMs();
    for (const { feature } of this.member.records()) {
      const entry = this.entry(feature);
      if (entry?.handed === undefined) continue;
      const over: string[] = [];
      for (const session of Object.keys(entry.handed)) {
        const sinceMs = this.handedSinceMs.get(session) ?? nowMs;
        this.handedSinceMs.set(session, sinceMs);
        if (nowMs - sinceMs >= serverLifeMs(entry.lifeMs)) over.push(session);
      }
      if (over.length === 0) continue;
      const { epoch } = entry;
      await this.change(feature, (record) => forgetHanded(record, this.member.id, epoch, over));
      for (const session of over) this.handedSinceMs.delete(session);
    }
  }

  contend(feature: string, forMs: number): void {
    this.contendedUntilMs.set(feature, this.member.nowMs() + forMs);
  }

  isContended(feature: string): boolean {
    return (this.contendedUntilMs.get(feature) ?? 0) > this.member.nowMs();
  }

  deny(feature: string): void {
    this.denials.set(feature, (this.denials.get(feature) ?? 0) + 1);
  }

  deniedCount(feature: string): number {
    return this.denials.get(feature) ?? 0;
  }

  // ---- granting -------------------------------------------------------------------------------------

  /** Enters a session if a seat is unused: check and entry in one step, nothing between them. */
  enter(wanted: NewSession): Session | null {
    if (this.unused(wanted.feature) < wanted.seats) return null;
    return this.member.ledger.begin(wanted, this.lease.epoch, this.member.nowMs());
  }

  /**
   * Syncs a grant and looks at the mandate a second time, just before the answer leaves. What fails that
   * look is released again: nobody was told of it. `keep` leaves that to the caller.
   */
  async settleGrant(session: Session, keep = false): Promise<Refusal | null> {
    const account = this.member.ledger.accountOf(session);
    const failed = await this.write([this.grantEntry(session, 0)]);
    if (failed !== null) return failed;
    if (!this.isKnown(session)) return RELEASED_MEANWHILE;
    if (session.state === "revoked") return refuse("revoked", "the authorization was revoked");
    const refusal = this.lease.refusal();
    if (refusal !== null || account.epoch !== this.lease.epoch) {
      if (!keep) void this.end(session, "mandate-lost");
      return refusal ?? refuse("no-mandate", "this server was retired while it granted; try again");
    }
    session.state = "active";
    this.onChanged(session);
    return null;
  }

  grantEntry(session: Session, holdMs: number): JournalEntry {
    return {
      kind: "grant",
      session: session.session,
      n: session.n,
      feature: session.feature,
      version: session.version,
      seats: session.seats,
      holder: session.holder,
      lifeMs: session.lifeMs,
      epoch: this.member.ledger.accountOf(session).epoch,
      grantedAtMs: session.grantedAtMs,
      holdMs,
      convertedFrom: session.convertedFrom,
    };
  }

  /** Appends and waits for the sync. A journal that fails makes the member resign. */
  async write(entries: readonly JournalEntry[]): Promise<Refusal | null> {
    if (entries.length === 0) return null;
    try {
      const { journal } = this.member.ports;
      if (entries.length <= APPEND_ENTRIES_MAX) {
        await journal.append(entries);
        return null;
      }
      const appends: Promise<void>[] = [];
      for (let from = 0; from < entries.length; from += APPEND_ENTRIES_MAX) {
        appends.push(journal.append(entries.slice(from, from + APPEND_ENTRIES_MAX)));
      }
      await Promise.all(appends);
      return null;
    } catch (error) {
      this.onJournalFailed(error);
      return refuse("no-mandate", "this server's journal cannot be written; ask another server");
    }
  }

  /** Writes without waiting: what is lost in a crash only makes this member count more as used. */
  note(entries: readonly JournalEntry[]): void {
    void this.write(entries);
  }

  /** False once the session was ended, by whatever message came while another was being handled. */
  isKnown(session: Session): boolean {
    return this.member.ledger.sessions.get(session.session) === session;
  }

  /** Ends a session and journals it; its seats are free, or held for what is left of their wait. */
  end(session: Session, reason: EndReason, n?: number): Promise<Refusal | null> {
    if (!this.isKnown(session)) return Promise.resolve(null);
    const { epoch } = this.lease;
    const late = this.lease.renewalIsLate();
    const holdMs = this.member.ledger.end(session, this.member.nowMs(), epoch, late);
    this.onEnded(session);
    return this.write([
      {
        kind: "end",
        session: session.session,
        n: Math.max(0, session.n, n ?? 0),
        reason,
        atMs: this.member.ports.runtime.clocks().wallMs,
        holdMs: Math.ceil(holdMs),
      },
    ]);
  }

  /** Ends what was not renewed for one life, and holds that are over; bounded work a call. */
  expire(): void {
    const nowMs = this.member.nowMs();
    for (const session of this.member.ledger.due(nowMs, DUE_A_TICK_MAX)) {
      // A seat on its way to another member is neither's until that is settled.
      if (session.state === "moving" || session.state === "granting") {
        session.expiresAtMs = nowMs + this.member.timing.retireAfterMs;
        this.member.ledger.renewLook(session);
        continue;
      }
      void this.end(session, session.state === "revoked" ? "revoked" : "expired");
    }
    const ended = this.member.ledger.endHolds(nowMs);
    if (ended.length > 0) this.note(ended.map((session) => ({ kind: "hold-end", session })));
  }

  // ---- writing the record ----------------------------------------------------------------------------

  /** A change of a feature's record by its owner. Faults of the pure functions are reasons, not bugs. */
  change(
    feature: string,
    change: (record: AllocationRecord) => RecordChange | string,
    asLeader = false,
  ): Promise<Written> {
    return this.member.state.change<AllocationRecord>(allocationKeyOf(feature), (record) => {
      if (record === null) return `there is no record of ${feature} yet`;
      const next = change(record);
      if (typeof next === "string") return next;
      if (isFault(next)) return next.detail;
      if (!asLeader) return { value: next };
      if (!this.lease.leads()) return "this server does not lead any more";
      return {
        value: next,
        compare: [{ key: LEADER_KEY, revision: this.member.state.revisionOf(LEADER_KEY) }],
      };
    });
  }

  /** Gives up to `wanted` unused seats back; resolves to how many went. */
  async giveBack(feature: string, wanted: number): Promise<number> {
    const epoch = this.lease.epoch;
    const seats = Math.min(wanted, this.unused(feature));
    if (seats <= 0) return 0;
    // The limit is lowered BEFORE the write; while the write is unknown the lower one holds.
    this.giving.set(feature, (this.giving.get(feature) ?? 0) + seats);
    const written = await this.change(feature, (record) =>
      giveBack(record, this.member.id, epoch, seats),
    );
    this.giving.set(feature, (this.giving.get(feature) ?? 0) - seats);
    return written.applied ? seats : 0;
  }

  private payingDebt = false;

  /** While there is debt every unused seat goes back against it; while others wait, to them. */
  async payDebt(): Promise<void> {
    if (this.payingDebt) return;
    this.payingDebt = true;
    try {
      for (const { feature, record } of this.member.records()) {
        const unused = this.unused(feature);
        if (unused <= 0) continue;
        if (record.debt > 0) await this.giveBack(feature, Math.min(unused, record.debt));
        else if (this.isContended(feature) && !this.lease.leads() && !this.isAwaited(feature)) {
          await this.giveBack(feature, unused);
        }
      }
    } finally {
      this.payingDebt = false;
    }
  }

  /** After the epoch was raised on purpose: what the journal proves unused becomes free at once. */
  async leaveUnused(epoch: number): Promise<void> {
    for (const { feature } of this.member.records()) {
      const unused = this.unused(feature);
      await this.change(feature, (record) => {
        const entry = entryOf(record, this.member.id);
        if (entry === null || entry.epoch !== epoch) return "there is no entry of this epoch";
        const given =
          unused > 0
            ? giveBack(record, this.member.id, epoch, Math.min(unused, entry.seats))
            : record;
        return isFault(given) ? given : retireEntry(given, this.member.id, epoch + 1);
      });
    }
  }

  // ---- returning ------------------------------------------------------------------------------------

  private reinstating = false;

  /** Takes back what is this member's of its older entries, feature by feature. */
  async reinstate(): Promise<void> {
    if (this.reinstating) return;
    this.reinstating = true;
    try {
      for (const { feature, record } of this.member.records()) {
        for (const epoch of this.olderEpochs(record)) {
          if (!this.lease.hasMandate()) return;
          await this.reinstateEntry(feature, epoch);
        }
      }
    } finally {
      this.reinstating = false;
    }
  }

  /** Epochs of this member's entries that are over, oldest first. */
  olderEpochs(record: AllocationRecord): number[] {
    const epochs = new Set<number>();
    const entry = entryOf(record, this.member.id);
    if (entry !== null && entry.epoch < this.lease.epoch) epochs.add(entry.epoch);
    for (const key of Object.keys(record.retired)) {
      const { member, epoch } = parseRetiredKey(key);
      if (member === this.member.id && epoch < this.lease.epoch) epochs.add(epoch);
    }
    return [...epochs].sort((a, b) => a - b);
  }

  private async reinstateEntry(feature: string, epoch: number): Promise<void> {
    if (epoch < this.trustedFrom) return;
    this.taking.add(feature);
    try {
      await this.write(await this.takeEntry(feature, epoch));
    } finally {
      this.taking.delete(feature);
    }
  }

  /** Writes the record and adopts the sessions; returns what is to be journaled of it. */
  private async takeEntry(feature: string, epoch: number): Promise<JournalEntry[]> {
    const present = this.lease.epoch;
    const lifeMs = effectiveLifeMs(
      this.member.feature(feature)?.lifeMs,
      this.member.options.leaseMs,
    );
    let whole = false;
    const written = await this.change(feature, (record) => {
      if (this.lease.epoch !== present) return "the epoch changed";
      const retired = retiredOf(record, this.member.id, epoch);
      whole = retired === null || (retired.of > 0 && retired.seats === retired.of);
      if (whole) return reinstateWhole(record, this.member.id, epoch, present, lifeMs);
      if (retired === null || retired.of === 0) return "it was split before";
      // Sessions of epochs that have no entry any more may sit on this one: all are counted.
      const counted = this.belongingTo(record, feature, epoch);
      const used = counted.reduce((sum, account) => sum + account.used, 0);
      const unused = Math.max(0, retired.of - used);
      return reinstateUnused(record, this.member.id, epoch, present, unused, lifeMs);
    });
    const record = this.member.record(feature)?.value;
    if (!written.applied || this.lease.epoch !== present || !whole || record === undefined)
      return [];
    const accounts = this.belongingTo(record, feature, epoch);
    // The entry's own sessions first: the seats are theirs.
    accounts.sort((a, b) => Number(b.epoch === epoch) - Number(a.epoch === epoch));
    const adopted: JournalEntry[] = [];
    for (const account of accounts) {
      // Never beyond the limit: what does not fit comes back by its clients' heartbeats.
      const fits = account.used <= this.limit(feature) - this.used(feature);
      if (account.epoch !== epoch && !fits) continue;
      adopted.push({ kind: "adopt", feature, fromEpoch: account.epoch, toEpoch: present });
      this.member.ledger.adopt(account, present);
    }
    this.member.emit("reinstated", { member: this.member.id, feature, epoch: present });
    return adopted;
  }

  /** Older accounts that count against the entry of `epoch`: its own, and those without an entry. */
  private belongingTo(record: AllocationRecord, feature: string, epoch: number): Account[] {
    const withEntry = new Set(this.olderEpochs(record));
    return this.member.ledger
      .olderAccounts(feature, this.lease.epoch)
      .filter((account) => account.epoch === epoch || !withEntry.has(account.epoch));
  }
}
