import { expect, test } from "vitest";
import { addHappenings, happeningOf, happeningsBetween, HAPPENINGS_MAX } from "./happenings.ts";
import type { Happening } from "./happenings.ts";
import { member, pool } from "./test-values.ts";

const AT = "2026-11-24T12:00:00.000Z";
const AT_MS = Date.parse(AT);

test("two looks tell that a leader died, another leads and the majority holds", () => {
  const after = pool({
    leader: { id: "b", url: "http://127.0.0.1:7351" },
    term: 2,
    members: [member({ id: "a", alive: false }), member({ id: "b" }), member({ id: "c" })],
  });
  expect(textsOf(happeningsBetween(pool(), after, AT_MS))).toEqual([
    "a is down",
    "b leads, term 2",
  ]);
});

test("two looks tell of majorities, licenses and members that come and go", () => {
  const lost = pool({ majority: { needed: 2, alive: 1, reached: false } });
  expect(textsOf(happeningsBetween(pool(), lost, AT_MS))).toEqual(["the majority is lost"]);
  const changed = pool({
    members: [member({ id: "a", licenseSequence: 2 }), member({ id: "b" }), member({ id: "d" })],
  });
  expect(textsOf(happeningsBetween(pool(), changed, AT_MS))).toEqual([
    "a has license 2",
    "d joined the pool",
    "c was removed from the pool",
  ]);
  expect(happeningsBetween(pool(), pool(), AT_MS)).toEqual([]);
});

test("what a look and two members tell is told once", () => {
  const event = { type: "leader-changed", at: AT, data: { member: "b", term: 2 } };
  const seen = happeningsBetween(pool(), pool({ leader: { id: "b", url: "" }, term: 2 }), AT_MS);
  const list = addHappenings(addHappenings([], seen), [told(event, "b"), told(event, "c")]);
  expect(textsOf(list)).toEqual(["b leads, term 2"]);
  expect(list[0]?.times).toBe(1);
});

test("requests that are denied again and again are counted in one line", () => {
  const event = { type: "denied", at: AT, data: { feature: "cad", code: "no-seats" } };
  let list: readonly Happening[] = [];
  for (let times = 0; times < 5; times += 1) list = addHappenings(list, [told(event, "a")]);
  expect(list).toMatchObject([{ text: "cad: a request was denied (no-seats)", times: 5 }]);
  const later = { ...event, at: "2026-11-24T12:05:00.000Z" };
  expect(addHappenings(list, [told(later, "a")])).toHaveLength(2);
});

test("grants, and what a newer server may send, need no line", () => {
  expect(happeningOf({ type: "granted", at: AT, data: {} }, "a")).toBeNull();
  expect(happeningOf({ type: "unheard-of", at: AT, data: {} }, "a")).toBeNull();
});

test("an event without its data makes a poor sentence and no failure", () => {
  expect(told({ type: "seats-moved", at: AT, data: {} }, "a").text).toBe(
    "?: ? got ? seats to grant",
  );
});

test("the list is bounded", () => {
  let list: readonly Happening[] = [];
  for (let index = 0; index < HAPPENINGS_MAX + 50; index += 1) {
    list = addHappenings(list, [
      told({ type: "revoked", at: AT, data: { session: `s${index}` } }, "a"),
    ]);
  }
  expect(list).toHaveLength(HAPPENINGS_MAX);
});

function told(event: Parameters<typeof happeningOf>[0], from: string): Happening {
  const happening = happeningOf(event, from);
  if (happening === null) throw new Error(`${event.type} is not told`);
  return happening;
}

function textsOf(list: readonly Happening[]): string[] {
  return list.map((each) => each.text);
}
