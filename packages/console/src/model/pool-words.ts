/** The three questions of the moment, answered in plain words from what the API says. */
import type { FeatureRow, PoolAnswer, PoolMemberRow } from "@quorate/protocol";
import { termWords } from "./time-words.ts";
import { whenFull } from "./usage.ts";
import type { Usage } from "./usage.ts";

/** With a smaller share of its seats free, a feature is worth a look. */
const TIGHT_SHARE = 0.1;

type Tone = "good" | "warn" | "bad";

export interface Answered {
  readonly tone: Tone;
  readonly short: string;
  readonly more: string;
}

export function healthOf(pool: PoolAnswer): Answered {
  const { majority, leader, size, members, alarms } = pool;
  if (size === 0) {
    return { tone: "warn", short: "No license yet", more: "Install one on the page License." };
  }
  const servers = `${majority.alive} of ${size} ${size === 1 ? "server" : "servers"} up`;
  const needs = size === 1 ? "" : ` A majority is ${majority.needed} of ${size}.`;
  if (!majority.reached) {
    return {
      tone: "bad",
      short: `No majority: ${servers}`,
      more: `Nothing new is granted or renewed until ${majority.needed} of ${size} are up.`,
    };
  }
  const missing = size - majority.alive;
  const absent = members.filter((each) => !each.alive).map((each) => each.id);
  if (leader === null) {
    return {
      tone: "warn",
      short: `${servers}, no leader`,
      more: `One will take over in a moment. Seats are still granted, but don't move.${needs}`,
    };
  }
  if (missing > 0) {
    const spare = majority.alive - majority.needed;
    const who =
      absent.length > 0
        ? `${listWords(absent)} ${absent.length === 1 ? "is" : "are"} missing. `
        : "";
    return {
      tone: "warn",
      short: servers,
      more: `${who}The majority is reached: work goes on, ${spare === 0 ? "but no other server may fail" : `and ${spare} more may fail`}.`,
    };
  }
  const tone = alarms.length > 0 ? "warn" : "good";
  return {
    tone,
    short: `All well: ${servers}`,
    more: `${leader.id} leads, term ${pool.term}.${needs}`,
  };
}

export type MemberLook = "granting" | "waiting" | "silent" | "gone";

/**
 * How a member looks from here. `silent`: the pool still counts it as alive, but its own stream to this
 * page has broken; within a lease the pool will know.
 */
export function memberLook(member: PoolMemberRow, silent: boolean): MemberLook {
  if (!member.alive) return "gone";
  if (silent) return "silent";
  return member.mandate ? "granting" : "waiting";
}

const GONE_WORDS: Readonly<Record<string, string>> = {
  stopped: "stopped on purpose",
  broken: "stopped: it can't do its work",
};

export function memberWords(member: PoolMemberRow, look: MemberLook): string {
  switch (look) {
    case "granting":
      return "up, may grant";
    case "waiting":
      return "up, may not grant now";
    case "silent":
      return "does not answer this page";
    case "gone":
      return GONE_WORDS[member.state] ?? "down";
  }
}

/** All seats of all features together: who has them. */
export function seatsInUse(features: readonly FeatureRow[]): Answered {
  const inUse = sum(features, (each) => each.inUse);
  const seats = sum(features, seatsOf);
  const busiest = features
    .filter((each) => each.inUse > 0)
    .toSorted((a, b) => b.inUse / seatsOf(b) - a.inUse / seatsOf(a))
    .slice(0, 3)
    .map((each) => `${each.name} ${each.inUse}/${seatsOf(each)}`);
  return {
    tone: "good",
    short: `${count(inUse)} of ${count(seats)} seats in use`,
    more: busiest.length === 0 ? "Nobody holds a seat." : busiest.join(" · "),
  };
}

/** What runs out first: seats that are gone, seats that go at this pace, a term that ends. */
export function runsOut(
  features: readonly FeatureRow[],
  usages: ReadonlyMap<string, Usage>,
  nowMs: number,
): Answered {
  const ended = features.filter(
    (each) => termWords(each.starts, each.expires, nowMs).tone === "over",
  );
  const full = features.filter((each) => each.free === 0 && seatsOf(each) > 0);
  const next = nextTerm(features, nowMs);
  if (ended.length > 0) {
    return { tone: "bad", short: `${listWords(ended.map(nameOf))} ended`, more: next };
  }
  if (full.length > 0) {
    const waiting = sum(full, (each) => each.queued);
    const queue = waiting === 0 ? "nobody waits" : `${count(waiting)} waiting`;
    return {
      tone: waiting > 0 ? "bad" : "warn",
      short: `${listWords(full.map(nameOf))} full now`,
      more: `${capital(queue)}. ${next}`,
    };
  }
  const pace = features
    .map((each) => ({ name: each.name, ms: whenFull(usages.get(each.name), each.free, nowMs) }))
    .filter((each): each is { name: string; ms: number } => each.ms !== null)
    .toSorted((a, b) => a.ms - b.ms)[0];
  if (pace !== undefined) {
    const minutes = Math.max(1, Math.round(pace.ms / 60_000));
    return {
      tone: "warn",
      short: `${pace.name} in about ${minutes} min`,
      more: `At the pace of the last minutes. ${next}`,
    };
  }
  const least = features.toSorted(
    (a, b) => a.free / Math.max(1, seatsOf(a)) - b.free / Math.max(1, seatsOf(b)),
  )[0];
  if (least === undefined) return { tone: "good", short: "Nothing is licensed", more: "" };
  const isTight = least.free <= Math.max(1, seatsOf(least) * TIGHT_SHARE);
  const left = `${least.name} has ${count(least.free)} of ${count(seatsOf(least))} free`;
  return isTight
    ? { tone: "warn", short: left, more: `At the pace of the last minutes, not soon. ${next}` }
    : { tone: "good", short: `Not soon: ${left}`, more: next };
}

export function seatsOf(feature: FeatureRow): number {
  return feature.seats + feature.overdraft;
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

export function plural(value: number, one: string, more = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : more}`;
}

/** `a`, `a and b`, `a, b and 3 more`. */
export function listWords(names: readonly string[]): string {
  const [first, second, third] = names;
  if (first === undefined) return "nothing";
  if (second === undefined) return first;
  if (third === undefined) return `${first} and ${second}`;
  return names.length === 3
    ? `${first}, ${second} and ${third}`
    : `${first}, ${second} and ${names.length - 2} more`;
}

function nextTerm(features: readonly FeatureRow[], nowMs: number): string {
  const next = features
    .filter((each) => each.expires !== null && Date.parse(each.expires) > nowMs)
    .toSorted((a, b) => Date.parse(a.expires ?? "") - Date.parse(b.expires ?? ""))[0];
  if (next === undefined) return "No feature has an end.";
  return `${next.name} ${termWords(null, next.expires, nowMs).words}.`;
}

function nameOf(feature: FeatureRow): string {
  return feature.name;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function sum<T>(rows: readonly T[], of: (row: T) => number): number {
  return rows.reduce((total, row) => total + of(row), 0);
}
