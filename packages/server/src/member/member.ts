/**
 * One member of a pool: the rules of `@quorate/core` against store, journal, clocks and other members,
 * all through ports. What it is asked comes in as values (`api.ts`) and leaves as values.
 *
 * This file holds the order of things: how a member starts, what it does regularly, how it ends.
 * The answers to clients are in `desk.ts`, those to members in `peer-desk.ts`.
 */
import {
  entryOf,
  journalIsWhole,
  parseRetiredKey,
  type Refusal,
  refuse,
  serverLifeMs,
} from "@quorate/core";
import type { MemberEvent } from "@quorate/protocol";
import type { JournalEntry, Recovered } from "../journal/journal.ts";
import type { Change } from "../store/store.ts";
import type { MemberOptions } from "./api.ts";
import { MemberContext } from "./context.ts";
import { Conversions } from "./conversions.ts";
import { Desk } from "./desk.ts";
import {
  ALLOCATION_PREFIX,
  LEADER_KEY,
  LICENSE_KEY,
  MEMBERS_KEY,
  MEMBER_PREFIX,
  memberKeyOf,
  type MemberRecord,
  STORE_KEY,
  TOKENS_KEY,
} from "./keys.ts";
import { Leader } from "./leader.ts";
import { ANOTHER_LIVES, EXIT_ANOTHER_LIVES, EXIT_BROKEN, LeaseKeeper } from "./lease-keeper.ts";
import { LicenseKeeper } from "./license-keeper.ts";
import type { PeerAnswer, PeerCall } from "./peer-calls.ts";
import { PeerDesk } from "./peer-desk.ts";
import { PoolView } from "./pool-view.ts";
import type { MemberPorts } from "./ports.ts";
import { Reporter } from "./reporter.ts";
import { Seats } from "./seats.ts";
import { isRebuildKey, StoreGuard } from "./store-guard.ts";
import { UsageReport } from "./usage-report.ts";
import { TokenKeeper } from "./token-keeper.ts";
import { Wants } from "./wants.ts";

const HOUSEKEEPING_MS = 200;
const REPORT_MS = 1_000;
const FULL_READ_MS = 5_000;
const RETIRED_EPOCH_WAIT_MS = 100;
const EXIT_NO_PLACE = 12;
const EXIT_LICENSE_INVALID = 5;

export class Member {
  private readonly context: MemberContext;
  private readonly lease: LeaseKeeper;
  private readonly seats: Seats;
  private readonly guard: StoreGuard;
  private readonly licenses: LicenseKeeper;
  private readonly view: PoolView;
  private readonly leader: Leader;
  private readonly reporter: Reporter;
  private readonly desk: Desk;
  private readonly peers: PeerDesk;
  private readonly usageReport: UsageReport;
  /** Who may ask what over HTTP; the seats know nothing of it. */
  readonly tokens: TokenKeeper;
  private joining: Promise<void> | null = null;
  private mark = "";
  private provenMark = "";
  private recovered: Recovered | null = null;
  private hintedKeys: Set<string> | null = null;
  private broken = false;

  constructor(options: MemberOptions, ports: MemberPorts) {
    const context = new MemberContext(options, ports);
    this.context = context;
    this.lease = new LeaseKeeper(context);
    this.seats = new Seats(context, this.lease);
    this.guard = new StoreGuard(context, this.lease);
    this.licenses = new LicenseKeeper(context);
    this.view = new PoolView(context, this.lease);
    this.leader = new Leader(context, this.lease, this.seats, this.view);
    this.reporter = new Reporter(context, this.lease, this.seats, this.view);
    this.tokens = new TokenKeeper(context);
    const wants = new Wants(context, this.lease, this.seats, this.leader);
    const conversions = new Conversions(context, this.lease, this.seats, this.leader, this.view);
    this.desk = new Desk(
      context,
      this.lease,
      this.seats,
      this.guard,
      this.licenses,
      this.view,
      this.leader,
      wants,
      conversions,
    );
    this.peers = new PeerDesk(
      context,
      this.lease,
      this.seats,
      this.view,
      this.leader,
      this.reporter,
      conversions,
      this.desk,
    );
    this.usageReport = new UsageReport(context, this.lease);
    this.seats.isAwaited = (feature) => wants.pending(feature);
    this.connect();
  }

  private connect(): void {
    const { state } = this.context;
    state.onBackwards = (revision, seen) => this.guard.backwards(revision, seen);
    state.onKeyBackwards = (key) => this.guard.keyBackwards(key);
    state.onStoreLost = (reason) => this.guard.lost(reason);
    state.isTrusted = () => !this.lease.suspended;
    state.isSameStore = (stored) => this.guard.isSame(stored);
    state.onChange = (key) => this.noticeChange(key);
    this.seats.onChanged = (session) => this.reporter.sessionChanged(session);
    this.seats.onEnded = (session) => {
      this.reporter.sessionEnded(session);
      if (this.seats.isContended(session.feature)) void this.seats.payDebt();
    };
    this.seats.onJournalFailed = (error) => this.breakDown(wordsOf(error));
    this.guard.onJournalFailed = (error) => this.breakDown(wordsOf(error));
    this.lease.onRenewed = () => {
      // The renewal read the store's id in its own commit: nothing is granted by a store that is not the one.
      this.guard.check();
      if (this.lease.suspended) return;
      this.context.ledger.epochGoesOn(this.lease.epoch);
      void this.seats.reinstate().catch((e: unknown) => this.context.crash(e));
    };
    this.lease.onRetired = () => this.reporter.everything();
  }

  // ---- start ----------------------------------------------------------------------------------------

  /** Begins to work; resolves when the member grants or has ended. */
  async start(): Promise<void> {
    const { ports } = this.context;
    this.recovered = await ports.journal.recover();
    this.guard.recall(this.recovered.facts);
    this.mark = ports.runtime.nonce();
    ports.store.watch("", 0, (change) => this.hint(change));
    await this.join();
    if (this.context.ended) return;
    const { timing } = this.context;
    this.context.repeat(timing.renewEveryMs, () => this.regularly());
    this.context.repeat(HOUSEKEEPING_MS, () => this.keepHouse());
    this.context.repeat(REPORT_MS, () => this.report());
    this.context.repeat(FULL_READ_MS, () => this.readAll());
    while (!this.lease.hasMandate() && !this.context.ended) {
      await this.context.pause(RETIRED_EPOCH_WAIT_MS);
    }
  }

  private join(): Promise<void> {
    this.joining ??= this.joinNow()
      .catch((error: unknown) => this.context.crash(error))
      .finally(() => {
        this.joining = null;
      });
    return this.joining;
  }

  /** The store may turn out to be another one at any moment of a start: then it begins anew. */
  private async joinNow(): Promise<void> {
    while (!(await this.tryToJoin()));
  }

  /** True when the member has joined or ended. */
  private async tryToJoin(): Promise<boolean> {
    const { state, timing, ports } = this.context;
    this.lease.startAnew();
    for (;;) {
      if (this.context.ended) return true;
      if (this.guard.rebuilding > 0) {
        await this.context.pause(timing.renewEveryMs);
        continue;
      }
      state.forget();
      const reads = [STORE_KEY, memberKeyOf(this.context.id)];
      const outcome = await state.transact({ reads });
      if (outcome.outcome !== "unknown" && (await this.guard.recognise())) break;
      await this.context.pause(timing.renewEveryMs);
    }
    // Nothing is granted before the start is over, but the store may be written to again.
    this.lease.suspended = false;
    for (;;) {
      const brought = await this.licenses.bringOwn();
      if (this.context.ended) return true;
      if (typeof brought === "object") {
        this.leave(EXIT_LICENSE_INVALID, brought.foreign);
        return true;
      }
      if (brought === "done") break;
      if (this.lease.suspended) return false;
      await this.context.pause(timing.renewEveryMs);
    }
    let told = false;
    for (;;) {
      await state.transact({
        reads: [LICENSE_KEY, MEMBER_PREFIX, LEADER_KEY, MEMBERS_KEY, TOKENS_KEY],
      });
      await this.licenses.follow();
      if (this.lease.suspended) return false;
      if (this.context.license !== null || this.context.ended) break;
      if (!told) ports.log.info(this.lease.refusal()?.detail ?? "waiting for a license");
      told = true;
      await this.context.pause(timing.renewEveryMs);
    }
    const waited = await this.lease.waitForOwnLease();
    if (this.context.ended) return true;
    if (waited === "start-anew") return false;
    if (waited === "another-lives") {
      this.leave(EXIT_ANOTHER_LIVES, ANOTHER_LIVES);
      return true;
    }
    return this.begin();
  }

  private async begin(): Promise<boolean> {
    const { ports, state, id } = this.context;
    const record = state.get<MemberRecord>(memberKeyOf(id))?.value ?? null;
    this.restore(record);
    try {
      await ports.journal.append([
        { kind: "fact", name: "trusted-from", value: String(this.seats.trustedFrom) },
        // Until the record bears the new mark, the one it bears proves as much.
        { kind: "fact", name: "previous-mark", value: this.provenMark },
        { kind: "fact", name: "mark", value: this.mark },
        { kind: "fact", name: "journal-file", value: this.context.options.journalFile ?? "" },
      ]);
    } catch (error) {
      this.breakDown(wordsOf(error));
      return true;
    }
    const problem = await this.lease.begin(this.mark, this.guard.leastEpoch);
    if (problem !== null && this.lease.suspended) return false;
    if (problem !== null) {
      this.leave(problem === ANOTHER_LIVES ? EXIT_ANOTHER_LIVES : EXIT_NO_PLACE, problem);
      return true;
    }
    this.context.clearAlarm("store");
    // The records say what life may have been granted, so they are read before any life begins to run out.
    while ((await state.transact({ reads: [ALLOCATION_PREFIX] })).outcome === "unknown") {
      if (this.context.ended) return true;
      if (this.lease.suspended) return false;
      await this.context.pause(RETIRED_EPOCH_WAIT_MS);
    }
    this.context.ledger.activate(this.context.nowMs(), (feature) => this.longestLifeMs(feature));
    await this.lease.renew();
    return true;
  }

  /** The journal's sessions, if it holds all that the record says was synced. */
  private restore(record: MemberRecord | null): void {
    const { ledger, ports } = this.context;
    const recovered = this.recovered;
    if (recovered === null) return;
    this.recovered = null;
    const marks = [recovered.facts.get("mark"), recovered.facts.get("previous-mark")];
    const mark = marks.find((each) => each === record?.journal.mark) ?? null;
    this.provenMark = mark ?? "";
    const whole =
      record === null
        ? recovered.sessions.length === 0
        : journalIsWhole({ mark, sequence: recovered.sequence }, record) &&
          // After a stop on purpose the published sequence is the last one, and a copy is as good.
          (record.state === "stopped" || this.isSameFile(recovered));
    if (!whole) {
      // Whatever this journal says from now on, it cannot prove anything of the epochs before.
      this.seats.trustedFrom = (record?.epoch ?? 0) + 1;
      this.seats.note(refusedEntries(recovered, ports.runtime.clocks().wallMs));
      ports.log.warn(
        "the journal is not the one this member worked with last (a restored or copied folder, or a new disk): none of its seats is taken back; they become free after their wait",
      );
      return;
    }
    this.seats.trustedFrom = Number(recovered.facts.get("trusted-from") ?? 0);
    for (const session of recovered.sessions) {
      ledger.restore({ ...session, convertedFrom: null }, recovered.revoked.has(session.session));
    }
    for (const hold of recovered.holds) ledger.restoreHold(hold);
    // Which feature it was of is not known any more: for the longest life that any had.
    const untilMs = this.context.nowMs() + serverLifeMs(this.guard.longestLifeMs);
    for (const { session, n } of recovered.tombstones) ledger.restoreTombstone(session, n, untilMs);
  }

  private isSameFile(recovered: Recovered): boolean {
    const before = recovered.facts.get("journal-file") ?? "";
    const { journalFile } = this.context.options;
    return before === "" || journalFile === null || before === journalFile;
  }

  /** The longest life that any entry of this member allows; a rebuild put its entries among all others'. */
  private longestLifeMs(feature: string): number {
    const record = this.context.record(feature)?.value;
    if (record === undefined) return this.guard.longestLifeMs;
    const retired = Object.entries(record.retired);
    const own = retired
      .filter(([key]) => parseRetiredKey(key).member === this.id)
      .map(([, entry]) => entry.lifeMs);
    const rebuilt = retired.some(([key]) => isRebuildKey(key)) ? [this.guard.longestLifeMs] : [];
    return Math.max(entryOf(record, this.id)?.lifeMs ?? 0, ...own, ...rebuilt);
  }

  private leave(code: number, reason: string): void {
    if (this.context.ended) return;
    this.context.ended = true;
    this.context.ports.log.error(reason);
    this.context.options.onExit({ code, reason });
  }

  // ---- regular work ---------------------------------------------------------------------------------

  private async regularly(): Promise<void> {
    if (this.lease.suspended && this.lease.phase === "active") {
      await this.join();
      return;
    }
    await this.lease.renew();
    this.guard.check();
    this.guard.note();
  }

  private async keepHouse(): Promise<void> {
    this.watchJournal();
    if (this.lease.phase !== "active") return;
    this.seats.expire();
    if (!this.lease.hasMandate()) {
      // A mandate that is found over is renewed at once.
      await this.lease.renew();
      return;
    }
    await this.licenses.follow();
    await this.licenses.offerKept();
    await this.seats.lowerLives();
    await this.seats.forgetHandedOver();
    await this.seats.payDebt();
    await this.leader.keepOrder();
    this.view.forgetReclaimed();
  }

  private async report(): Promise<void> {
    await this.reporter.send();
    if (!this.lease.leads()) return;
    for (const id of this.lease.aliveMembers()) {
      for (const { feature } of this.context.records()) {
        const unused =
          id === this.context.id
            ? this.seats.unused(feature)
            : (this.view.feature(id, feature)?.unused ?? null);
        if (unused !== null) await this.leader.topUp(id, feature, unused);
      }
    }
  }

  private async readAll(): Promise<void> {
    if (this.lease.phase !== "active") return;
    await this.context.state.transact({ reads: [ALLOCATION_PREFIX, TOKENS_KEY] });
  }

  /** A watch is a hint to read: all keys it names within one turn are read together. */
  private hint({ key, revision, value }: Change): void {
    if (this.context.ended || this.lease.phase === "starting") return;
    if (revision <= this.context.state.revisionOf(key)) return;
    if (key.startsWith(MEMBER_PREFIX) && value !== null && this.isMereRenewal(key, value)) return;
    if (this.hintedKeys !== null) {
      this.hintedKeys.add(key);
      return;
    }
    this.hintedKeys = new Set([key]);
    this.context.ports.runtime.after(1, () => {
      const keys = [...(this.hintedKeys ?? [])];
      this.hintedKeys = null;
      const reads = keys.length > 50 ? [ALLOCATION_PREFIX, MEMBER_PREFIX, LEADER_KEY] : keys;
      void this.context.state.transact({ reads }).catch((e: unknown) => this.context.crash(e));
    });
  }

  /** The member records are read by every renewal; only what ends a wait sooner is worth a read of its own. */
  private isMereRenewal(key: string, value: string): boolean {
    const known = this.context.state.get<MemberRecord>(key)?.value;
    const told = JSON.parse(value) as MemberRecord;
    return known?.epoch === told.epoch && known.state === told.state;
  }

  private noticeChange(key: string): void {
    if (key === LICENSE_KEY) {
      void this.licenses.follow().catch((e: unknown) => this.context.crash(e));
    }
    if (key === LEADER_KEY) {
      this.reporter.everything();
      void this.reporter.send().catch((e: unknown) => this.context.crash(e));
    }
    this.desk.forgetServers(key);
    this.lease.notice(key);
  }

  // ---- end ------------------------------------------------------------------------------------------

  private watchJournal(): void {
    const sinceMs = this.context.ports.journal.syncingSinceMs();
    if (sinceMs === null) return;
    if (this.context.nowMs() - sinceMs > this.context.timing.leaseMs / 2) {
      this.breakDown("the journal has not synced for half a lease; look at the disk");
    }
  }

  private breakDown(reason: string): void {
    if (this.broken || this.context.ended) return;
    this.broken = true;
    const words = `this server resigns: ${reason}`;
    this.context.alarm("journal", words);
    // The store may be away as well; then this is a death, and as safe.
    const bound = this.context.pause(this.context.timing.retireAfterMs);
    void Promise.race([this.lease.resign("broken").catch(() => false), bound]).then(() =>
      this.leave(EXIT_BROKEN, words),
    );
  }

  /** Gives its unused seats back and ends; its clients go to the others as after a death, without the wait. */
  async stop(): Promise<void> {
    if (this.context.ended) return;
    const epoch = this.lease.epoch;
    const wasActive = this.lease.phase === "active";
    const resigned = await this.lease.resign("stopped");
    if (wasActive && resigned) await this.seats.leaveUnused(epoch);
    // A backup of the store made a moment before the stop must be known as one.
    await this.guard.noteNow().catch(() => undefined); // It stops anyway; a failed disk changes nothing.
    this.context.ended = true;
  }

  // ---- the public face ------------------------------------------------------------------------------

  get id(): string {
    return this.context.id;
  }

  readiness(): Refusal | null {
    return this.lease.refusal();
  }

  memberKey(member: string): string | null {
    // A removed server's key signs nothing any more.
    const record = this.context.memberRecord(member);
    return record === null || record.state === "removed" ? null : record.key;
  }

  subscribe(listener: (event: MemberEvent) => void): () => void {
    return this.context.subscribe(listener);
  }

  /** For what the world around the member finds: an alarm in the pool's answer until it is null. */
  setAlarm(name: string, sentence: string | null): void {
    if (sentence === null) this.context.clearAlarm(name);
    else this.context.alarm(name, sentence);
  }

  /** An event that the world around the member found out. */
  tell(type: string, data: Readonly<Record<string, unknown>>): void {
    this.context.emit(type, data);
  }

  checkout: Desk["checkout"] = (request) => this.desk.checkout(request);
  heartbeat: Desk["heartbeat"] = (request) => this.desk.heartbeat(request);
  holds = (session: string): boolean => this.context.ledger.sessions.has(session);
  release: Desk["release"] = (request) => this.desk.release(request);
  /** What this member holds is its own to tell, whoever leads: it alone knows when it was renewed. */
  authorizations: Desk["authorizations"] = (query) =>
    query.member === this.id ? this.view.page(query, false) : this.desk.authorizations(query);
  features: Desk["features"] = () => this.desk.features();
  pool: Desk["pool"] = () => this.desk.pool();
  usage: UsageReport["answer"] = (query) => this.usageReport.answer(query);
  usageSeries: UsageReport["answerSeries"] = (query) => this.usageReport.answerSeries(query);
  denials: UsageReport["answerDenials"] = (query) => this.usageReport.answerDenials(query);
  license: LicenseKeeper["answer"] = () => this.licenses.answer();
  licenseHistory: LicenseKeeper["history"] = () => this.licenses.history();
  installLicense: LicenseKeeper["install"] = (text, by) => this.licenses.install(text, by);
  lead: Desk["lead"] = (member) => this.desk.lead(member);
  remove: Desk["remove"] = (member) => this.desk.remove(member);
  rebuild: Desk["rebuild"] = () => this.desk.rebuild();

  peer(from: string, call: PeerCall): Promise<PeerAnswer> {
    if (this.context.ended || this.lease.phase !== "active") {
      const refusal = refuse("no-mandate", `${this.id} is not at work`);
      return Promise.resolve({ ok: false, refusal });
    }
    return this.peers.answer(from, call);
  }
}

/** What a journal says that is not believed is closed in it: it would stay open in the history for ever. */
function refusedEntries(recovered: Recovered, atMs: number): JournalEntry[] {
  return recovered.sessions.map(({ session, n, holdMs }) => ({
    kind: "end",
    session,
    n,
    reason: "superseded",
    atMs,
    holdMs,
  }));
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
