/** Mandate, retirement, start, stop, unknown outcomes, records and journals (design 4.1 to 4.3, 4.7). */
import type { Mutant } from "./catalogue.ts";

const CORE = "packages/core/src";
const MEMBER = "packages/server/src/member";

export const LEASES_AND_RECORDS: readonly Mutant[] = [
  {
    name: "mandate-from-answer",
    aim: "edges of the lease",
    rule: "4.1: the mandate runs from the send of the renewal, not from its answer",
    file: `${MEMBER}/lease-keeper.ts`,
    find: `      this.pending.clear();
      this.renewalSent = sent;
      this.awayTold = false;`,
    replace: `      this.pending.clear();
      this.renewalSent = ports.runtime.clocks();
      this.awayTold = false;`,
    also: [
      {
        file: `${MEMBER}/lease-keeper.ts`,
        find: `    this.observeAll(outcome.read, sent, this.member.nowMs());
    if (outcome.outcome === "applied") {`,
        replace: `    this.observeAll(outcome.read, ports.runtime.clocks(), this.member.nowMs());
    if (outcome.outcome === "applied") {`,
      },
    ],
  },
  {
    name: "mandate-looked-at-once",
    aim: "edges of the lease",
    rule: "4.1: the mandate is read again after the sync, just before the answer leaves",
    file: `${MEMBER}/seats.ts`,
    find: `    const refusal = this.lease.refusal();
    if (refusal !== null || account.epoch !== this.lease.epoch) {`,
    replace: `    const refusal = null as Refusal | null;
    if (refusal !== null || account.epoch !== this.lease.epoch) {`,
  },
  {
    name: "mandate-by-one-clock",
    aim: "edges of the lease",
    rule: "4: a holder counts the longest of its clocks, so that it notices a suspend",
    file: `${CORE}/lease.ts`,
    find: `  return elapsedForHolder(renewalSent, now) < timing.mandateMs ? "mandate" : "no-mandate";`,
    replace: `  return now.monotonicMs - renewalSent.monotonicMs < timing.mandateMs ? "mandate" : "no-mandate";`,
    also: [
      {
        file: `${CORE}/lease.ts`,
        find: `    elapsedForHolder(observation.aliveAt, now) <= timing.retireAfterMs`,
        replace: `    now.monotonicMs - observation.aliveAt.monotonicMs <= timing.retireAfterMs`,
      },
    ],
  },
  {
    name: "retire-after-lease",
    aim: "edges of the lease",
    rule: "4: who retires waits T with drift and margin",
    file: `${CORE}/timing.ts`,
    find: `    retireAfterMs: Math.ceil(leaseMs * (1 + CLOCK_DRIFT) + marginMs),`,
    replace: `    retireAfterMs: leaseMs,`,
  },
  {
    name: "retire-without-gap-rule",
    rule: "4.1: a gap between the observer's own reads starts its wait again",
    file: `${CORE}/lease.ts`,
    find: `    unchangedSinceMs: gap ? answeredMs : previous.unchangedSinceMs,`,
    replace: `    unchangedSinceMs: gap ? previous.unchangedSinceMs : previous.unchangedSinceMs,`,
  },
  {
    name: "sign-of-life-after-gap",
    rule: "I2: what changed before a gap of one's own reads was not seen alive now",
    file: `${CORE}/lease.ts`,
    find: `  return gapMs > timing.readGapMsMax ? (before?.aliveAt ?? null) : sent;`,
    replace: `  return gapMs > Infinity ? (before?.aliveAt ?? null) : sent;`,
  },
  {
    name: "appeared-within-gap",
    aim: "a new machine and cut off at once",
    rule: "I2: a record that appeared within a gap of one's own reads was not seen alive now",
    file: `${CORE}/lease.ts`,
    find: `  return gapMs > timing.readGapMsMax ? (before?.aliveAt ?? null) : sent;`,
    replace: `  return gapMs > timing.readGapMsMax ? (before === null ? sent : before.aliveAt) : sent;`,
  },
  {
    name: "majority-of-the-alive",
    rule: "I2: more than half of the licensed size, not of the members that happen to live",
    file: `${CORE}/lease.ts`,
    find: `  if (alive < majorityOf(size)) return "no-majority";`,
    replace: `  if (alive < majorityOf(Math.min(size, alive))) return "no-majority";`,
  },
  {
    name: "start-without-wait",
    rule: "4.1: a new process watches its own record for R before it begins",
    file: `${CORE}/lease.ts`,
    find: `  return waitedMs >= timing.retireAfterMs ? "waited" : "wait";`,
    replace: `  return waitedMs >= 0 * timing.retireAfterMs ? "waited" : "wait";`,
  },
  {
    name: "waiting-process-renews",
    rule: "4.1: a process that waits does not renew; else it could crash in a loop and never be retired",
    file: `${MEMBER}/lease-keeper.ts`,
    find: `      const sent = this.member.ports.runtime.clocks();
      const outcome = await this.member.state.transact({ reads: this.reads() });
      const answeredMs = this.member.nowMs();`,
    replace: `      const sent = this.member.ports.runtime.clocks();
      const own = this.member.state.get<MemberRecord>(key);
      const renewed = own === null ? null : { ...own.value, renewal: own.value.renewal + 1 };
      if (renewed !== null && first !== null) {
        first = { record: renewed, sinceMs: first.sinceMs };
      }
      const outcome = await this.member.state.transact({
        reads: this.reads(),
        ...(own === null || first === null
          ? {}
          : {
              compare: [{ key, revision: own.revision }],
              puts: [{ key, value: JSON.stringify(renewed) }],
            }),
      });
      const answeredMs = this.member.nowMs();`,
  },
  {
    name: "renewal-undoes-retirement",
    rule: "4.1: a record of another epoch is never renewed as if it were one's own",
    file: `${MEMBER}/lease-keeper.ts`,
    find: `    if (epoch !== this.epoch || ownState === "removed" || journal.mark !== this.mark) {`,
    replace: `    if (ownState === "removed" || journal.mark !== this.mark || epoch < 0) {`,
  },
  {
    name: "stopped-member-answers",
    rule: "4.1: who stops answers nothing more in its epoch before it raises it",
    file: `${MEMBER}/lease-keeper.ts`,
    find: `    this.phase = "ended";
    await this.renewing;
    const ended = this.epoch;`,
    replace: `    await this.renewing;
    const ended = this.epoch;`,
  },
  {
    name: "broken-journal-renews",
    rule: "4.1: a member whose journal fails resigns",
    file: `${MEMBER}/member.ts`,
    find: `    this.seats.onJournalFailed = (error) => this.breakDown(wordsOf(error));`,
    replace: `    this.seats.onJournalFailed = () => {};`,
    also: [
      {
        file: `${MEMBER}/member.ts`,
        find: `    this.guard.onJournalFailed = (error) => this.breakDown(wordsOf(error));`,
        replace: `    this.guard.onJournalFailed = () => {};`,
      },
    ],
  },
  {
    name: "answer-before-sync",
    rule: "I6: a grant is answered after its journal entry is synced",
    file: `${MEMBER}/seats.ts`,
    find: `    const failed = await this.write([this.grantEntry(session, 0)]);
    if (failed !== null) return failed;
    if (!this.isKnown(session))`,
    replace: `    void this.write([this.grantEntry(session, 0)]);
    await Promise.resolve();
    if (!this.isKnown(session))`,
  },
  {
    name: "blind-retry",
    rule: "4.1: after an unknown outcome nothing is written again before the first write is settled",
    file: `${MEMBER}/shared-state.ts`,
    find: `        const settled = await this.settle(key, seen, nonce, plan, compare, isOver);
        if (settled) return`,
    replace: `        await this.transact({ reads: [key] });
        const settled = compare.length === seen - seen;
        if (settled) return`,
  },
  {
    name: "late-event-taken-in",
    aim: "late and lost answers of the store",
    rule: "4.1: a value is taken in only if its revision is above the known one",
    file: `${MEMBER}/shared-state.ts`,
    find: `      if (revision <= this.revisionOf(key)) continue;`,
    replace: `      if (revision === this.revisionOf(key)) continue;`,
  },
  {
    name: "give-back-writes-first",
    rule: "4.3: the own limit is lowered before giveBack is written",
    file: `${MEMBER}/seats.ts`,
    find: `    this.giving.set(feature, (this.giving.get(feature) ?? 0) + seats);
    const written`,
    replace: `    this.giving.set(feature, (this.giving.get(feature) ?? 0) + seats * 0);
    const written`,
    also: [
      {
        file: `${MEMBER}/seats.ts`,
        find: `    this.giving.set(feature, (this.giving.get(feature) ?? 0) - seats);`,
        replace: `    this.giving.set(feature, (this.giving.get(feature) ?? 0) - seats * 0);`,
      },
    ],
  },
  {
    name: "allocate-raises-epoch",
    aim: "returns to a weak store with several features",
    rule: "4.3: only retire and reinstate change the epoch of an entry",
    file: `${CORE}/allocations.ts`,
    find: `  if (entry !== null && entry.epoch !== more.epoch) {
    return fault("epoch", \`\${member} has an entry of epoch \${entry.epoch}, not \${more.epoch}\`);
  }
  // A late`,
    replace: `  // A late`,
    also: [
      {
        file: `${MEMBER}/leader.ts`,
        find: `        const tidy = entry !== null && entry.epoch < epoch ? retireEntry(now, member, epoch) : now;
        if (isFault(tidy)) return tidy;
        return allocate(`,
        replace: `        const tidy = entry !== null && entry.epoch < 0 ? retireEntry(now, member, epoch) : now;
        if (isFault(tidy)) return tidy;
        return allocate(`,
      },
      {
        file: `${MEMBER}/leader.ts`,
        find: `            entry !== null && entry.epoch < epoch ? retireEntry(now, this.member.id, epoch) : now;`,
        replace: `            entry !== null && entry.epoch < 0 ? retireEntry(now, this.member.id, epoch) : now;`,
      },
      {
        file: `${MEMBER}/conversions.ts`,
        find: `      if (own !== null && own.epoch < epoch) {`,
        replace: `      if (own !== null && own.epoch < 0) {`,
      },
    ],
  },
  {
    name: "leadership-without-epoch",
    rule: "4.2: leadership ends with its holder's epoch",
    file: `${CORE}/lease.ts`,
    find: `  return holder === null || holder.epoch !== leader.epoch || holder.state !== "active";`,
    replace: `  return holder === null || holder.state !== "active";`,
  },
  {
    name: "leader-key-not-compared",
    aim: "late and lost answers of the store",
    rule: "4.2: every write of a leader compares the leader key",
    file: `${MEMBER}/seats.ts`,
    find: `      return {
        value: next,
        compare: [{ key: LEADER_KEY, revision: this.member.state.revisionOf(LEADER_KEY) }],
      };
    });
  }

  /** Gives up`,
    replace: `      return { value: next };
    });
  }

  /** Gives up`,
  },
  {
    name: "term-not-raised",
    rule: "4.2: the term grows by one at every change of the leader",
    file: `${MEMBER}/lease-keeper.ts`,
    find: `      term: (leader?.value.term ?? 0) + 1,`,
    replace: `      term: leader?.value.term ?? 1,`,
  },
  {
    name: "reclaim-one-life-early",
    rule: "4.4.4: what is left in a retired entry becomes free one life after the new epoch was seen",
    file: `${MEMBER}/leader.ts`,
    find: `      if (nowMs - sinceMs >= serverLifeMs(entry.lifeMs)) {`,
    replace: `      if (nowMs - sinceMs >= serverLifeMs(entry.lifeMs) / 2) {`,
  },
  {
    name: "reclaim-without-drift",
    aim: "dies for longer than a life",
    rule: "4.4.4: the wait of a reclaim has drift and margin",
    file: `${MEMBER}/leader.ts`,
    find: `      if (nowMs - sinceMs >= serverLifeMs(entry.lifeMs)) {`,
    replace: `      if (nowMs - sinceMs + serverLifeMs(0) >= entry.lifeMs * 0.98) {`,
  },
  {
    name: "reclaim-by-newer-life",
    aim: "lives made shorter",
    rule: "4.3, 4.4.4: a reclaim waits for the life of the entry, not for that of a newer license",
    file: `${MEMBER}/leader.ts`,
    find: `      if (nowMs - sinceMs >= serverLifeMs(entry.lifeMs)) {`,
    replace: `      const licensedMs = this.member.feature(feature)?.lifeMs ?? entry.lifeMs;
      if (nowMs - sinceMs >= serverLifeMs(Math.min(licensedMs, entry.lifeMs))) {`,
  },
  {
    name: "life-lowered-at-once",
    aim: "lives made shorter",
    rule: "4.3: the life of an entry is lowered one old life after the old one was granted last",
    file: `${MEMBER}/seats.ts`,
    find: `      if (this.member.nowMs() - sinceMs < serverLifeMs(entry.lifeMs)) continue;`,
    replace: `      if (this.member.nowMs() < sinceMs) continue;`,
  },
  {
    name: "life-lowered-below-what-came",
    aim: "lives made shorter",
    rule: "4.3, 4.4.3: an entry keeps the life of seats that came out of another for as long as their clients may believe",
    file: `${MEMBER}/seats.ts`,
    find: `    if (lifeMs > this.lifeMs(feature)) this.shorterSinceMs.delete(feature);`,
    replace: ``,
  },
  {
    name: "old-journal-gives-seats-back",
    rule: "4.7: a journal that lacks what the record says was synced reinstates nothing",
    file: `${CORE}/lease.ts`,
    find: `  return journal.mark === record.journal.mark && journal.sequence >= record.journal.sequence;`,
    replace: `  return journal.sequence >= 0 * record.journal.sequence;`,
  },
  {
    name: "old-journal-forgotten",
    aim: "old folders",
    rule: "4.7: an older folder proves nothing of the epochs before it, at later starts either",
    file: `${MEMBER}/member.ts`,
    find: `    this.seats.trustedFrom = Number(recovered.facts.get("trusted-from") ?? 0);`,
    replace: `    this.seats.trustedFrom = 0;`,
  },
  {
    name: "rebuild-to-an-older-license",
    aim: "a store restored from a backup",
    rule: "4.7, I7: a rebuild puts the newest license it knows into the store",
    file: `${MEMBER}/store-guard.ts`,
    find: `if ((stored?.sequence ?? 0) < newest.license.sequence) {`,
    replace: `if ((stored?.sequence ?? 0) < -1) {`,
  },
  {
    name: "restored-store-unnoticed",
    aim: "a store restored from a backup",
    rule: "4.7: a store that went backwards, or an own record older than written, stops the member",
    file: `${MEMBER}/store-guard.ts`,
    find: `  private suspend(sentence: string): void {
    this.lease.suspended = true;`,
    replace: `  private suspend(sentence: string): void {
    this.lease.suspended = false;`,
    also: [
      {
        file: `${MEMBER}/store-guard.ts`,
        find: `    if (this.member.state.lastRevision < this.revision) {`,
        replace: `    if (this.member.state.lastRevision < 0) {`,
      },
      {
        file: `${MEMBER}/shared-state.ts`,
        find: `    if (outcome.revision < seen) {`,
        replace: `    if (outcome.revision < 0) {`,
      },
    ],
  },
];
