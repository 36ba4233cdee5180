/**
 * The usage history of the whole pool as one: the journals of all members that answer are read side by side, a
 * stretch at a time, and merged by time. So a peak is the pool's true one and not a sum of peaks, and the
 * memory that it takes does not grow with the time it covers.
 */
import type {
  HistoryQuery,
  HistoryRow,
  JournaledUse,
  UsageQuery,
  UsageStretch,
} from "../journal/journal.ts";
import type { MemberContext } from "./context.ts";
import { HistoryBegins } from "./history-begins.ts";
import { memberKeyOf, MEMBERS_KEY, type MemberRecord, type MembersRecord } from "./keys.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";

/** Uses that one report may add up: it takes a minute or so then. */
const USES_MAX = 2_000_000;
const TRIES_MAX = 2;
/** Uses that are ended, or begun, in one turn of the event loop. */
const USES_A_TURN = 2_000;
/** In call deadlines: a search among many uses for few refusals takes long. */
const DENIALS_DEADLINES = 4;
const FOREVER = Number.POSITIVE_INFINITY;

/** What uses are added up in. */
export interface Sum {
  /** In the order of `startMs`. */
  add(use: JournaledUse): void;
  deny(key: string, requests: number): void;
  /** Ends what ends until then, `most` uses at most; false when there are more. */
  advance(toMs: number, most: number): boolean;
}

export interface Reached<Item> {
  readonly items: readonly Item[];
  readonly missing: readonly string[];
}

/** One member's journal, read from the oldest use that may matter on. */
interface Cursor {
  readonly member: string;
  readonly read: (query: UsageQuery) => Promise<UsageStretch | null>;
  uses: readonly JournaledUse[];
  at: number;
  /** Where it begins to read; null: with the oldest row. */
  readonly begin: UsageQuery["after"];
  /** Undefined at first, null after the last stretch. */
  next: UsageQuery["after"] | undefined;
  /** Of the first use that was read. */
  oldestMs: number | null;
}

type Asked = Omit<UsageQuery, "after">;

export class UsageMerge {
  private readonly begins: HistoryBegins;
  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  constructor(member: MemberContext, lease: LeaseKeeper) {
    this.member = member;
    this.lease = lease;
    this.begins = new HistoryBegins(() => member.nowMs());
  }

  /** The members whose history is missing; null when there is more than one report can hold. */
  async add(asked: Asked, sum: Sum): Promise<string[] | null> {
    const { ports } = this.member;
    const { reached, missing } = this.members();
    const { feature, fromMs } = asked;
    const cursors: Cursor[] = reached.map((member) => ({
      member,
      uses: [],
      at: 0,
      begin: this.begins.placeFor(member, feature, fromMs),
      next: undefined,
      oldestMs: null,
      read: (query) =>
        member === this.member.id
          ? ports.journal.usage(query)
          : this.ask<UsageStretch>(member, "usage", query, 2),
    }));
    for (let uses = 0; uses < USES_MAX; uses += 1) {
      let first: Cursor | null = null;
      for (const cursor of cursors) {
        if (cursor.at >= cursor.uses.length && cursor.next !== null) {
          if (!(await fill(cursor, asked, sum))) missing.push(cursor.member);
        }
        if (startOf(cursor) < startOf(first)) first = cursor;
      }
      const use = first?.uses[first.at];
      if (uses % USES_A_TURN === USES_A_TURN - 1) await this.member.pause(0);
      const untilMs = Math.min(use?.startMs ?? FOREVER, asked.toMs);
      while (!sum.advance(untilMs, USES_A_TURN)) await this.member.pause(0);
      if (first === null || use === undefined) {
        for (const { member, oldestMs } of cursors) {
          if (!missing.includes(member)) this.begins.note(member, feature, asked, oldestMs);
        }
        return missing.sort();
      }
      first.at += 1;
      sum.add(use);
    }
    return null;
  }

  /** The newest refused requests of each member that answers. */
  async denials(query: HistoryQuery): Promise<Reached<readonly [member: string, row: HistoryRow]>> {
    const { reached, missing } = this.members();
    const asked = { ...query, denied: true };
    const answers = await Promise.all(
      reached.map(async (member) => {
        const rows =
          member === this.member.id
            ? await this.member.ports.journal.history(asked)
            : await this.ask<readonly HistoryRow[]>(member, "denials", asked, DENIALS_DEADLINES);
        if (rows === null) missing.push(member);
        return (rows ?? []).map((row) => [member, row] as const);
      }),
    );
    const items = answers
      .flat()
      .sort(([, a], [, b]) => (b.endedAtMs ?? 0) - (a.endedAtMs ?? 0))
      .slice(0, query.limit);
    return { items, missing: missing.sort() };
  }

  private members(): { reached: string[]; missing: string[] } {
    const { id, state } = this.member;
    const others = (state.get<MembersRecord>(MEMBERS_KEY)?.value.ids ?? []).filter(
      (each) => each !== id,
    );
    const isThere = (each: string): boolean =>
      this.lease.mayReach(each) && state.get<MemberRecord>(memberKeyOf(each)) !== null;
    return {
      reached: [id, ...others.filter(isThere)],
      missing: others.filter((each) => !isThere(each)),
    };
  }

  private async ask<Answer>(
    id: string,
    what: "usage" | "denials",
    body: unknown,
    deadlines: number,
  ): Promise<Answer | null> {
    const { ports, timing, state } = this.member;
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const term = this.lease.leader()?.term ?? 0;
      const answer = await ports.peers.call(
        state.get<MemberRecord>(memberKeyOf(id))?.value.url ?? "",
        id,
        { kind: "pass-on", what, body, epoch: this.lease.epoch, term },
        deadlines * timing.callDeadlineMs,
      );
      if (answer?.ok === true) return answer.body as Answer;
    }
    return null;
  }
}

/** Reads until there is a use or the end; false when the member does not answer any more. */
async function fill(cursor: Cursor, asked: Asked, sum: Sum): Promise<boolean> {
  while (cursor.at >= cursor.uses.length && cursor.next !== null) {
    const after = cursor.next === undefined ? cursor.begin : cursor.next;
    const stretch = await cursor.read({ ...asked, after });
    cursor.uses = stretch?.uses ?? [];
    cursor.at = 0;
    cursor.next = stretch?.next ?? null;
    if (stretch === null) return false;
    cursor.oldestMs ??= stretch.uses[0]?.startMs ?? null;
    for (const [key, requests] of stretch.denied) sum.deny(key, requests);
  }
  return true;
}

function startOf(cursor: Cursor | null): number {
  return cursor?.uses[cursor.at]?.startMs ?? FOREVER;
}
