import { describe, expect, test } from "vitest";
import type { AuditEntry } from "@quorate/protocol";
import { deedsOf, newestFirst } from "./audit.ts";

function entry(number: number, more: Partial<AuditEntry>): AuditEntry {
  return {
    number,
    at: `2026-11-24T12:00:${String(number).padStart(2, "0")}.000Z`,
    who: "lea",
    role: "administrator",
    from: "10.0.0.7",
    what: "license-install",
    details: { sequence: 2 },
    outcome: "done",
    previous: "0",
    ...more,
  };
}

describe("the deeds of a log", () => {
  test("are one line each: the end, where it is known", () => {
    const texts = deedsOf("a", [
      entry(6, { outcome: "begun", what: "pool-lead", details: { member: "b" } }),
      entry(5, { outcome: "license-older", details: { sequence: 1 } }),
      entry(4, { outcome: "begun", details: { sequence: 1 } }),
      entry(3, { outcome: "done" }),
      entry(2, { outcome: "begun" }),
      entry(1, { outcome: "unauthorized", what: "login", who: "", details: { way: "token" } }),
    ]).map(({ who, text, outcome, tone }) => `${who} ${text}: ${outcome} (${tone})`);
    expect(texts).toEqual([
      "lea moved the leadership to b: begun; how it ended is not noted (plain)",
      "lea installed license 1: license-older (bad)",
      "lea installed license 2: done (good)",
      "nobody known tried to log in by token: unauthorized (bad)",
    ]);
  });

  test("of all servers are in the order of their time", () => {
    const lists = [
      deedsOf("a", [entry(7, {}), entry(2, {})]),
      deedsOf("b", [entry(5, { what: "logout", details: {} })]),
    ];
    expect(newestFirst(lists).map((each) => each.key)).toEqual(["a/7", "b/5", "a/2"]);
  });

  test("that a newer server notes are shown as they are", () => {
    const [deed] = deedsOf("a", [entry(1, { what: "moon-shot", details: { to: 1 } })]);
    expect(deed?.text).toBe('moon-shot {"to":1}');
  });
});
