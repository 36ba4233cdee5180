/** What other members ask, answered. The HTTP layer has verified who they are. */
import { handOver, isFault, refuse, type Refusal, type Session } from "@quorate/core";
import type { AuthorizationsQuery } from "@quorate/protocol";
import type { HistoryQuery, UsageQuery } from "../journal/journal.ts";
import type { MemberContext } from "./context.ts";
import type { Conversions } from "./conversions.ts";
import type { Desk } from "./desk.ts";
import { allocationKeyOf, type AllocationRecord, LEADER_KEY } from "./keys.ts";
import type { Leader } from "./leader.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { PeerAnswer, PeerCall } from "./peer-calls.ts";
import type { PoolView } from "./pool-view.ts";
import type { Reporter } from "./reporter.ts";
import type { Seats } from "./seats.ts";

type PassOn = Extract<PeerCall, { kind: "pass-on" }>;

export class PeerDesk {
  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  private readonly seats: Seats;
  private readonly view: PoolView;
  private readonly leader: Leader;
  private readonly reporter: Reporter;
  private readonly conversions: Conversions;
  private readonly desk: Desk;
  constructor(
    member: MemberContext,
    lease: LeaseKeeper,
    seats: Seats,
    view: PoolView,
    leader: Leader,
    reporter: Reporter,
    conversions: Conversions,
    desk: Desk,
  ) {
    this.member = member;
    this.lease = lease;
    this.seats = seats;
    this.view = view;
    this.leader = leader;
    this.reporter = reporter;
    this.conversions = conversions;
    this.desk = desk;
  }

  async answer(from: string, call: PeerCall): Promise<PeerAnswer> {
    switch (call.kind) {
      case "report": {
        if (!this.lease.leads()) return no(this.notLeader());
        const everything = this.view.take(from, call);
        return yes({ everything, contended: this.leader.contendedFeatures() });
      }
      case "collect":
        this.reporter.everything();
        void this.reporter.send().catch((error: unknown) => this.member.crash(error));
        return yes({});
      case "seats": {
        const refusal = this.lease.refusal();
        if (refusal !== null) return no(refusal);
        if (!this.lease.leads()) return no(this.notLeader());
        const { feature, wants, unused } = call;
        return yes({ answers: await this.leader.provide(from, feature, wants, unused) });
      }
      case "give-back": {
        if (!this.comesFromLeader(from, call.term)) return no(this.notLeader());
        return yes({ seats: await this.seats.giveBack(call.feature, call.seats) });
      }
      case "hand-over": {
        const refusal = await this.conversions.handOver(from, call, (session, epoch) =>
          this.moveSeats(from, session, epoch),
        );
        return refusal === null ? yes({}) : no(refusal);
      }
      case "pass-on":
        return this.passedOn(call);
    }
  }

  private moveSeats(to: string, session: Session, toEpoch: number): Promise<boolean> {
    const key = allocationKeyOf(session.feature);
    const epoch = this.lease.epoch;
    return this.member.state
      .change<AllocationRecord>(key, (record) => {
        const leader = this.member.leaderRecord();
        if (record === null || leader?.value.member !== to || leader.value.epoch !== toEpoch) {
          return "the leader changed";
        }
        const { seats, session: id } = session;
        const next = handOver(record, this.member.id, epoch, to, toEpoch, seats, id);
        if (isFault(next)) return next.detail;
        return { value: next, compare: [{ key: LEADER_KEY, revision: leader.revision }] };
      })
      .then((written) => written.applied);
  }

  private async passedOn(call: PassOn): Promise<PeerAnswer> {
    const body = call.body as { session: string; n?: number; only?: string; reason?: string };
    switch (call.what) {
      case "release": {
        const held = this.member.ledger.sessions.has(body.session);
        const refusal = await this.desk.releaseHere(body.session, body.n, body.only === undefined);
        return refusal === null ? yes(held) : no(refusal);
      }
      case "revoke":
        return yes(await this.desk.revokeHere(body.session, body.reason ?? ""));
      case "list":
        if (!this.lease.leads()) return no(this.notLeader());
        return yes(await this.view.page(call.body as AuthorizationsQuery, true));
      case "features":
        if (!this.lease.leads()) return no(this.notLeader());
        return yes(this.desk.featureRows(this.view.missing()));
      case "usage":
        return yes(await this.member.ports.journal.usage(call.body as UsageQuery));
      case "denials":
        return yes(await this.member.ports.journal.history(call.body as HistoryQuery));
    }
  }

  private comesFromLeader(from: string, term: number): boolean {
    const leader = this.lease.leader();
    return leader !== null && leader.member === from && leader.term === term;
  }

  private notLeader(): Refusal {
    const leader = this.desk.leaderUrl();
    return refuse("not-leader", "this server does not lead", leader === null ? {} : { leader });
  }
}

function yes(body: unknown): PeerAnswer {
  return { ok: true, body };
}

function no(refusal: Refusal): PeerAnswer {
  return { ok: false, refusal };
}
