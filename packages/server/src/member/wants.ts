/** Asks the leader for seats: one call of a feature at a time, carrying all requests that wait for it. */
import { refuse, type Refusal } from "@quorate/core";
import type { MemberContext } from "./context.ts";
import { allocationKeyOf } from "./keys.ts";
import type { Leader, WantAnswer } from "./leader.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { SeatWant } from "./peer-calls.ts";
import type { Seats } from "./seats.ts";

const WANTS_A_CALL_MAX = 500;
const WAITING_MAX = 10_000;
const CALL_DEADLINES = 5;

interface Asked {
  readonly want: SeatWant;
  readonly answer: (refusal: Refusal | null) => void;
}

export class Wants {
  private readonly waiting = new Map<string, Asked[]>();
  private readonly asking = new Set<string>();

  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  private readonly seats: Seats;
  private readonly leader: Leader;
  constructor(member: MemberContext, lease: LeaseKeeper, seats: Seats, leader: Leader) {
    this.member = member;
    this.lease = lease;
    this.seats = seats;
    this.leader = leader;
  }

  /** Whether requests wait for seats of the feature: a new one must not overtake them. */
  pending(feature: string): boolean {
    return this.asking.has(feature);
  }

  /** Null when seats were moved for the want; else the leader's refusal. */
  ask(feature: string, want: SeatWant): Promise<Refusal | null> {
    return new Promise((answer) => {
      const waiting = this.waiting.get(feature) ?? [];
      if (waiting.length >= WAITING_MAX) {
        answer(refuse("busy", "too many requests wait for seats here", { retryAfterMs: 1_000 }));
        return;
      }
      waiting.push({ want, answer });
      this.waiting.set(feature, waiting);
      if (!this.asking.has(feature)) void this.run(feature);
    });
  }

  private async run(feature: string): Promise<void> {
    this.asking.add(feature);
    try {
      for (;;) {
        const asked = (this.waiting.get(feature) ?? []).splice(0, WANTS_A_CALL_MAX);
        if (asked.length === 0) return;
        const answers = await this.call(
          feature,
          asked.map(({ want }) => want),
        );
        for (const { want, answer } of asked) {
          answer(typeof answers === "string" ? this.noLeader(answers) : answerOf(answers, want));
        }
        // The answered requests take their seats before the next call counts what is unused.
        await Promise.resolve();
      }
    } catch (error) {
      this.member.crash(error);
    } finally {
      this.asking.delete(feature);
    }
  }

  private noLeader(words: string): Refusal {
    return refuse("busy", words, { retryAfterMs: 500 });
  }

  private async call(feature: string, wants: readonly SeatWant[]): Promise<WantAnswer[] | string> {
    const leader = this.lease.leader();
    const unused = Math.max(0, this.seats.unused(feature));
    if (leader === null) {
      return wants.map(({ session }) => ({
        session,
        refusal: refuse("busy", "the pool has no leader at the moment; try again", {
          retryAfterMs: 500,
        }),
      }));
    }
    if (this.lease.leads()) return this.leader.provide(this.member.id, feature, wants, unused);
    const url = this.member.memberRecord(leader.member)?.url;
    if (url === undefined) return "the leader is not known";
    const answer = await this.member.ports.peers.call(
      url,
      leader.member,
      { kind: "seats", feature, wants, unused, epoch: this.lease.epoch, term: leader.term },
      CALL_DEADLINES * this.member.timing.callDeadlineMs,
    );
    if (answer === null) return "the leader does not answer at the moment; try again";
    if (!answer.ok) return answer.refusal.detail;
    await this.member.state.transact({ reads: [allocationKeyOf(feature)] });
    return (answer.body as { answers: WantAnswer[] }).answers;
  }
}

function answerOf(answers: readonly WantAnswer[], want: SeatWant): Refusal | null {
  const found = answers.find(({ session }) => session === want.session);
  if (found === undefined) {
    return refuse("busy", "the leader gave no answer to this request", { retryAfterMs: 500 });
  }
  return found.refusal;
}
