/**
 * A follower's side of the reports (design section 4.2): changed sessions and features every second,
 * everything when the leader changes. What could not be delivered is sent again.
 */
import { REPORT_ROWS_MAX, type Session } from "@quorate/core";
import type { AuthorizationRow } from "@quorate/protocol";
import type { MemberContext } from "./context.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { FeatureReport } from "./peer-calls.ts";
import type { PoolView } from "./pool-view.ts";
import type { Seats } from "./seats.ts";

const CONTENDED_MS = 3_000;
const ENDED_KEPT_MAX = 100_000;

export class Reporter {
  private readonly changed = new Set<string>();
  private readonly ended = new Set<string>();
  /** Raised by `everything`, so that a page under way does not count as part of the new report. */
  private generation = 0;
  private page = 0;
  private full = true;
  private first = true;
  private reportedTo = "";
  private sending = false;

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

  /** What the leader grants itself it owes to nobody; whoever leads next is told everything. */
  sessionChanged(session: Session): void {
    if (this.lease.leads()) return;
    this.changed.add(session.session);
    this.ended.delete(session.session);
  }

  sessionEnded(session: Session): void {
    if (!this.lease.leads()) {
      this.changed.delete(session.session);
      this.ended.add(session.session);
      if (this.ended.size > ENDED_KEPT_MAX) this.everything();
    }
    if (this.seats.isContended(session.feature)) void this.send();
  }

  /** The next report forgets all before. */
  everything(): void {
    this.generation += 1;
    this.full = true;
    this.first = true;
    this.ended.clear();
    for (const session of this.member.ledger.sessions.keys()) this.changed.add(session);
  }

  features(): FeatureReport[] {
    return this.member.records().map(({ feature }) => ({
      feature,
      seats: Math.max(0, this.seats.limit(feature)),
      inUse: this.seats.used(feature),
      unused: Math.max(0, this.seats.unused(feature)),
      denied: this.seats.deniedCount(feature),
    }));
  }

  async send(): Promise<void> {
    const leader = this.lease.leader();
    if (this.sending || leader === null || this.lease.phase !== "active") return;
    if (this.lease.leads()) {
      // The leader reads its own ledger; nothing is owed to anybody.
      this.changed.clear();
      this.ended.clear();
      return;
    }
    this.sending = true;
    try {
      const to = `${leader.member}/${leader.term}`;
      if (to !== this.reportedTo) {
        this.reportedTo = to;
        this.everything();
      }
      while (await this.sendPage(leader.member, leader.term));
    } finally {
      this.sending = false;
    }
  }

  /** One page; true when another should follow at once. */
  private async sendPage(leader: string, term: number): Promise<boolean> {
    const url = this.member.memberRecord(leader)?.url;
    if (url === undefined || this.lease.leader()?.term !== term || this.member.ended) return false;
    const sessions = take(this.changed, REPORT_ROWS_MAX);
    const ended = this.full ? [] : take(this.ended, REPORT_ROWS_MAX);
    const rows: AuthorizationRow[] = [];
    for (const id of sessions) {
      const session = this.member.ledger.sessions.get(id);
      if (session !== undefined && session.state !== "granting") rows.push(this.view.row(session));
    }
    const more = this.changed.size > 0;
    const { generation } = this;
    this.page += 1;
    const answer = await this.member.ports.peers.call(
      url,
      leader,
      {
        kind: "report",
        page: this.page,
        epoch: this.lease.epoch,
        term,
        full: this.full && this.first,
        more: this.full && more,
        changed: rows,
        ended,
        features: this.features(),
        licenseSequence: this.member.license?.license.sequence ?? null,
      },
      this.member.timing.callDeadlineMs,
    );
    if (answer === null || !answer.ok) {
      for (const id of sessions) if (!this.ended.has(id)) this.changed.add(id);
      for (const id of ended) if (!this.changed.has(id)) this.ended.add(id);
      return false;
    }
    if (generation !== this.generation) return true;
    this.first = false;
    if (!more) this.full = false;
    const body = answer.body as { everything: boolean; contended: string[] };
    for (const feature of body.contended) this.seats.contend(feature, CONTENDED_MS);
    if (body.everything) this.everything();
    return more || body.everything;
  }
}

function take(set: Set<string>, most: number): string[] {
  const taken: string[] = [];
  for (const each of set) {
    if (taken.length === most) break;
    taken.push(each);
    set.delete(each);
  }
  return taken;
}
