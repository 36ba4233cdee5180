/**
 * Who used how much in a time, pool-wide: the journals of all members that answer are read side by side, a
 * stretch at a time, and merged by time. So the peak is the pool's true one and not a sum of peaks, and the
 * memory that a report takes does not grow with the time it covers.
 */
import { PAGE_ROWS_DEFAULT, refuse, type Refusal } from "@quorate/core";
import { isInstant, type UsageAnswer, type UsageQuery } from "@quorate/protocol";
import type { JournaledUse, UsageQuery as JournalQuery, UsageStretch } from "../journal/journal.ts";
import type { MemberContext } from "./context.ts";
import { memberKeyOf, MEMBERS_KEY, type MemberRecord, type MembersRecord } from "./keys.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import { UsageTally } from "./usage-tally.ts";

const DAYS_DEFAULT = 30;
const DAY_MS = 24 * 3_600_000;
/** Uses that one report may add up: it takes a minute or so then. */
const USES_MAX = 2_000_000;
const TRIES_MAX = 2;
const FOREVER = Number.POSITIVE_INFINITY;

/** One member's journal, read from the oldest use on. */
interface Cursor {
  readonly member: string;
  readonly read: (query: JournalQuery) => Promise<UsageStretch | null>;
  uses: readonly JournaledUse[];
  at: number;
  /** Undefined at first, null after the last stretch. */
  next: JournalQuery["after"] | undefined;
}

export class UsageReport {
  private running = false;

  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  constructor(member: MemberContext, lease: LeaseKeeper) {
    this.member = member;
    this.lease = lease;
  }

  async answer(query: UsageQuery): Promise<UsageAnswer | Refusal> {
    if (this.lease.phase !== "active") return this.lease.refusal() ?? NOT_AT_WORK;
    const time = timeOf(query, this.member.ports.runtime.clocks().wallMs);
    if ("refused" in time) return time;
    if (this.running) return ONE_AT_A_TIME;
    this.running = true;
    try {
      const by = query.by ?? "feature";
      const { feature } = query;
      const asked = { by, ...time, ...(feature === undefined ? {} : { feature }) };
      const tally = new UsageTally(time.fromMs, time.toMs);
      const missing = await this.merge(asked, tally);
      if (missing === null) return TOO_MUCH;
      return {
        from: new Date(time.fromMs).toISOString(),
        to: new Date(time.toMs).toISOString(),
        by,
        ...tally.finish(query.limit ?? PAGE_ROWS_DEFAULT),
        missing,
      };
    } finally {
      this.running = false;
    }
  }

  /** The members whose history is missing; null when there is more than one report can hold. */
  private async merge(
    asked: Omit<JournalQuery, "after">,
    tally: UsageTally,
  ): Promise<string[] | null> {
    const { cursors, missing } = this.cursors();
    for (let uses = 0; uses < USES_MAX; uses += 1) {
      let first: Cursor | null = null;
      for (const cursor of cursors) {
        if (cursor.at >= cursor.uses.length && cursor.next !== null) {
          if (!(await fill(cursor, asked, tally))) missing.push(cursor.member);
        }
        if (startOf(cursor) < startOf(first)) first = cursor;
      }
      const use = first?.uses[first.at];
      if (first === null || use === undefined) return missing.sort();
      first.at += 1;
      tally.add(use);
    }
    return null;
  }

  private cursors(): { cursors: Cursor[]; missing: string[] } {
    const { id, ports, state } = this.member;
    const ids = state.get<MembersRecord>(MEMBERS_KEY)?.value.ids ?? [];
    const missing: string[] = [];
    const begin = { uses: [], at: 0, next: undefined };
    const cursors: Cursor[] = [
      { ...begin, member: id, read: async (query) => ports.journal.usage(query) },
    ];
    for (const other of ids) {
      const url = state.get<MemberRecord>(memberKeyOf(other))?.value.url;
      if (other === id) continue;
      if (url === undefined || !this.lease.mayReach(other)) missing.push(other);
      else cursors.push({ ...begin, member: other, read: (query) => this.ask(other, url, query) });
    }
    return { cursors, missing };
  }

  private async ask(id: string, url: string, query: JournalQuery): Promise<UsageStretch | null> {
    const { ports, timing, state } = this.member;
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const term = this.lease.leader()?.term ?? 0;
      const answer = await ports.peers.call(
        state.get<MemberRecord>(memberKeyOf(id))?.value.url ?? url,
        id,
        { kind: "pass-on", what: "usage", body: query, epoch: this.lease.epoch, term },
        2 * timing.callDeadlineMs,
      );
      if (answer?.ok === true) return answer.body as UsageStretch;
    }
    return null;
  }
}

/** Reads until there is a use or the end; false when the member does not answer any more. */
async function fill(
  cursor: Cursor,
  asked: Omit<JournalQuery, "after">,
  tally: UsageTally,
): Promise<boolean> {
  while (cursor.at >= cursor.uses.length && cursor.next !== null) {
    const stretch = await cursor.read({ ...asked, after: cursor.next ?? null });
    cursor.uses = stretch?.uses ?? [];
    cursor.at = 0;
    cursor.next = stretch?.next ?? null;
    if (stretch === null) return false;
    for (const [key, requests] of stretch.denied) tally.deny(key, requests);
  }
  return true;
}

function startOf(cursor: Cursor | null): number {
  return cursor?.uses[cursor.at]?.startMs ?? FOREVER;
}

function timeOf(query: UsageQuery, nowMs: number): { fromMs: number; toMs: number } | Refusal {
  for (const name of ["from", "to"] as const) {
    if (query[name] !== undefined && !isInstant(query[name])) {
      return refuse("bad-request", `"${name}" must be a time such as 2026-11-24T08:00:00Z.`);
    }
  }
  const toMs = Math.min(nowMs, query.to === undefined ? nowMs : Date.parse(query.to));
  const fromMs = query.from === undefined ? toMs - DAYS_DEFAULT * DAY_MS : Date.parse(query.from);
  if (fromMs < toMs) return { fromMs, toMs };
  return refuse("bad-request", `"from" must be before "to", and not in the future.`);
}

const NOT_AT_WORK = refuse("no-mandate", "this server is not at work; ask another");
const ONE_AT_A_TIME = refuse("busy", "another report is being made here; try again", {
  retryAfterMs: 2_000,
});
const TOO_MUCH = refuse(
  "bad-request",
  "There is more usage than one report can hold: ask for less.",
);
