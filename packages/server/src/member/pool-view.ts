/**
 * The leader's record of distribution: every authorization of every server, as the servers report them.
 * It serves display, policy and passing on; no safety rests on it.
 */
import { type Refusal, refuse, serverLifeMs, type Session } from "@quorate/core";
import type { AuthorizationRow, AuthorizationsPage, AuthorizationsQuery } from "@quorate/protocol";
import type { MemberContext } from "./context.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { FeatureReport, PeerCall } from "./peer-calls.ts";
import { RowsPage } from "./rows-page.ts";

type Report = Extract<PeerCall, { kind: "report" }>;

interface Reported {
  readonly rows: Map<string, AuthorizationRow>;
  features: Map<string, FeatureReport>;
  licenseSequence: number | null;
  epoch: number;
  page: number;
  /** A full report has arrived since this member leads. */
  complete: boolean;
  atMs: number;
}

/** Rows that are looked at in one turn of the event loop: a millisecond or two. */
const ROWS_A_TURN = 1_000;
const REVOKED_KEPT_MAX = 100_000;
const RETIRED_KEYS_MAX = 10_000;

export class PoolView {
  private readonly reported = new Map<string, Reported>();
  /** Why, by session. */
  private readonly revoked = new Map<string, string>();
  private readonly retiredSeen = new Map<string, number>();

  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  constructor(member: MemberContext, lease: LeaseKeeper) {
    this.member = member;
    this.lease = lease;
  }

  /** A new leader starts with nothing and asks every live member for all it has. */
  begin(): void {
    this.reported.clear();
    const { ports, timing, id } = this.member;
    const leader = this.lease.leader();
    for (const other of this.lease.aliveMembers()) {
      const url = this.member.memberRecord(other)?.url;
      if (other === id || url === undefined || leader === null) continue;
      const call = { kind: "collect", epoch: this.lease.epoch, term: leader.term } as const;
      void ports.peers.call(url, other, call, timing.callDeadlineMs);
    }
  }

  /** Takes a report; true when the sender must send everything. */
  take(from: string, report: Report): boolean {
    let known = this.reported.get(from);
    if (known !== undefined && isOld(known, report)) return false;
    if (known === undefined || report.full) {
      known = {
        rows: new Map(),
        features: new Map(),
        licenseSequence: null,
        epoch: report.epoch,
        page: report.page,
        complete: false,
        atMs: 0,
      };
      this.reported.set(from, known);
      if (!report.full) return true;
    }
    for (const row of report.changed) {
      known.rows.set(row.session, row);
      if (row.state === "revoked" && !this.isRevoked(row.session)) {
        this.revoke(row.session, "revoked by an administrator");
      }
    }
    for (const session of report.ended) known.rows.delete(session);
    known.features = new Map(report.features.map((each) => [each.feature, each]));
    known.licenseSequence = report.licenseSequence;
    known.epoch = report.epoch;
    known.page = report.page;
    known.atMs = this.member.nowMs();
    if (!report.more) known.complete = true;
    return !known.complete && !report.more;
  }

  unused(id: string, feature: string): number {
    return this.reported.get(id)?.features.get(feature)?.unused ?? 0;
  }

  lower(id: string, feature: string, seats: number, exhausted: boolean): void {
    const features = this.reported.get(id)?.features;
    const known = features?.get(feature);
    if (known === undefined) return;
    const unused = exhausted ? 0 : Math.max(0, known.unused - seats);
    features?.set(feature, { ...known, unused, seats: known.seats - seats });
  }

  feature(id: string, feature: string): FeatureReport | null {
    return this.reported.get(id)?.features.get(feature) ?? null;
  }

  sessionCount(id: string): number | null {
    return this.reported.get(id)?.rows.size ?? null;
  }

  licenseSequence(id: string): number | null {
    return this.reported.get(id)?.licenseSequence ?? null;
  }

  revoke(session: string, reason: string): void {
    this.revoked.set(session, reason);
    if (this.revoked.size > REVOKED_KEPT_MAX) {
      const oldest = this.revoked.keys().next();
      if (!oldest.done) this.revoked.delete(oldest.value);
    }
  }

  revokedRefusal(session: string): Refusal {
    const reason = this.revoked.get(session) ?? "revoked by an administrator";
    return refuse("revoked", `the authorization is over: ${reason}`);
  }

  isRevoked(session: string): boolean {
    return this.revoked.has(session);
  }

  /** When this member first saw a retired entry whose member's epochs it does not know. */
  firstSawRetired(feature: string, key: string): number {
    const name = `${feature}\u0000${key}`;
    const known = this.retiredSeen.get(name);
    if (known !== undefined) return known;
    if (this.retiredSeen.size >= RETIRED_KEYS_MAX) this.retiredSeen.clear();
    const nowMs = this.member.nowMs();
    this.retiredSeen.set(name, nowMs);
    return nowMs;
  }

  /** Live members whose authorizations are not known here. */
  missing(): string[] {
    const expected = this.member.license?.license.pool.size ?? 0;
    if (expected === 0) return [];
    return this.lease
      .aliveMembers()
      .filter((id) => id !== this.member.id && this.reported.get(id)?.complete !== true);
  }

  row(session: Session): AuthorizationRow {
    return {
      session: session.session,
      feature: session.feature,
      version: session.version,
      seats: session.seats,
      holder: session.holder,
      member: this.member.id,
      grantedAt: new Date(session.grantedAtMs).toISOString(),
      state: session.state === "revoked" ? "revoked" : "active",
      converted: session.convertedFrom !== null,
    };
  }

  private ownRow(session: Session): AuthorizationRow {
    const row = this.row(session);
    const leftMs = session.expiresAtMs - this.member.nowMs();
    // While the member waits at its start nothing runs out.
    if (!Number.isFinite(leftMs)) return row;
    const { wallMs } = this.member.ports.runtime.clocks();
    const renewedMs = Math.round(wallMs + leftMs - serverLifeMs(session.lifeMs));
    return { ...row, renewedAt: new Date(renewedMs).toISOString() };
  }

  /** A page of who holds what; own sessions and all reported ones, each once. */
  async page(query: AuthorizationsQuery, withReported: boolean): Promise<AuthorizationsPage> {
    const page = new RowsPage(query);
    let looked = 0;
    const isTurnOver = (): boolean => {
      looked += 1;
      return looked % ROWS_A_TURN === 0;
    };
    const own = this.member.ledger.sessions;
    for (const session of own.values()) {
      if (session.state !== "granting") page.take(this.ownRow(session));
      if (isTurnOver()) await this.member.pause(0);
    }
    if (withReported) {
      for (const [id, reported] of this.reported) {
        const alive = this.lease.isAlive(id);
        for (const row of reported.rows.values()) {
          // A converted session is where it lives now; a dead member's row of it is history.
          if (!own.has(row.session) && (alive || !this.livesElsewhere(row.session, id))) {
            page.take(row);
          }
          if (isTurnOver()) await this.member.pause(0);
        }
      }
    }
    const { authorizations, next } = page.finish();
    const { found, total } = page;
    const missing = withReported ? this.missing() : [];
    return { authorizations, found, total, missing, next };
  }

  private livesElsewhere(session: string, than: string): boolean {
    for (const [id, reported] of this.reported) {
      if (id !== than && this.lease.isAlive(id) && reported.rows.has(session)) return true;
    }
    return false;
  }

  /** Rows of members whose entries are all reclaimed are forgotten. */
  forgetReclaimed(): void {
    for (const [id, reported] of this.reported) {
      if (this.lease.isAlive(id)) continue;
      const retired = this.member
        .records()
        .some(
          ({ record }) =>
            Object.hasOwn(record.allocated, id) ||
            Object.keys(record.retired).some((key) => key.startsWith(`${id}/`)),
        );
      if (!retired) reported.rows.clear();
    }
  }
}

/** A page that arrives late or twice would bring back the rows of ended sessions. */
function isOld(known: Reported, report: Report): boolean {
  if (report.epoch !== known.epoch) return report.epoch < known.epoch;
  return report.page <= known.page;
}
