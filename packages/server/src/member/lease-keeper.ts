/**
 * Keeps this member's lease (design section 4.1): renews its record, observes the others, retires the
 * silent ones, takes an ended leadership. All these are one kind of write, to the own record, so that
 * never two of them are in flight.
 *
 *   starting --first read--> waiting --R or absent or stopped--> active --stop or broken--> ended
 */
import {
  type Clocks,
  elapsedForHolder,
  leadershipIsOver,
  type MandateVerdict,
  mandateVerdict,
  mayRetire,
  type MemberState,
  type Observation,
  observe,
  refuse,
  type Refusal,
  retireInMs,
  seenAlive,
  startVerdict,
  takeOverDelayMs,
} from "@quorate/core";
import type { KeyValue } from "../store/store.ts";
import type { MemberContext } from "./context.ts";
import {
  LEADER_KEY,
  LICENSE_KEY,
  MEMBER_PREFIX,
  memberKeyOf,
  type LeaderRecord,
  type MemberRecord,
  MEMBERS_KEY,
  type MembersRecord,
  STORE_KEY,
} from "./keys.ts";

export const EXIT_ANOTHER_LIVES = 6;
export const EXIT_BROKEN = 10;
export const EXIT_REMOVED = 11;
export const ANOTHER_LIVES =
  "another process of this member is alive (its lease is being renewed); stop it first, or give this one its own folder with: quorate member id";
const EPOCHS_KEPT_MAX = 32;
const UNREACHABLE_MS = 1_000;
const RETRY_MS = 50;
const AWAY_ALARM = "store-away";

type Phase = "starting" | "waiting" | "active" | "ended";

export class LeaseKeeper {
  phase: Phase = "starting";
  epoch = 0;
  /** Clocks at the send of the last renewal that was applied. */
  private renewalSent: Clocks | null = null;
  /** Nonces of renewals whose outcome is unknown, with the clocks of their send. */
  private readonly pending = new Map<string, Clocks>();
  private readonly observations = new Map<string, Observation>();
  /** Clocks at the send of the last read of all records; null before the first. */
  private lastReadSent: Clocks | null = null;
  /** When this member first saw each epoch of the others, for reclaiming. Oldest first. */
  private readonly sawEpochs = new Map<string, { epoch: number; atMs: number }[]>();
  private readonly unreachableUntilMs = new Map<string, number>();
  private renewing: Promise<void> | null = null;
  private takeOverAtMs: number | null = null;
  private mark = "";
  /** The store has not taken a renewal since the lease is over, and that was told. */
  private awayTold = false;
  /** The own record at the end of the wait of the start. */
  private waitedFor: MemberRecord | null = null;
  /** Set while the store is not the one it was: nothing is granted. */
  suspended = false;
  /** Why; other alarms may stand beside it. */
  suspendedBecause = "";
  onRetired: () => void = () => {};
  onRenewed: () => void = () => {};

  private readonly member: MemberContext;
  constructor(member: MemberContext) {
    this.member = member;
  }

  // ---- mandate --------------------------------------------------------------------------------------

  verdict(now: Clocks): MandateVerdict {
    const size = this.member.license?.license.pool.size;
    if (this.phase !== "active" || this.suspended || this.member.ended || size === undefined) {
      return "no-mandate";
    }
    return mandateVerdict(this.renewalSent, now, this.aliveCount(now), size, this.member.timing);
  }

  /** Read with fresh clocks before each grant and renewal, and again just before the answer leaves. */
  hasMandate(): boolean {
    return this.verdict(this.member.ports.runtime.clocks()) === "mandate";
  }

  /** Whether the last renewal is so long ago that the epoch may be over without this member knowing. */
  renewalIsLate(): boolean {
    if (this.renewalSent === null) return true;
    const now = this.member.ports.runtime.clocks();
    return elapsedForHolder(this.renewalSent, now) >= this.member.timing.mandateMs;
  }

  refusal(): Refusal | null {
    const verdict = this.verdict(this.member.ports.runtime.clocks());
    if (verdict === "mandate") return null;
    if (verdict === "no-majority") {
      return refuse(
        "no-majority",
        `${this.member.id} does not see more than half of the pool's servers; start the others or ask another server`,
      );
    }
    return refuse("no-mandate", this.whyNot());
  }

  private whyNot(): string {
    const id = this.member.id;
    if (this.member.ended || this.phase === "ended") return `${id} is stopping; ask another server`;
    if (this.suspended) {
      return `${id} does not grant: ${this.suspendedBecause}`;
    }
    if (this.member.license === null) {
      return `${id} has no license yet; install one with: quorate license install FILE --server ${this.member.options.url}`;
    }
    if (this.phase !== "active") {
      return `${id} is starting; it waits for its old lease to end (${this.member.timing.retireAfterMs} ms)`;
    }
    return `${id} could not renew its lease in the store; ask another server`;
  }

  aliveCount(now: Clocks): number {
    let alive = this.phase === "active" ? 1 : 0;
    for (const observation of this.observations.values()) {
      if (seenAlive(observation, now, this.member.timing)) alive += 1;
    }
    return alive;
  }

  isAlive(id: string): boolean {
    if (id === this.member.id) return this.phase === "active";
    const observation = this.observations.get(id);
    if (observation === undefined) return false;
    return seenAlive(observation, this.member.ports.runtime.clocks(), this.member.timing);
  }

  /** Ids of all members seen alive, this one included, in order of id. */
  aliveMembers(): string[] {
    const ids = [...this.observations.keys()].filter((id) => this.isAlive(id));
    if (this.phase === "active") ids.push(this.member.id);
    return ids.sort();
  }

  /** The epoch in which a live member may be given seats; null when it may not. */
  liveEpoch(id: string): number | null {
    if (id === this.member.id) return this.phase === "active" ? this.epoch : null;
    // A hint may have brought a newer record than the observation: a stopped one must not be given anything.
    const record = this.member.memberRecord(id);
    if (record?.state !== "active" || !this.isAlive(id)) return null;
    return this.observations.get(id)?.record.epoch === record.epoch ? record.epoch : null;
  }

  /** A member that just did not answer is not asked again for a second. */
  noteUnreachable(id: string): void {
    this.unreachableUntilMs.set(id, this.member.nowMs() + UNREACHABLE_MS);
  }

  mayReach(id: string): boolean {
    return this.isAlive(id) && (this.unreachableUntilMs.get(id) ?? 0) <= this.member.nowMs();
  }

  /** When a silent member may be retired at the earliest, ms from now. */
  retireInMs(id: string): number {
    const observation = this.observations.get(id);
    if (observation === undefined) return this.member.timing.renewEveryMs;
    return retireInMs(observation, this.member.nowMs(), this.member.timing);
  }

  /** When this member itself first saw that the epoch of another is over; null if it did not. */
  sawEndOf(id: string, epoch: number): number | null {
    const seen = this.sawEpochs.get(id) ?? [];
    return seen.find((each) => each.epoch > epoch)?.atMs ?? null;
  }

  /** Since the own lease was renewed, or another one's was seen renewed; null before the first time. */
  leaseAgeMs(id: string): number | null {
    const renewedMs =
      id === this.member.id
        ? this.renewalSent?.monotonicMs
        : this.observations.get(id)?.unchangedSinceMs;
    return renewedMs === undefined
      ? null
      : Math.max(0, Math.round(this.member.nowMs() - renewedMs));
  }

  // ---- start ----------------------------------------------------------------------------------------

  /** Before every start in this process: what was observed in a store that may be another one counts no more. */
  startAnew(): void {
    this.phase = "starting";
    this.renewalSent = null;
    // Whether the store can be reached is told again once there is a lease to renew.
    this.awayTold = false;
    this.member.clearAlarm(AWAY_ALARM);
    this.pending.clear();
    this.observations.clear();
    this.lastReadSent = null;
    this.takeOverAtMs = null;
  }

  /** Watches the own record for R; then no other process of this member has a mandate. */
  async waitForOwnLease(): Promise<"waited" | "another-lives" | "start-anew"> {
    this.phase = "waiting";
    const key = memberKeyOf(this.member.id);
    let lateSeen = false;
    let first: { record: MemberRecord | null; sinceMs: number } | null = null;
    for (;;) {
      const sent = this.member.ports.runtime.clocks();
      const outcome = await this.member.state.transact({ reads: this.reads() });
      const answeredMs = this.member.nowMs();
      if (outcome.outcome !== "unknown") {
        this.observeAll(outcome.read, sent, answeredMs);
        const current = this.member.state.get<MemberRecord>(key)?.value ?? null;
        // After a suspension a late renewal of this very process may show: that is nobody else.
        const mine = this.mark !== "" && current?.journal.mark === this.mark;
        first ??= { record: current, sinceMs: answeredMs };
        if (mine) first = { record: current, sinceMs: first.sinceMs };
        // The last renewal of a process that was killed may still arrive, once: then the wait begins again.
        const late =
          current !== null &&
          current.journal.mark === first.record?.journal.mark &&
          current.renewal !== first.record.renewal;
        if (late && !lateSeen) {
          first = { record: current, sinceMs: answeredMs };
          lateSeen = true;
        }
        this.waitedFor = current;
        const waitedMs = answeredMs - first.sinceMs;
        const verdict = startVerdict(first.record, current, waitedMs, this.member.timing);
        if (verdict === "another-lives") return "another-lives";
        if (verdict !== "wait") return "waited";
      }
      await this.member.pause(this.member.timing.renewEveryMs / 2);
      // The store may turn out to be another one in the middle of a start.
      if (this.member.ended || this.suspended) return "start-anew";
    }
  }

  /** Raises the own epoch above `least`; the record is created if it was absent. Null, or what is wrong. */
  async begin(mark: string, least: number): Promise<string | null> {
    const id = this.member.id;
    this.mark = mark;
    const { waitedFor } = this;
    const written = await this.member.state.change<MemberRecord>(memberKeyOf(id), (current) => {
      // Two copies of one folder that waited together: the second to come sees the first.
      const mine = current !== null && current.journal.mark === this.mark;
      const same =
        current?.renewal === waitedFor?.renewal &&
        current?.journal.mark === waitedFor?.journal.mark;
      if (!mine && !same) {
        return ANOTHER_LIVES;
      }
      const record = this.ownRecord(Math.max(current?.epoch ?? 0, least) + 1, current, "active");
      if (current !== null && current.state !== "removed") return { value: record };
      const members = this.member.state.get<MembersRecord>(MEMBERS_KEY);
      const ids = members?.value.ids ?? [];
      const size = this.member.license?.license.pool.size ?? 0;
      if (ids.includes(id)) return { value: record };
      if (ids.length >= size) {
        return (
          `the license allows ${size} servers and the pool has ${ids.join(", ")}; ` +
          `make room with: quorate pool remove ID`
        );
      }
      return {
        value: record,
        compare: [{ key: MEMBERS_KEY, revision: members?.revision ?? 0 }],
        puts: [
          {
            key: MEMBERS_KEY,
            value: JSON.stringify({ ids: [...ids, id], nonces: members?.value.nonces ?? {} }),
          },
        ],
      };
    });
    if (!written.applied) return written.reason;
    this.epoch = this.member.memberRecord(id)?.epoch ?? 0;
    this.phase = "active";
    return null;
  }

  private ownRecord(epoch: number, current: MemberRecord | null, state: MemberState): MemberRecord {
    const { options, ports, license } = this.member;
    return {
      epoch,
      renewal: (current?.renewal ?? 0) + 1,
      state,
      url: options.url,
      key: options.key,
      priority: options.priority,
      licenseSequence: license?.license.sequence ?? null,
      journal: { mark: this.mark, sequence: ports.journal.syncedSequence() },
      nonces: current?.nonces ?? {},
    };
  }

  // ---- renewal --------------------------------------------------------------------------------------

  /** One renewal now; a second caller shares the one under way. */
  renew(): Promise<void> {
    this.renewing ??= this.renewNow().finally(() => {
      this.renewing = null;
    });
    return this.renewing;
  }

  private async renewNow(): Promise<void> {
    if (this.phase !== "active" || this.member.ended || this.suspended) return;
    for (let attempt = 0; attempt < 4; attempt += 1) {
      const again = await this.renewOnce(attempt === 0);
      if (!again || this.phase !== "active" || this.member.ended) return;
    }
  }

  /** True when it should be tried again at once. */
  private async renewOnce(withOthers: boolean): Promise<boolean> {
    const { state, id, ports } = this.member;
    const own = state.get<MemberRecord>(memberKeyOf(id));
    if (own === null) return false;
    // A retirement may have come in by any path: a record of another epoch is never renewed as if it were mine.
    const { epoch, state: ownState, journal } = own.value;
    if (epoch !== this.epoch || ownState === "removed" || journal.mark !== this.mark) {
      return this.lookAtOwn();
    }
    const nonce = ports.runtime.nonce();
    const sent = ports.runtime.clocks();
    const compare = [{ key: memberKeyOf(id), revision: own.revision }];
    const puts = [
      {
        key: memberKeyOf(id),
        value: JSON.stringify({
          ...this.ownRecord(this.epoch, own.value, "active"),
          nonces: { ...own.value.nonces, [id]: nonce },
        }),
      },
    ];
    if (withOthers && this.verdict(sent) === "mandate") this.addOthers(nonce, compare, puts);
    const outcome = await state.transact({ compare, puts, reads: this.reads() });
    if (outcome.outcome === "unknown") {
      this.pending.set(nonce, sent);
      this.tellAway(outcome.reason);
      ports.runtime.after(RETRY_MS, () => void this.renew());
      return false;
    }
    this.observeAll(outcome.read, sent, this.member.nowMs());
    if (outcome.outcome === "applied") {
      this.pending.clear();
      this.renewalSent = sent;
      this.awayTold = false;
      this.member.clearAlarm(AWAY_ALARM);
      this.onRenewed();
      return false;
    }
    return this.lookAtOwn();
  }

  /** Once the lease is over; in the words of its beginning, because they change with each address that is tried. */
  private tellAway(reason: string): void {
    if (!this.renewalIsLate() || this.awayTold) return;
    this.awayTold = true;
    this.member.alarm(
      AWAY_ALARM,
      `this server grants nothing: its lease could not be renewed in the store: ${reason}`,
    );
  }

  /** Retirements of silent members and the take-over of an ended leadership, in the same write. */
  private addOthers(
    nonce: string,
    compare: { key: string; revision: number }[],
    puts: { key: string; value: string }[],
  ): void {
    const { id, timing } = this.member;
    const nowMs = this.member.nowMs();
    for (const [other, observation] of this.observations) {
      if (!mayRetire(observation, nowMs, timing)) continue;
      const { record, revision } = observation;
      const retired: MemberRecord = {
        ...record,
        epoch: record.epoch + 1,
        state: "retired",
        nonces: { ...record.nonces, [id]: nonce },
      };
      compare.push({ key: memberKeyOf(other), revision });
      puts.push({ key: memberKeyOf(other), value: JSON.stringify(retired) });
    }
    if (this.takeOverAtMs === null || nowMs < this.takeOverAtMs || !this.leadershipIsOver()) return;
    const leader = this.member.leaderRecord();
    const next: LeaderRecord = {
      member: id,
      epoch: this.epoch,
      term: (leader?.value.term ?? 0) + 1,
      nonces: { ...leader?.value.nonces, [id]: nonce },
    };
    compare.push({ key: LEADER_KEY, revision: leader?.revision ?? 0 });
    puts.push({ key: LEADER_KEY, value: JSON.stringify(next) });
  }

  /** After a rejected renewal: was an unknown one applied, was I retired, or does another process live? */
  private lookAtOwn(): boolean {
    const { id } = this.member;
    const own = this.member.memberRecord(id);
    if (own === null) return false;
    const sent = this.pending.get(own.nonces[id] ?? "");
    if (sent !== undefined) {
      this.renewalSent = sent;
      this.pending.clear();
    }
    // A retirement, a removal and a rebuild keep the mark; only a process of this member sets another.
    if (own.journal.mark !== this.mark) {
      this.leave(EXIT_ANOTHER_LIVES, "another process of this member renews its lease");
      return false;
    }
    if (own.state === "removed") {
      this.leave(EXIT_REMOVED, "this server was removed from the pool by an administrator");
      return false;
    }
    if (own.epoch > this.epoch) {
      this.member.ports.log.warn(
        "this server was retired by another; it returns under a new epoch",
        {
          epoch: own.epoch,
        },
      );
      this.member.emit("member-retired", { member: id, epoch: own.epoch });
      this.epoch = own.epoch;
      this.renewalSent = null;
      this.pending.clear();
      this.onRetired();
      return true;
    }
    return true;
  }

  private leave(code: number, reason: string): void {
    if (this.member.ended) return;
    this.phase = "ended";
    this.member.ended = true;
    this.member.ports.log.error(reason);
    this.member.options.onExit({ code, reason });
  }

  private reads(): string[] {
    return [MEMBER_PREFIX, LEADER_KEY, LICENSE_KEY, STORE_KEY, MEMBERS_KEY];
  }

  /** Takes the records of the others as read by this member itself: only that starts and ends waits. */
  private observeAll(read: readonly KeyValue[], sent: Clocks, answeredMs: number): void {
    const { id, timing } = this.member;
    for (const { key, revision } of read) {
      if (!key.startsWith(MEMBER_PREFIX)) continue;
      const other = key.slice(MEMBER_PREFIX.length);
      // What was taken in may be newer than this read, by a hint; then it is the one to observe.
      const known = this.member.state.get<MemberRecord>(key);
      if (known === null) continue;
      this.noteEpoch(other, known.value.epoch, answeredMs);
      if (other === id || known.revision !== revision) continue;
      const before = this.observations.get(other) ?? null;
      const { lastReadSent } = this;
      const absent = lastReadSent === null ? null : { record: null, lastSent: lastReadSent };
      const next = observe(before ?? absent, known.value, revision, sent, answeredMs, timing);
      this.observations.set(other, next);
      this.tellTransition(other, before, next);
    }
    this.lastReadSent = sent;
    this.scheduleTakeOver(answeredMs);
  }

  private tellTransition(other: string, previous: Observation | null, next: Observation): void {
    if (previous === null || previous.record.epoch === next.record.epoch) return;
    const what = next.record.state === "active" ? "member-returned" : `member-${next.record.state}`;
    this.member.ports.log.info(`${other}: ${what}`, { epoch: next.record.epoch });
    this.member.emit(what, { member: other, epoch: next.record.epoch });
  }

  private noteEpoch(id: string, epoch: number, atMs: number): void {
    const seen = this.sawEpochs.get(id) ?? [];
    const last = seen.at(-1);
    if (last !== undefined && last.epoch >= epoch) return;
    seen.push({ epoch, atMs });
    // Dropping the oldest makes a wait longer, never shorter.
    if (seen.length > EPOCHS_KEPT_MAX) seen.shift();
    this.sawEpochs.set(id, seen);
  }

  // ---- leadership -----------------------------------------------------------------------------------

  leadershipIsOver(): boolean {
    const leader = this.member.leaderRecord()?.value ?? null;
    return leadershipIsOver(
      leader,
      leader === null ? null : this.member.memberRecord(leader.member),
    );
  }

  /** The live leader: whose key it is and whose epoch still runs. */
  leader(): LeaderRecord | null {
    return this.leadershipIsOver() ? null : (this.member.leaderRecord()?.value ?? null);
  }

  leads(): boolean {
    const leader = this.leader();
    return (
      this.phase === "active" && leader?.member === this.member.id && leader.epoch === this.epoch
    );
  }

  /** A key changed by whatever path: an ended leadership is noticed at once. */
  notice(key: string): void {
    if (key === LEADER_KEY || key.startsWith(MEMBER_PREFIX)) {
      this.scheduleTakeOver(this.member.nowMs());
    }
  }

  private scheduleTakeOver(nowMs: number): void {
    if (this.phase !== "active" || !this.leadershipIsOver()) {
      this.takeOverAtMs = null;
      return;
    }
    if (this.takeOverAtMs !== null) return;
    const candidates = this.aliveMembers().map((id) => ({
      id,
      priority:
        id === this.member.id
          ? this.member.options.priority
          : (this.member.memberRecord(id)?.priority ?? 0),
    }));
    const { runtime } = this.member.ports;
    const delayMs = takeOverDelayMs(this.member.id, candidates, runtime.random());
    this.takeOverAtMs = nowMs + delayMs;
    runtime.after(delayMs + 1, () => void this.renew());
  }

  // ---- end ------------------------------------------------------------------------------------------

  /**
   * Resigns: nothing is answered in this epoch any more, then the epoch is raised with the mark in one
   * write. Resolves false when the store did not take it in time: that is a death, and as safe.
   */
  async resign(state: "stopped" | "broken"): Promise<boolean> {
    if (this.phase !== "active") {
      this.phase = "ended";
      return false;
    }
    this.phase = "ended";
    await this.renewing;
    const ended = this.epoch;
    const written = await this.member.state.change<MemberRecord>(
      memberKeyOf(this.member.id),
      (current) =>
        current === null || current.epoch !== ended
          ? "the epoch was raised by another member"
          : { value: this.ownRecord(ended + 1, current, state) },
    );
    return written.applied;
  }

  knownEpochs(): Record<string, number> {
    const epochs: Record<string, number> = {};
    for (const [id, seen] of this.sawEpochs) epochs[id] = seen.at(-1)?.epoch ?? 0;
    return epochs;
  }
}
