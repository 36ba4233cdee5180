import { describe, expect, test } from "vitest";
import { Ledger, type NewSession } from "./ledger.ts";
import { TOMBSTONES_MAX } from "./limits.ts";
import { serverLifeMs } from "./timing.ts";

const LIFE_MS = 60_000;
const SERVER_LIFE_MS = serverLifeMs(LIFE_MS);

function wanted(session: string, more: Partial<NewSession> = {}): NewSession {
  return {
    session,
    n: 1,
    feature: "cad",
    version: null,
    seats: 1,
    holder: { user: "u", host: "h" },
    lifeMs: LIFE_MS,
    grantedAtMs: 0,
    convertedFrom: null,
    holdMs: 0,
    ...more,
  };
}

function used(ledger: Ledger, epoch: number): number {
  return ledger.account("cad", epoch).used;
}

describe("seats in use", () => {
  test("count from the entry on, and are free at once when a session ends that is not held", () => {
    const ledger = new Ledger();
    const session = ledger.begin(wanted("a", { seats: 3 }), 1, 0);
    expect(used(ledger, 1)).toBe(3);
    expect(ledger.end(session, 10, 1)).toBe(0);
    expect(ledger.end(session, 10, 1)).toBe(0);
    expect(used(ledger, 1)).toBe(0);
  });

  test("of a held session stay used till the end of the wait, even if it ended before", () => {
    const ledger = new Ledger();
    const session = ledger.begin(wanted("a", { holdMs: 1_000 }), 1, 100);
    expect(ledger.end(session, 300, 1)).toBe(800);
    expect(ledger.endHolds(1_099)).toEqual([]);
    expect(used(ledger, 1)).toBe(1);
    expect(ledger.endHolds(1_100)).toEqual(["a"]);
    expect(used(ledger, 1)).toBe(0);
    expect(ledger.holdCount()).toBe(0);
  });

  test("of a session that ends while the epoch may be over are held until it is known to go on", () => {
    const ledger = new Ledger();
    const session = ledger.begin(wanted("a"), 1, 0);
    expect(ledger.end(session, 100, 1, true)).toBe(SERVER_LIFE_MS);
    expect(ledger.endHolds(200)).toEqual([]);
    expect(used(ledger, 1)).toBe(1);
    ledger.epochGoesOn(1);
    expect(ledger.endHolds(200)).toEqual(["a"]);
    expect(used(ledger, 1)).toBe(0);
  });

  test("of such a session stay held for a whole life if the epoch was over", () => {
    const ledger = new Ledger();
    ledger.end(ledger.begin(wanted("a"), 1, 0), 100, 1, true);
    ledger.epochGoesOn(2);
    expect(ledger.endHolds(SERVER_LIFE_MS)).toEqual([]);
    expect(used(ledger, 1)).toBe(1);
    expect(ledger.endHolds(100 + SERVER_LIFE_MS)).toEqual(["a"]);
  });

  test("of two holds of one session are told free with the last", () => {
    const ledger = new Ledger();
    ledger.end(ledger.begin(wanted("a", { holdMs: 1_000 }), 1, 0), 1, 1);
    ledger.end(ledger.begin(wanted("a", { holdMs: 2_000 }), 1, 0), 1, 1);
    expect(ledger.endHolds(1_500)).toEqual([]);
    expect(used(ledger, 1)).toBe(1);
    expect(ledger.endHolds(2_000)).toEqual(["a"]);
  });

  test("move with their session to another epoch, and are held there anew", () => {
    const ledger = new Ledger();
    const session = ledger.begin(wanted("a"), 1, 0);
    ledger.moveToEpoch(session, 2, 500, 100);
    expect([used(ledger, 1), used(ledger, 2)]).toEqual([0, 1]);
    expect(session.tokenEpoch).toBe(2);
    expect(ledger.end(session, 200, 2)).toBe(400);
  });

  test("of a whole epoch are adopted by the present one, holds and later ends too", () => {
    const ledger = new Ledger();
    const a = ledger.begin(wanted("a"), 1, 0);
    ledger.end(ledger.begin(wanted("b", { holdMs: 1_000 }), 1, 0), 0, 1);
    const [older] = ledger.olderAccounts("cad", 2);
    if (older === undefined) throw new Error("epoch 1 counts something");
    ledger.adopt(older, 2);
    expect(used(ledger, 2)).toBe(2);
    expect(ledger.accountOf(a).epoch).toBe(2);
    expect(ledger.olderAccounts("cad", 2)).toEqual([]);
    ledger.endHolds(1_000);
    ledger.end(a, 1_000, 2);
    expect(used(ledger, 2)).toBe(0);
  });

  test("of an epoch that is over are held for the longest life that was granted in it", () => {
    const ledger = new Ledger();
    ledger.begin(wanted("long", { lifeMs: 600_000 }), 1, 0);
    const session = ledger.begin(wanted("a"), 1, 0);
    expect(ledger.end(session, 100, 2)).toBe(serverLifeMs(600_000));
    expect(used(ledger, 1)).toBe(2);
  });

  test("of an ended session are not moved any more: they would be counted a second time", () => {
    const ledger = new Ledger();
    const session = ledger.begin(wanted("a"), 1, 0);
    ledger.moveToEpoch(session, 2, 0, 0);
    ledger.end(session, 1, 2);
    expect(() => ledger.moveToEpoch(session, 1, 0, 2)).toThrow("has ended");
    expect([used(ledger, 1), used(ledger, 2)]).toEqual([0, 0]);
  });
});

describe("after a restart", () => {
  test("lives and holds begin when the wait is over", () => {
    const ledger = new Ledger();
    ledger.restore({ ...wanted("a"), epoch: 1 }, false);
    ledger.restore({ ...wanted("held", { holdMs: 700 }), epoch: 1 }, true);
    ledger.restoreHold({ session: "b", feature: "cad", seats: 2, epoch: 1, holdMs: 500 });
    expect(used(ledger, 1)).toBe(4);
    expect(ledger.due(10_000_000, 100)).toEqual([]);
    expect(ledger.endHolds(10_000_000)).toEqual([]);
    ledger.activate(10_000_000, () => LIFE_MS);
    expect(ledger.sessions.get("held")?.state).toBe("revoked");
    expect(ledger.endHolds(10_000_499)).toEqual([]);
    expect(ledger.endHolds(10_000_500)).toEqual(["b"]);
    expect(ledger.due(10_000_000 + SERVER_LIFE_MS - 1, 100)).toEqual([]);
    const due = ledger.due(10_000_000 + SERVER_LIFE_MS + 500, 100);
    expect(due.map((each) => each.session).sort()).toEqual(["a", "held"]);
  });

  test("a held session that ends during the wait is held for one wait after it, not for ever", () => {
    const ledger = new Ledger();
    ledger.restore({ ...wanted("held", { holdMs: 700 }), epoch: 1 }, false);
    const session = ledger.sessions.get("held");
    if (session === undefined) throw new Error("it was restored");
    expect(ledger.end(session, 50, 1)).toBeGreaterThanOrEqual(700);
    ledger.activate(1_000, () => LIFE_MS);
    expect(used(ledger, 1)).toBe(1);
    ledger.endHolds(1_000 + SERVER_LIFE_MS);
    expect(used(ledger, 1)).toBe(0);
  });
});

describe("numbers of a client's messages", () => {
  test("only a higher one is newer; without a number it counts as the newest", () => {
    const ledger = new Ledger();
    expect(ledger.numberVerdict("a", 1)).toBe("newer");
    ledger.renew(ledger.begin(wanted("a", { n: 3 }), 1, 0), 5, LIFE_MS, 0);
    expect(ledger.numberVerdict("a", 6)).toBe("newer");
    expect(ledger.numberVerdict("a", 5)).toBe("repeated");
    expect(ledger.numberVerdict("a", undefined)).toBe("newer");
  });

  test("not above a release's are late, whichever of both was seen first", () => {
    const ledger = new Ledger();
    ledger.begin(wanted("a", { n: 7 }), 1, 0);
    ledger.bury("a", 4, LIFE_MS, 0);
    expect(ledger.isBuried("a")).toBe(true);
    expect(ledger.numberVerdict("a", 7)).toBe("released");
    expect(ledger.numberVerdict("a", 8)).toBe("newer");
    ledger.bury("a", undefined, LIFE_MS, 0);
    expect(ledger.numberVerdict("a", 7)).toBe("released");
  });

  test("a tombstone is forgotten after one life, and when the session is granted anew", () => {
    const ledger = new Ledger();
    ledger.bury("a", 4, LIFE_MS, 0);
    ledger.endHolds(SERVER_LIFE_MS - 1);
    expect(ledger.isBuried("a")).toBe(true);
    ledger.endHolds(SERVER_LIFE_MS);
    expect(ledger.isBuried("a")).toBe(false);
    ledger.bury("a", 4, LIFE_MS, 0);
    ledger.begin(wanted("a", { n: 5 }), 1, 0);
    expect(ledger.isBuried("a")).toBe(false);
  });

  test("of the most tombstones the oldest is forgotten", () => {
    const ledger = new Ledger();
    for (let index = 0; index <= TOMBSTONES_MAX; index += 1)
      ledger.bury(`s${index}`, 1, LIFE_MS, 0);
    expect(ledger.isBuried("s0")).toBe(false);
    expect(ledger.isBuried("s1")).toBe(true);
  });

  test("the oldest are dropped in their order, also when one was buried anew and others are over", () => {
    const ledger = new Ledger();
    const kept = (from: number, count: number): boolean[] =>
      Array.from({ length: count }, (_, index) => ledger.isBuried(`s${from + index}`));
    let next = 0;
    const bury = (count: number, lifeMs: number): void => {
      for (let index = 0; index < count; index += 1) ledger.bury(`s${next++}`, 1, lifeMs, 0);
    };
    bury(3, 1);
    bury(TOMBSTONES_MAX - 3, LIFE_MS);
    bury(1, LIFE_MS);
    expect(kept(0, 3)).toEqual([false, true, true]);
    ledger.bury("s3", 2, LIFE_MS, 0);
    bury(3, LIFE_MS);
    expect(kept(0, 7)).toEqual([false, false, false, true, false, true, true]);
    ledger.endHolds(serverLifeMs(1));
    bury(2, LIFE_MS);
    expect(kept(3, 6)).toEqual([true, false, false, false, true, true]);
    expect(ledger.isBuried(`s${next - 1}`)).toBe(true);
  });
});

describe("expiry", () => {
  test("comes no sooner for a renewal with a shorter life: its answer may never arrive", () => {
    const ledger = new Ledger();
    const session = ledger.begin(wanted("a", { lifeMs: 600_000 }), 1, 0);
    ledger.renew(session, 2, LIFE_MS, 1_000);
    expect(ledger.due(serverLifeMs(600_000) - 1, 100)).toEqual([]);
    expect(ledger.due(serverLifeMs(600_000) + 500, 100)).toEqual([session]);
  });

  test("comes later for a renewal with a longer life", () => {
    const ledger = new Ledger();
    const session = ledger.begin(wanted("a"), 1, 0);
    ledger.renew(session, 2, 600_000, 1_000);
    expect(ledger.due(1_000 + serverLifeMs(600_000) - 1, 100)).toEqual([]);
    expect(ledger.due(1_000 + serverLifeMs(600_000) + 500, 100)).toEqual([session]);
  });

  test("is looked at in bounded steps; what is left over comes next", () => {
    const ledger = new Ledger();
    for (let index = 0; index < 25; index += 1) ledger.begin(wanted(`s${index}`), 1, 0);
    const seen: string[] = [];
    for (const most of [10, 10, 10]) {
      for (const session of ledger.due(SERVER_LIFE_MS + 1_000, most)) {
        seen.push(session.session);
        ledger.end(session, SERVER_LIFE_MS + 1_000, 1);
      }
    }
    expect(new Set(seen).size).toBe(25);
    expect(seen).toHaveLength(25);
  });

  test("costs nothing for sessions that are not due", () => {
    const looks = (sessions: number): number => {
      const ledger = new Ledger();
      for (let index = 0; index < sessions; index += 1) ledger.begin(wanted(`s${index}`), 1, 0);
      let count = 0;
      const get = ledger.sessions.get.bind(ledger.sessions);
      ledger.sessions.get = (key) => {
        count += 1;
        return get(key);
      };
      for (let nowMs = 0; nowMs < SERVER_LIFE_MS; nowMs += 200) ledger.due(nowMs, 2_000);
      return count;
    };
    expect(looks(10)).toBe(0);
    expect(looks(10_000)).toBe(0);
  });

  test("a session that is renewed all the time is looked at about once a life", () => {
    const ledger = new Ledger();
    const session = ledger.begin(wanted("a"), 1, 0);
    let looks = 0;
    const get = ledger.sessions.get.bind(ledger.sessions);
    ledger.sessions.get = (key) => {
      looks += 1;
      return get(key);
    };
    const lives = 20;
    for (let nowMs = 0; nowMs < lives * SERVER_LIFE_MS; nowMs += 200) {
      if (nowMs % 20_000 === 0) ledger.renew(session, undefined, LIFE_MS, nowMs);
      expect(ledger.due(nowMs, 2_000)).toEqual([]);
    }
    expect(looks).toBeLessThanOrEqual(2 * lives);
  });
});
