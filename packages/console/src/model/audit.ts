/** The audit logs of the servers as one list that people read: one line a deed, the newest first. */
import type { AuditEntry } from "@quorate/protocol";

export interface Deed {
  readonly key: string;
  readonly member: string;
  readonly atMs: number;
  readonly who: string;
  readonly role: string;
  readonly from: string;
  readonly text: string;
  readonly outcome: string;
  readonly tone: "good" | "plain" | "bad";
}

/**
 * A deed is noted before it is done and again when it has ended: where the end is known the beginning says
 * nothing more. `entries` of one server, the newest first.
 */
export function deedsOf(member: string, entries: readonly AuditEntry[]): Deed[] {
  const ended: AuditEntry[] = [];
  const deeds: Deed[] = [];
  for (const entry of entries) {
    if (entry.outcome === "begun") {
      const end = ended.findIndex((each) => isSameDeed(each, entry));
      if (end !== -1) {
        ended.splice(end, 1);
        continue;
      }
    } else {
      ended.push(entry);
      if (ended.length > OPEN_ENDS_MAX) ended.shift();
    }
    deeds.push(deedOf(member, entry));
  }
  return deeds;
}

/** Deeds that run at the same time are few; what never began has no line to wait for. */
const OPEN_ENDS_MAX = 50;

export function newestFirst(lists: readonly (readonly Deed[])[]): Deed[] {
  return lists.flat().sort((a, b) => b.atMs - a.atMs);
}

function isSameDeed(end: AuditEntry, begin: AuditEntry): boolean {
  return (
    end.what === begin.what &&
    end.who === begin.who &&
    end.from === begin.from &&
    JSON.stringify(end.details) === JSON.stringify(begin.details)
  );
}

function deedOf(member: string, entry: AuditEntry): Deed {
  const { number, at, who, role, from, outcome } = entry;
  const tone = outcome === "done" ? "good" : outcome === "begun" ? "plain" : "bad";
  return {
    key: `${member}/${number}`,
    member,
    atMs: Date.parse(at),
    who: who === "" ? "nobody known" : who,
    role,
    from,
    text: sentenceOf(entry),
    outcome: outcome === "begun" ? "begun; how it ended is not noted" : outcome,
    tone,
  };
}

function sentenceOf({ what, details, outcome }: AuditEntry): string {
  const word = (name: string): string => {
    const value = details[name];
    return typeof value === "string" || typeof value === "number" ? String(value) : "?";
  };
  switch (what) {
    case "license-install":
      return `installed license ${word("sequence")}`;
    case "pool-lead":
      return `moved the leadership to ${word("member")}`;
    case "pool-remove":
      return `removed ${word("member")} from the pool`;
    case "pool-rebuild":
      return "rebuilt the pool";
    case "token-create":
      return `made the token “${word("name")}” (${word("role")})`;
    case "token-revoke":
      return `revoked the token ${word("id")}`;
    case "session-revoke":
      return `revoked session ${word("session").slice(0, 8)}… (${word("reason")})`;
    case "login":
      return `${outcome === "done" ? "logged in" : "tried to log in"} by ${word("way")}`;
    case "logout":
      return "logged out";
    default:
      return `${what} ${JSON.stringify(details)}`;
  }
}
