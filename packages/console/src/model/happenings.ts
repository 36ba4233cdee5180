/**
 * What happened lately, as sentences. Two sources: differences between two looks at the pool, which can't be
 * missed for long, and the members' event streams, which know more. What both tell has the same key and is
 * told once.
 */
import type { MemberEvent, PoolAnswer } from "@quorate/protocol";

/** What a reader may want to see alone. */
export type HappeningKind = "servers" | "seats" | "licenses" | "requests" | "alarms";

export interface Happening {
  readonly key: string;
  readonly kind: HappeningKind;
  readonly atMs: number;
  readonly tone: "good" | "plain" | "bad";
  readonly text: string;
  /** How often, when the same thing happened again and again. */
  readonly times: number;
}

export const HAPPENINGS_MAX = 200;
/** Two members tell the same within this; the same thing later is another one. */
const SAME_WITHIN_MS = 60_000;

/** Newest first. */
export function addHappenings(
  known: readonly Happening[],
  news: readonly Happening[],
): readonly Happening[] {
  let list = known;
  for (const one of news) {
    // What was before the page was opened comes late: it goes where it belongs.
    const same = list.find(
      (each) => each.key === one.key && Math.abs(one.atMs - each.atMs) <= SAME_WITHIN_MS,
    );
    if (same === undefined) {
      const newer = list.filter((each) => each.atMs > one.atMs);
      list = [...newer, one, ...list.slice(newer.length)].slice(0, HAPPENINGS_MAX);
    } else if (COUNTED.test(one.key)) {
      list = list.map((each) => (each === same ? { ...same, times: same.times + 1 } : each));
    }
  }
  return list;
}

/** Happens again and again: counted in one line. Everything else that comes twice was told by two. */
const COUNTED = /^(?:denied|moved|converted)\//;

export function happeningsBetween(
  before: PoolAnswer,
  after: PoolAnswer,
  atMs: number,
): Happening[] {
  const news: Happening[] = [];
  const tell = (key: string, tone: Happening["tone"], text: string): void => {
    const kind = key.startsWith("license/") ? "licenses" : "servers";
    news.push({ key, kind, atMs, tone, text, times: 1 });
  };
  for (const member of after.members) {
    const old = before.members.find((each) => each.id === member.id);
    const { id } = member;
    if (old === undefined) tell(`new/${id}`, "good", `${id} joined the pool`);
    else if (old.alive && !member.alive) {
      const how = member.state === "stopped" ? "was stopped on purpose" : "is down";
      tell(`down/${id}/${member.epoch}`, "bad", `${id} ${how}`);
    } else if (!old.alive && member.alive) tell(`up/${id}`, "good", `${id} is up again`);
    const sequence = member.licenseSequence;
    if (old !== undefined && sequence !== null && sequence !== old.licenseSequence) {
      tell(`license/${sequence}/${id}`, "plain", `${id} has license ${sequence}`);
    }
  }
  for (const old of before.members) {
    if (!after.members.some((each) => each.id === old.id)) {
      tell(`removed/${old.id}`, "plain", `${old.id} was removed from the pool`);
    }
  }
  if (
    after.leader !== null &&
    (before.leader?.id !== after.leader.id || before.term !== after.term)
  ) {
    tell(`leader/${after.term}`, "plain", `${after.leader.id} leads, term ${after.term}`);
  }
  if (before.majority.reached !== after.majority.reached) {
    const { reached, alive } = after.majority;
    tell(
      `majority/${reached}/${alive}`,
      reached ? "good" : "bad",
      reached ? "a majority is reached again" : "the majority is lost",
    );
  }
  return news;
}

const KINDS: Readonly<Record<string, HappeningKind>> = {
  "seats-moved": "seats",
  "seats-reclaimed": "seats",
  reinstated: "seats",
  converted: "seats",
  "feature-resized": "licenses",
  "license-installed": "licenses",
  "license-expires": "licenses",
  "seat-limit-reached": "requests",
  revoked: "requests",
  denied: "requests",
  alarm: "alarms",
  "alarm-cleared": "alarms",
};

/** Null for what happens all the time and needs no line, and for what a newer server may send. */
export function happeningOf(event: MemberEvent, from: string): Happening | null {
  const { type, data } = event;
  const word = (name: string): string => {
    const value = data[name];
    return typeof value === "string" || typeof value === "number" ? String(value) : "?";
  };
  const make = (key: string, tone: Happening["tone"], text: string): Happening => ({
    key,
    kind: KINDS[type] ?? "servers",
    atMs: Date.parse(event.at),
    tone,
    text,
    times: 1,
  });
  switch (type) {
    case "leader-changed":
      return make(
        `leader/${word("term")}`,
        "plain",
        `${word("member")} leads, term ${word("term")}`,
      );
    case "member-retired":
      return make(
        `retired/${word("member")}/${word("epoch")}`,
        "bad",
        `${word("member")} was retired: its seats move to clients that are still there`,
      );
    case "member-stopped":
      return make(
        `stopped/${word("member")}`,
        "plain",
        `${word("member")} gave its seats back and stopped`,
      );
    case "member-broken":
      return make(
        `broken/${word("member")}`,
        "bad",
        `${word("member")} stopped: it can't do its work`,
      );
    case "member-removed":
      return make(
        `removed/${word("member")}`,
        "plain",
        `${word("member")} was removed from the pool`,
      );
    case "seats-moved":
      return make(
        `moved/${word("feature")}/${word("to")}`,
        "plain",
        `${word("feature")}: ${word("to")} got ${seatWords(word("seats"))} to grant`,
      );
    case "seats-reclaimed":
      return make(
        `reclaimed/${word("feature")}/${word("from")}`,
        "good",
        `${word("feature")}: ${seatWords(word("seats"))} of ${memberOf(word("from"))} are free again`,
      );
    case "reinstated":
      return make(
        `reinstated/${word("member")}/${word("feature")}/${word("epoch")}`,
        "good",
        `${word("feature")}: ${word("member")} took back what is its own`,
      );
    case "converted":
      return make(
        `converted/${from}/${word("feature")}`,
        "good",
        `${word("feature")}: ${from} took over a client of another server`,
      );
    case "feature-resized":
      return make(
        `resized/${word("feature")}/${word("seats")}`,
        "plain",
        `${word("feature")} has ${seatWords(word("seats"))} now`,
      );
    case "license-installed":
      return make(
        `license/${word("sequence")}/${from}`,
        "plain",
        `${from} has license ${word("sequence")}`,
      );
    case "revoked":
      return make(
        `revoked/${word("session")}`,
        "plain",
        `${word("feature")}: a seat was revoked (${word("reason")})`,
      );
    case "denied":
      return make(
        `denied/${word("feature")}/${word("code")}`,
        "bad",
        `${word("feature")}: a request was denied (${word("code")})`,
      );
    case "seat-limit-reached":
      return make(
        `limit/${word("feature")}`,
        "bad",
        `${word("feature")}: all ${seatWords(word("seats"))} are in use`,
      );
    case "license-expires":
      return make(
        `expires/${word("feature")}/${word("days")}`,
        "bad",
        `${word("feature")} ends within ${word("days") === "1" ? "a day" : `${word("days")} days`}`,
      );
    case "majority-lost":
      return make(`majority/false/${word("alive")}`, "bad", "the majority is lost");
    case "majority-reached":
      return make(`majority/true/${word("alive")}`, "good", "a majority is reached again");
    case "member-lost":
      return make(`down/${word("member")}/${word("epoch")}`, "bad", `${word("member")} is down`);
    case "alarm":
      return make(`alarm/${from}/${word("name")}`, "bad", `${from}: ${word("sentence")}`);
    case "alarm-cleared":
      return make(
        `cleared/${from}/${word("name")}`,
        "good",
        `${from}: the alarm “${word("name")}” is over`,
      );
    default:
      return null;
  }
}

function seatWords(seats: string): string {
  return seats === "1" ? "1 seat" : `${seats} seats`;
}

/** A retired entry is named `member/epoch`. */
function memberOf(entry: string): string {
  return entry.split("/", 1)[0] ?? entry;
}
