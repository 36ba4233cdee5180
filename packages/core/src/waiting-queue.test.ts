import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { QUEUE_PLACES_MAX } from "./limits.ts";
import { WaitingQueue } from "./waiting-queue.ts";

describe("a place in the queue", () => {
  test("goes by arrival and is kept by repeating, whichever server the request comes through", () => {
    const queue = new WaitingQueue();
    queue.keep("first", 1, "ada", null, 1_000);
    queue.keep("second", 2, "bob", null, 1_000);
    const again = queue.keep("first", 3, "cyd", null, 5_000);
    expect(again).toMatchObject({ ticket: 1, seats: 3, member: "cyd", keptUntilMs: 5_000 });
    expect(queue.inOrder().map((each) => each.session)).toEqual(["first", "second"]);
    expect([queue.place("first"), queue.place("second")]).toEqual([1, 2]);
    expect(queue.seatsAhead("second")).toBe(3);
  });

  test("is lost at the moment until which it was kept", () => {
    const queue = new WaitingQueue();
    queue.keep("late", 1, "ada", null, 1_000);
    queue.keep("there", 1, "ada", null, 1_001);
    queue.expire(1_000);
    expect(queue.has("late")).toBe(false);
    expect(queue.place("there")).toBe(1);
    expect(queue.keep("late", 1, "ada", null, 9_000)?.ticket).toBe(3);
  });

  test("a request that is not in the queue comes after all who are", () => {
    const queue = new WaitingQueue();
    queue.keep("first", 2, "ada", null, 1_000);
    queue.keep("second", 3, "ada", null, 1_000);
    expect(queue.seatsAhead("stranger")).toBe(5);
    expect(queue.place("stranger")).toBe(3);
    queue.leave("first");
    queue.leave("stranger");
    expect(queue.seatsAhead("stranger")).toBe(3);
  });
});

describe("a ticket from before a change of leader", () => {
  test("keeps the order of those who waited then, and of those who come now after them", () => {
    const queue = new WaitingQueue();
    queue.keep("b", 1, "ada", "12", 1_000);
    queue.keep("new", 1, "ada", null, 1_000);
    queue.keep("a", 1, "ada", "7", 1_000);
    expect(queue.inOrder().map((each) => each.session)).toEqual(["a", "b", "new"]);
  });

  test.each(["", "-1", "1e9", "0x10", "9".repeat(16), "12 ", "NaN"])(
    "that no leader can have given (%j) counts as none",
    (ticket) => {
      const queue = new WaitingQueue(40);
      expect(queue.keep("session", 1, "ada", ticket, 1_000)?.ticket).toBe(40);
    },
  );
});

test("a full queue takes nobody in and keeps the places it gave", () => {
  const queue = new WaitingQueue();
  for (let index = 0; index < QUEUE_PLACES_MAX; index += 1) {
    queue.keep(`session ${index}`, 1, "ada", null, 1_000);
  }
  expect(queue.keep("one too many", 1, "ada", null, 1_000)).toBeNull();
  expect(queue.keep("session 3", 1, "ada", null, 2_000)?.ticket).toBe(4);
  expect(queue.size).toBe(QUEUE_PLACES_MAX);
});

/** Against a plain list in the order of arrival. */
test("whatever happens, nobody overtakes: places and seats ahead are those of a plain list", () => {
  const sessions = fc.constantFrom("a", "b", "c", "d", "e");
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("keep" as const),
      session: sessions,
      seats: fc.integer({ min: 1, max: 5 }),
      untilMs: fc.integer({ min: 1, max: 100 }),
    }),
    fc.record({ kind: fc.constant("leave" as const), session: sessions }),
    fc.record({ kind: fc.constant("expire" as const), nowMs: fc.integer({ min: 0, max: 100 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new WaitingQueue();
      let model: { session: string; seats: number; untilMs: number }[] = [];
      for (const each of steps) {
        if (each.kind === "keep") {
          queue.keep(each.session, each.seats, "ada", null, each.untilMs);
          const known = model.find(({ session }) => session === each.session);
          if (known === undefined) model.push({ ...each });
          else Object.assign(known, { seats: each.seats, untilMs: each.untilMs });
        } else if (each.kind === "leave") {
          queue.leave(each.session);
          model = model.filter(({ session }) => session !== each.session);
        } else {
          queue.expire(each.nowMs);
          model = model.filter(({ untilMs }) => untilMs > each.nowMs);
        }
        expect(queue.inOrder().map(({ session }) => session)).toEqual(
          model.map(({ session }) => session),
        );
        let ahead = 0;
        for (const [index, { session, seats }] of model.entries()) {
          expect(queue.place(session)).toBe(index + 1);
          expect(queue.seatsAhead(session)).toBe(ahead);
          ahead += seats;
        }
      }
    }),
  );
});
