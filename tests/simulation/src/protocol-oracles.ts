/**
 * Oracles that see a broken rule before it has done harm. An over-issue needs a client that takes the seat
 * in the right second; these look at what would let it happen, after every event and in true time.
 *
 * - issuable: what clients believe in, and what members could grant at this moment, is never more than what
 *   the record says is out (I1 before anybody has asked for the seat).
 * - fence: no epoch is raised while its member may still grant in it, and no answer leaves after (4.1).
 * - patience: nobody is retired by a member that has not looked at it all the time (4.1, the gap rule).
 * - leader: only the leader takes free seats or gives them to others (4.2, 4.3).
 * - confirm: a retired seat moves only for a session of that very entry that has confirmed (4.4.3).
 * - released: nothing is granted on a message that is older than an answered release (4.6).
 * - early: no session expires while its client believes in what the same member answered (4.6).
 * - hold: a session that was moved ends with the rest of its wait (4.4.3).
 * - resize: nothing new is granted by a member that has read a newer license than the record (4.3).
 * - limit: a returned member takes along no sessions of other epochs that don't fit (4.5).
 * - broken: a member whose journal has failed a write renews its lease no more (4.1).
 */
import { LIFE_IN_LEASES_MIN, serverLifeMs, type Timing } from "@quorate/core";
import type { Belief } from "./belief.ts";
import type { JournalEntry, Transaction } from "./server-parts.ts";
import type { VirtualProcess } from "./virtual-machine.ts";
import type { VirtualMember } from "./virtual-member.ts";

export interface ProtocolWorld {
  readonly nowMs: () => number;
  readonly timing: Timing;
  readonly members: readonly VirtualMember[];
  readonly beliefs: () => Iterable<Belief>;
  readonly sharedByMistake: ReadonlySet<string>;
  readonly violated: (rule: string, what: string) => void;
}

export class ProtocolOracles {
  readonly #world: ProtocolWorld;
  readonly #epochs = new Map<string, MemberShape>();
  readonly #records = new Map<string, RecordShape>();
  /** When a machine heard an answer of the store, by its own monotonic clock, oldest first. */
  readonly #reads = new Map<string, number[]>();
  readonly #sessions = new Map<string, Journaled>();
  /** Processes that were told that their journal failed, by the monotonic clock. */
  readonly #brokenSinceMs = new Map<VirtualProcess, number>();
  /** Which folder each member has its journal in. */
  readonly #folders = new Map<string, string>();
  /** Members of which two processes were seen: whose journal an entry is in can't be told. */
  readonly #twice = new Set<string>();
  #leader = "";
  #changed = true;

  constructor(world: ProtocolWorld) {
    this.#world = world;
  }

  /** Every transaction of a member that reached the store, also one that was rejected. */
  storeHandled({ name, machine }: VirtualProcess): void {
    const member = this.#world.members.find(({ id }) => id === name);
    if (member !== undefined && member.machine !== machine.name) this.#twice.add(name);
  }

  /** An answer of the store reached a member. */
  storeAnswered({ machine }: VirtualProcess): void {
    const times = this.#reads.get(machine.name) ?? [];
    times.push(machine.clocks().monotonicMs);
    if (times.length > READS_KEPT_MAX) times.splice(0, READS_KEPT_MAX / 2);
    this.#reads.set(machine.name, times);
  }

  storeApplied(process: VirtualProcess, transaction: Transaction, sentMs: number): void {
    this.#changed = true;
    const by = process.name;
    const rebuilt = transaction.puts.some(({ key }) => key === "store");
    for (const { key, value } of transaction.puts) {
      if (key.startsWith(MEMBER)) {
        const next: MemberShape = JSON.parse(value);
        // A write of only a nonce, to settle an unknown outcome, renews nothing.
        const renews = next.renewal > (this.#epochs.get(by)?.renewal ?? 0);
        if (key === MEMBER + by && next.state === "active" && renews) {
          this.#checkBroken(process, sentMs);
        }
        this.#memberWritten(process, key.slice(MEMBER.length), next, sentMs, rebuilt);
      } else if (key.startsWith(ALLOCATION)) {
        const next: RecordShape = JSON.parse(value);
        if (!rebuilt) this.#recordWritten(by, key.slice(ALLOCATION.length), next);
        this.#records.set(key.slice(ALLOCATION.length), next);
      } else if (key === "leader") {
        const next: { readonly member: string } = JSON.parse(value);
        this.#leader = next.member;
      }
    }
  }

  /** The store is as it was in a backup: nothing is known until it is written again. */
  storeRestored(): void {
    this.#epochs.clear();
    this.#records.clear();
  }

  /** A positive answer leaves. */
  answered(member: string): void {
    this.#changed = true;
    const record = this.#epochs.get(member);
    if (record === undefined || record.state === "active") return;
    this.#world.violated(
      "fence",
      `${member} answered though its record says ${record.state}, epoch ${record.epoch}`,
    );
  }

  beliefChanged(): void {
    this.#changed = true;
  }

  confirmAsked(member: string, session: string, nonce: string): void {
    this.#journaled(member, session).asked = nonce;
  }

  confirmGiven(member: string, session: string, nonce: string): void {
    const journaled = this.#journaled(member, session);
    if (journaled.asked !== nonce) return;
    // It is good once: a copy that the network brings later confirms nothing.
    journaled.asked = "";
    journaled.confirmedMs = this.#world.nowMs();
  }

  /** A release was answered. */
  released(member: string, session: string, n: number): void {
    const journaled = this.#journaled(member, session);
    journaled.releasedN = n;
    journaled.releasedMs = this.#world.nowMs();
  }

  journalAppended(member: string, entries: readonly JournalEntry[]): void {
    this.#changed = true;
    const writer = this.#world.members.find(({ id }) => id === member);
    if (writer !== undefined) this.#lookAtFolder(writer);
    const process = writer?.process() ?? null;
    if (
      process !== null &&
      writer?.disk.hasFailed() === true &&
      !this.#brokenSinceMs.has(process)
    ) {
      this.#brokenSinceMs.set(process, process.machine.clocks().monotonicMs);
    }
    for (const entry of entries) {
      if (entry.kind === "grant") {
        if (writer !== undefined) this.#checkResized(writer, entry);
        const journaled = this.#journaled(member, entry.session);
        journaled.seats = entry.seats;
        journaled.feature = entry.feature;
        // A hand-made message without a number counts as the newest, also after a release; whoever numbers as he
        // likes may release below what the member has seen, and then nothing is buried.
        const isHandMade = entry.n < 0 || entry.holder.user.startsWith(MISCHIEF);
        // So may one of two who share a session by mistake: the other's number was higher.
        const isShared = this.#world.sharedByMistake.has(entry.session);
        // A newer message takes the session up again, as those do who share one by mistake.
        if (isHandMade || isShared || entry.n > journaled.releasedN) journaled.releasedN = -1;
        else if (entry.n < journaled.releasedN && this.#isBuried(journaled)) {
          this.#world.violated(
            "released",
            `${member} granted ${entry.session} on message ${entry.n}, it was released by ${journaled.releasedN}`,
          );
        }
        journaled.epoch = entry.epoch;
        journaled.from = entry.convertedFrom;
        journaled.holdMs = entry.holdMs;
        if (entry.holdMs === 0) journaled.heldUntilMs = 0;
        this.#place(entry.session, `${member}/${entry.epoch}`);
      } else if (entry.kind === "adopt") {
        const from = `${member}/${entry.fromEpoch}`;
        for (const places of this.#places.values()) {
          if (places.has(from)) places.add(`${member}/${entry.toEpoch}`);
        }
        for (const [, journaled] of this.#sessionsAt(member)) {
          if (journaled.feature !== entry.feature || journaled.epoch !== entry.fromEpoch) continue;
          journaled.epoch = entry.toEpoch;
        }
      } else if (entry.kind === "end") {
        this.#ended(member, entry);
      }
    }
    if (writer !== undefined) this.#checkAdopted(writer, entries);
  }

  // ---- members ----------------------------------------------------------------------------------------

  /** A folder that was set back, or is new, knows nothing of what was held or released since. */
  #lookAtFolder({ id, disk }: VirtualMember): void {
    const before = this.#folders.get(id);
    this.#folders.set(id, disk.file());
    if (before === undefined || before === disk.file()) return;
    for (const [, journaled] of this.#sessionsAt(id)) {
      journaled.epoch = -1;
      journaled.heldUntilMs = 0;
      journaled.releasedN = -1;
    }
  }

  #checkBroken(process: VirtualProcess, sentMs: number): void {
    const sinceMs = this.#brokenSinceMs.get(process);
    if (sinceMs === undefined || this.#twice.has(process.name)) return;
    if (sentMs - sinceMs <= this.#world.timing.leaseMs) return;
    this.#world.violated(
      "broken",
      `${process.name} renews its lease ${Math.round(sentMs - sinceMs)} ms after its journal failed`,
    );
  }

  #checkResized(member: VirtualMember, entry: JournalEntry & { kind: "grant" }): void {
    if (entry.convertedFrom !== null || this.#twice.has(member.id)) return;
    const license = member.api()?.license();
    const record = this.#records.get(entry.feature);
    if (license === undefined || "refused" in license || record === undefined) return;
    if (record.sequence >= license.sequence) return;
    this.#world.violated(
      "resize",
      `${member.id} granted ${entry.session} under license ${license.sequence}, the record of ` +
        `${entry.feature} has the seats of ${record.sequence}`,
    );
  }

  /** The entry's own sessions may be more after a crash in the middle of a conversion; others must fit. */
  #checkAdopted(member: VirtualMember, entries: readonly JournalEntry[]): void {
    if (this.#twice.has(member.id)) return;
    const taken = new Map<string, Set<number>>();
    for (const entry of entries) {
      if (entry.kind !== "adopt") continue;
      const epochs = taken.get(entry.feature) ?? new Set<number>();
      taken.set(entry.feature, epochs.add(entry.fromEpoch));
    }
    for (const [feature, epochs] of taken) {
      if (epochs.size < 2) continue;
      let used = 0;
      const epoch = this.#epochs.get(member.id)?.epoch;
      for (const [session, journaled] of this.#sessionsAt(member.id)) {
        if (journaled.feature !== feature || journaled.epoch !== epoch) continue;
        if (member.disk.isKnown(session)) used += journaled.seats;
      }
      const entry = this.#records.get(feature)?.allocated[member.id];
      if (entry === undefined || entry.epoch !== epoch || used <= entry.seats) continue;
      this.#world.violated(
        "limit",
        `${member.id} took the sessions of epochs ${[...epochs].join(", ")} along, ${used} seats ` +
          `of ${feature}, and has ${entry.seats}`,
      );
    }
  }

  /** A release is remembered for one life: at least six leases, by a clock that may be fast. */
  #isBuried({ releasedMs }: Journaled): boolean {
    return (
      this.#world.nowMs() - releasedMs < (LIFE_IN_LEASES_MIN * this.#world.timing.leaseMs) / SLOW
    );
  }

  afterEvent(): void {
    if (!this.#changed) return;
    this.#changed = false;
    for (const [feature, record] of this.#records) this.#checkIssuable(feature, record);
  }

  // ---- issuable -------------------------------------------------------------------------------------

  #checkIssuable(feature: string, record: RecordShape): void {
    let believed = 0;
    const sessions = new Set<string>();
    for (const belief of this.#world.beliefs()) {
      if (belief.feature !== feature || !belief.believes()) continue;
      believed += belief.seats;
      sessions.add(belief.session());
    }
    if (believed === 0) return;
    let unused = 0;
    for (const member of this.#world.members) {
      if (member.readiness() === null) unused += Math.max(0, member.unused(feature));
    }
    const out = record.seats + record.debt - record.free;
    const nowMs = this.#world.nowMs();
    this.#held = this.#held.filter(({ untilMs }) => untilMs > nowMs);
    let held = 0;
    for (const hold of this.#held) {
      // A conversion that was taken back: its client may still believe in that very seat.
      if (hold.feature === feature && !sessions.has(hold.session)) held += hold.seats;
    }
    if (believed + unused + held <= out) return;
    this.#world.violated(
      "issuable",
      `clients believe in ${believed} seats of ${feature}, ${held} are held and ${unused} more may be ` +
        `granted at once, but ${out} are out: ${JSON.stringify(record)}`,
    );
  }

  // ---- member records -------------------------------------------------------------------------------

  #memberWritten(
    { name: by, machine }: VirtualProcess,
    id: string,
    next: MemberShape,
    sentMs: number,
    rebuilt: boolean,
  ): void {
    const last = this.#epochs.get(id);
    // A rebuild does not wait for anybody's mandate; the wait of its seats has that in it.
    if (rebuilt) this.#epochs.delete(id);
    else this.#epochs.set(id, next);
    if (last === undefined || next.epoch <= last.epoch || rebuilt) return;
    for (const member of this.#world.members) {
      if (member.id !== id || member.readiness() !== null) continue;
      this.#world.violated(
        "fence",
        `${by} raised ${id} to epoch ${next.epoch} while ${id} may still grant in ${last.epoch}`,
      );
    }
    if (by !== id && next.state === "retired") this.#checkPatience(by, machine.name, id, sentMs);
  }

  #checkPatience(by: string, machine: string, id: string, sentMs: number): void {
    const { retireAfterMs, readGapMsMax } = this.#world.timing;
    const gapMs = readGapMsMax + PATIENCE_SLACK_MS;
    let laterMs = sentMs;
    for (const atMs of (this.#reads.get(machine) ?? [])
      .filter((each) => each <= sentMs)
      .reverse()) {
      if (laterMs - atMs > gapMs) {
        this.#world.violated(
          "patience",
          `${by} retired ${id} though it read nothing for ${Math.round(laterMs - atMs)} ms`,
        );
        return;
      }
      laterMs = atMs;
      if (sentMs - atMs >= retireAfterMs - PATIENCE_SLACK_MS) return;
    }
  }

  // ---- records of allocations -------------------------------------------------------------------------

  #recordWritten(by: string, feature: string, next: RecordShape): void {
    const last = this.#records.get(feature);
    for (const key of Object.keys(next.retired)) {
      const [member = "", epoch] = key.split("/");
      const present = this.#epochs.get(member)?.epoch;
      if (present === undefined || Number(epoch) < present) continue;
      this.#world.violated("fence", `${by} retired ${key} while that epoch runs`);
    }
    if (last === undefined || next.sequence !== last.sequence) return;
    if (this.#leader !== by && next.free < last.free) {
      this.#world.violated("leader", `${by} took free seats of ${feature}, ${this.#leader} leads`);
    }
    for (const [member, entry] of Object.entries(next.allocated)) {
      const before = last.allocated[member]?.seats ?? 0;
      if (entry.seats <= before || member === by) continue;
      if (this.#leader === by || this.#leader === member) continue;
      this.#world.violated(
        "leader",
        `${by} gave seats of ${feature} to ${member}, ${this.#leader} leads`,
      );
    }
    this.#checkMoved(by, feature, last, next);
  }

  /** Seats that went from another member's retired entry into the writer's own. */
  #checkMoved(by: string, feature: string, last: RecordShape, next: RecordShape): void {
    const own = last.allocated[by];
    const grew = (next.allocated[by]?.seats ?? 0) - (own?.seats ?? 0);
    if (own === undefined || own.epoch !== next.allocated[by]?.epoch || grew <= 0) return;
    if (next.free !== last.free || next.debt !== last.debt) return;
    for (const [key, before] of this.#retiredOf(last)) {
      const [member = ""] = key.split("/");
      const seats = before.seats - (this.#retiredOf(next).get(key)?.seats ?? 0);
      if (member === by || seats <= 0) continue;
      let confirmed = 0;
      const moved: Journaled[] = [];
      let withoutHold: string | null = null;
      for (const [session, journaled] of this.#sessionsAt(by)) {
        if (journaled.feature !== feature || journaled.from !== key) continue;
        if (journaled.confirmedMs === null) continue;
        if (!this.#wasAt(session, key, before, last)) continue;
        // It may have got another seat, and the one that moved is somebody else's.
        if (journaled.holdMs === 0) {
          withoutHold ??= session;
          continue;
        }
        confirmed += journaled.seats;
        moved.push(journaled);
      }
      // Sessions of the next batch may be journaled already: then nobody can tell whose seats came.
      if (confirmed === seats) {
        for (const journaled of moved) {
          // Released while its write was under way, its end has held it already.
          if (journaled.epoch < 0) continue;
          const fromMs = journaled.confirmedMs ?? 0;
          journaled.heldUntilMs = fromMs + serverLifeMs(before.lifeMs) / SLOW;
          journaled.confirmedMs = null;
        }
      }
      if (confirmed >= seats) continue;
      if (withoutHold !== null) {
        this.#world.violated("hold", `${by} moved ${withoutHold} out of ${key} without a hold`);
      }
      this.#world.violated(
        "confirm",
        `${by} moved ${seats} seats of ${feature} out of ${key}, ${confirmed} of them for sessions of it that confirmed`,
      );
    }
  }

  /** With entries of epochs that are over and still stand among the allocated. */
  #retiredOf(record: RecordShape): Map<string, EntryShape> {
    const retired = new Map(Object.entries(record.retired));
    for (const [member, entry] of Object.entries(record.allocated)) {
      const { epoch } = entry;
      if (epoch !== undefined && epoch < (this.#epochs.get(member)?.epoch ?? 0)) {
        retired.set(`${member}/${epoch}`, entry);
      }
    }
    return retired;
  }

  /** Journaled there, taken along by a whole entry, or handed over to it. */
  #wasAt(session: string, key: string, entry: EntryShape, record: RecordShape): boolean {
    const places = this.#places.get(session) ?? new Set<string>();
    if (places.has(key)) return true;
    const [member = "", epoch] = key.split("/");
    const since = entry.since ?? Number(epoch);
    for (const place of places) {
      const [at, then] = place.split("/");
      if (at === member && Number(then) >= since && Number(then) <= Number(epoch)) return true;
    }
    const entries = [...Object.values(record.allocated), ...Object.values(record.retired)];
    return entries.some((each) => each.handed?.[session] !== undefined);
  }

  // ---- journals ---------------------------------------------------------------------------------------

  #ended(member: string, entry: JournalEntry & { kind: "end" }): void {
    const journaled = this.#journaled(member, entry.session);
    journaled.epoch = -1;
    if (entry.reason === "expired") this.#checkExpired(member, entry.session);
    const untilMs = journaled.heldUntilMs;
    const leftMs = untilMs - this.#world.nowMs();
    journaled.heldUntilMs = 0;
    // It is kept where it was moved from: released in between, its write may still be under way.
    if (entry.reason === "handed-over") {
      // Its seat has left every entry of this member that it ever sat on.
      const places = this.#places.get(entry.session) ?? new Set();
      for (const place of places) if (place.startsWith(`${member}/`)) places.delete(place);
      return;
    }
    if (leftMs <= HOLD_SLACK_MS) return;
    if (entry.holdMs >= leftMs / SLOW - HOLD_SLACK_MS) {
      const { feature, seats } = journaled;
      const { session } = entry;
      this.#held.push({ session, feature, seats, untilMs: untilMs - HOLD_SLACK_MS });
      return;
    }
    this.#world.violated(
      "hold",
      `${member} ended ${entry.session} and holds its seat for ${entry.holdMs} of ${Math.round(leftMs)} ms`,
    );
  }

  #checkExpired(member: string, session: string): void {
    if (this.#twice.has(member)) return;
    for (const belief of this.#world.beliefs()) {
      if (belief.session() !== session || belief.member() !== member) continue;
      if (belief.isShared() || !belief.believes()) continue;
      this.#world.violated(
        "early",
        `${member} ended ${session} as expired, and its client believes in it for ` +
          `${Math.round(belief.leftMs())} ms`,
      );
    }
  }

  /** Seats of moved sessions that ended before their wait was over. */
  #held: Held[] = [];
  readonly #places = new Map<string, Set<string>>();

  #place(session: string, place: string): void {
    const places = this.#places.get(session) ?? new Set<string>();
    places.add(place);
    this.#places.set(session, places);
  }

  #journaled(member: string, session: string): Journaled {
    const key = `${member} ${session}`;
    let journaled = this.#sessions.get(key);
    if (journaled === undefined) {
      journaled = {
        seats: 0,
        feature: "",
        epoch: 0,
        from: null,
        holdMs: 0,
        asked: "",
        confirmedMs: null,
        heldUntilMs: 0,
        releasedN: -1,
        releasedMs: 0,
      };
      this.#sessions.set(key, journaled);
    }
    return journaled;
  }

  *#sessionsAt(member: string): Iterable<[string, Journaled]> {
    for (const [key, journaled] of this.#sessions) {
      if (key.startsWith(`${member} `)) yield [key.slice(member.length + 1), journaled];
    }
  }
}

/** One session at one member. */
interface Journaled {
  feature: string;
  seats: number;
  /** Of the account that it counts in; below zero once it has ended. */
  epoch: number;
  /** The entry that it was converted from, as journaled. */
  from: string | null;
  holdMs: number;
  asked: string;
  confirmedMs: number | null;
  /** Number of the release that was answered; -1 for none. */
  releasedN: number;
  releasedMs: number;
  heldUntilMs: number;
}

interface Held {
  readonly session: string;
  readonly feature: string;
  readonly seats: number;
  readonly untilMs: number;
}

interface MemberShape {
  readonly epoch: number;
  readonly renewal: number;
  readonly state: string;
}

interface EntryShape {
  readonly seats: number;
  readonly lifeMs: number;
  readonly epoch?: number;
  readonly since?: number;
  readonly handed?: Readonly<Record<string, string>>;
}

interface RecordShape {
  readonly sequence: number;
  readonly seats: number;
  readonly free: number;
  readonly debt: number;
  readonly allocated: Readonly<Record<string, EntryShape>>;
  readonly retired: Readonly<Record<string, EntryShape>>;
}

/** How the names of hand-made clients begin (`virtual-mischief.ts`). */
const MISCHIEF = "mischief";
const MEMBER = "member/";
const ALLOCATION = "allocation/";
/** Two clocks, one as slow and the other as fast as allowed. */
const SLOW = 1.021;
const HOLD_SLACK_MS = 1_000;
/** Both ends are read on one clock, within one turn of the event loop. */
const PATIENCE_SLACK_MS = 5;
const READS_KEPT_MAX = 1_000;
