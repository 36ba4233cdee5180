/** Who used how much in a time, how much was used when, and who was refused: pool-wide, from the journals. */
import { PAGE_ROWS_DEFAULT, refuse, type Refusal } from "@quorate/core";
import {
  type DenialsAnswer,
  type DenialsQuery,
  isInstant,
  SERIES_STEPS_MAX,
  type UsageAnswer,
  type UsageQuery,
  type UsageSeriesAnswer,
  type UsageSeriesQuery,
} from "@quorate/protocol";
import type { MemberContext } from "./context.ts";
import { KeptAnswers } from "./kept-answers.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import { UsageMerge } from "./usage-merge.ts";
import { UsageSeries } from "./usage-series.ts";
import { UsageTally } from "./usage-tally.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const REPORT_MS_DEFAULT = 30 * DAY_MS;
const SERIES_MS_DEFAULT = DAY_MS;
const STEP_MS_DEFAULT = HOUR_MS;
const DENIALS_MS_DEFAULT = 7 * DAY_MS;

export class UsageReport {
  private running = false;
  private readonly merge: UsageMerge;
  /** Apart from the reports: whoever may only read must not keep an administrator from the report. */
  private readonly series: KeptAnswers<UsageSeriesAnswer>;
  private readonly denials: KeptAnswers<DenialsAnswer>;

  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  constructor(member: MemberContext, lease: LeaseKeeper) {
    this.member = member;
    this.lease = lease;
    this.merge = new UsageMerge(member, lease);
    this.series = new KeptAnswers(() => member.nowMs());
    this.denials = new KeptAnswers(() => member.nowMs());
  }

  async answer(query: UsageQuery): Promise<UsageAnswer | Refusal> {
    if (this.lease.phase !== "active") return this.lease.refusal() ?? NOT_AT_WORK;
    const time = this.timeOf(query, REPORT_MS_DEFAULT);
    if ("refused" in time) return time;
    if (this.running) return ONE_AT_A_TIME;
    this.running = true;
    try {
      const by = query.by ?? "feature";
      const { feature } = query;
      const asked = { by, ...time, ...(feature === undefined ? {} : { feature }) };
      const tally = new UsageTally(time.fromMs, time.toMs);
      const missing = await this.merge.add(asked, tally);
      if (missing === null) return TOO_MUCH;
      return {
        ...instantsOf(time),
        by,
        ...tally.finish(query.limit ?? PAGE_ROWS_DEFAULT),
        missing,
      };
    } finally {
      this.running = false;
    }
  }

  /** Use over time, at most `SERIES_STEPS_MAX` steps of it. */
  async answerSeries(query: UsageSeriesQuery): Promise<UsageSeriesAnswer | Refusal> {
    if (this.lease.phase !== "active") return this.lease.refusal() ?? NOT_AT_WORK;
    const time = this.timeOf(query, SERIES_MS_DEFAULT);
    if ("refused" in time) return time;
    const { feature, stepMs = STEP_MS_DEFAULT } = query;
    const steps = Math.ceil((time.toMs - time.fromMs) / stepMs);
    if (steps > SERIES_STEPS_MAX) {
      return refuse(
        "bad-request",
        `That is ${steps} steps, and an answer has ${SERIES_STEPS_MAX} at most: ask for a shorter time or a longer stepMs.`,
      );
    }
    const question = JSON.stringify([query.from, query.to, stepMs, feature]);
    return this.series.get(question, async () => {
      const series = new UsageSeries(time.fromMs, time.toMs, stepMs);
      const asked = { by: "feature", ...time, stepMs } as const;
      const missing = await this.merge.add(
        feature === undefined ? asked : { ...asked, feature },
        series,
      );
      if (missing === null) return TOO_MUCH;
      return {
        ...instantsOf(time),
        stepMs,
        feature: feature ?? null,
        steps: series.finish(),
        missing,
      };
    });
  }

  /** Requests that were refused, the newest first. */
  async answerDenials(query: DenialsQuery): Promise<DenialsAnswer | Refusal> {
    if (this.lease.phase !== "active") return this.lease.refusal() ?? NOT_AT_WORK;
    const time = this.timeOf(query, DENIALS_MS_DEFAULT);
    if ("refused" in time) return time;
    const { feature, user, limit = PAGE_ROWS_DEFAULT } = query;
    const question = JSON.stringify([query.from, query.to, feature, user, limit]);
    return this.denials.get(question, async () => {
      const { items, missing } = await this.merge.denials({
        ...time,
        ...(feature === undefined ? {} : { feature }),
        ...(user === undefined ? {} : { user }),
        limit,
      });
      const denials = items.map(([member, row]) => ({
        at: new Date(row.endedAtMs ?? 0).toISOString(),
        member,
        session: row.session,
        feature: row.feature,
        seats: row.seats,
        holder: row.holder,
        code: row.deniedCode ?? "",
      }));
      return { denials, missing };
    });
  }

  private timeOf(
    query: { readonly from?: string; readonly to?: string },
    defaultMs: number,
  ): Time | Refusal {
    for (const name of ["from", "to"] as const) {
      if (query[name] !== undefined && !isInstant(query[name])) {
        return refuse("bad-request", `"${name}" must be a time such as 2026-11-24T08:00:00Z.`);
      }
    }
    const nowMs = this.member.ports.runtime.clocks().wallMs;
    const toMs = Math.min(nowMs, query.to === undefined ? nowMs : Date.parse(query.to));
    const fromMs = query.from === undefined ? toMs - defaultMs : Date.parse(query.from);
    if (fromMs < toMs) return { fromMs, toMs };
    return refuse("bad-request", `"from" must be before "to", and not in the future.`);
  }
}

interface Time {
  readonly fromMs: number;
  readonly toMs: number;
}

function instantsOf({ fromMs, toMs }: Time): { readonly from: string; readonly to: string } {
  return { from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString() };
}

const NOT_AT_WORK = refuse("no-mandate", "this server is not at work; ask another");
const ONE_AT_A_TIME = refuse("busy", "another report is being made here; try again", {
  retryAfterMs: 2_000,
});
const TOO_MUCH = refuse(
  "bad-request",
  "There is more usage than one report can hold: ask for less.",
);
