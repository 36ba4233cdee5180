import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Clocks } from "./clocks.ts";
import {
  epochIsOver,
  journalIsWhole,
  type LeaderRecord,
  leadershipIsOver,
  mandateVerdict,
  mayRetire,
  type MemberRecord,
  type MemberState,
  type Observation,
  observe,
  retireInMs,
  seenAlive,
  startVerdict,
  TAKE_OVER_STEP_MS,
  takeOverDelayMs,
} from "./lease.ts";
import { timingOf } from "./timing.ts";

const timing = timingOf(5_000);
const R = timing.retireAfterMs;

function record(more: Partial<MemberRecord> = {}): MemberRecord {
  return {
    epoch: 1,
    renewal: 1,
    state: "active",
    url: "http://ada",
    key: "ed25519:ada",
    priority: 0,
    licenseSequence: 1,
    journal: { mark: "mark", sequence: 10 },
    nonces: {},
    ...more,
  };
}

/** All three clocks show the same: a machine that never sleeps and whose time nobody sets. */
function clocks(ms: number): Clocks {
  return { monotonicMs: ms, bootMs: ms, wallMs: ms };
}

/** Reads of one unchanged record at these times, each answered at once. */
function readAt(times: readonly number[], value = record(), revision = 5): Observation {
  let seen: Observation | null = null;
  for (const atMs of times) seen = observe(seen, value, revision, clocks(atMs), atMs, timing);
  if (seen === null) throw new Error("at least one read is needed");
  return seen;
}

function everySecond(fromMs: number, toMs: number): number[] {
  return Array.from(
    { length: Math.floor((toMs - fromMs) / 1_000) + 1 },
    (_, i) => fromMs + i * 1_000,
  );
}

describe("what a read shows", () => {
  test("the first read of a record says nothing about its member being alive", () => {
    expect(seenAlive(readAt([0]), clocks(0), timing)).toBe(false);
  });

  test("a record that appears is alive", () => {
    const absent = { record: null, lastSent: clocks(0) };
    const seen = observe(absent, record(), 5, clocks(100), 110, timing);
    expect(seenAlive(seen, clocks(110), timing)).toBe(true);
  });

  test("a record that appeared within a gap of my own reads is no sign of life of now", () => {
    const absent = { record: null, lastSent: clocks(0) };
    const late = timing.readGapMsMax + 1;
    const seen = observe(absent, record(), 5, clocks(late), late, timing);
    expect(seenAlive(seen, clocks(late), timing)).toBe(false);
  });

  test("a renewal is a sign of life for R, counted from the send of the read", () => {
    const seen = observe(readAt([0]), record({ renewal: 2 }), 6, clocks(1_000), 1_400, timing);
    expect(seenAlive(seen, clocks(1_000 + R), timing)).toBe(true);
    expect(seenAlive(seen, clocks(1_001 + R), timing)).toBe(false);
  });

  test("a suspend of the observer ends the sign of life, though its monotonic clock stood still", () => {
    const seen = observe(readAt([0]), record({ renewal: 2 }), 6, clocks(1_000), 1_000, timing);
    const after = { monotonicMs: 1_001, bootMs: 1_001 + 2 * R, wallMs: 1_001 };
    expect(seenAlive(seen, after, timing)).toBe(false);
  });

  test.each(["retired", "stopped", "broken", "removed"] satisfies MemberState[])(
    "a record that turns %s is no sign of life",
    (state) => {
      const alive = observe(readAt([0]), record({ renewal: 2 }), 6, clocks(900), 900, timing);
      const seen = observe(alive, record({ epoch: 2, state }), 7, clocks(1_000), 1_000, timing);
      expect(seenAlive(seen, clocks(1_000), timing)).toBe(false);
      expect(mayRetire(seen, 1_000 + R, timing)).toBe(false);
    },
  );

  test("a change found after a gap of my own reads is no sign of life of now", () => {
    const late = timing.readGapMsMax + 1;
    const seen = observe(readAt([0]), record({ renewal: 2 }), 6, clocks(late), late, timing);
    expect(seenAlive(seen, clocks(late), timing)).toBe(false);
  });

  test("an older answer changes nothing", () => {
    const newer = observe(readAt([0]), record({ renewal: 9 }), 9, clocks(500), 500, timing);
    expect(observe(newer, record({ renewal: 8 }), 8, clocks(600), 600, timing)).toBe(newer);
  });
});

describe("retiring the silent", () => {
  test("a record read unchanged for R may be retired, and not a moment sooner", () => {
    const seen = readAt([...everySecond(0, 5_000), R]);
    expect(mayRetire(seen, R - 1, timing)).toBe(false);
    expect(mayRetire(seen, R, timing)).toBe(true);
    expect(retireInMs(seen, R - 100, timing)).toBe(100);
    expect(retireInMs(seen, R + 100, timing)).toBe(1);
  });

  test("the wait counts from the answer of the first read, not from its send", () => {
    let seen = observe(null, record(), 5, clocks(0), 400, timing);
    for (const atMs of everySecond(1_000, 6_000)) {
      seen = observe(seen, record(), 5, clocks(atMs), atMs, timing);
    }
    expect(mayRetire(seen, 399 + R, timing)).toBe(false);
    expect(mayRetire(seen, 400 + R, timing)).toBe(true);
  });

  test("a gap in my own reads starts the wait again", () => {
    const gapAtMs = 4_000 + timing.readGapMsMax + 1;
    const seen = readAt([...everySecond(0, 4_000), gapAtMs]);
    expect(mayRetire(seen, R + 1_000, timing)).toBe(false);
    expect(seen.unchangedSinceMs).toBe(gapAtMs);
  });

  test("a gap of exactly two renewals is none", () => {
    const seen = readAt([0, 2_000, 4_000, 6_000]);
    expect(timing.readGapMsMax).toBe(2_000);
    expect(mayRetire(seen, 6_000, timing)).toBe(true);
  });

  test("whoever has not read for two renewals retires nobody", () => {
    const seen = readAt(everySecond(0, 6_000));
    expect(mayRetire(seen, 6_000 + timing.readGapMsMax, timing)).toBe(true);
    expect(mayRetire(seen, 6_001 + timing.readGapMsMax, timing)).toBe(false);
  });
});

describe("the mandate", () => {
  test("runs from the send of the renewal to just before its end", () => {
    const sent = clocks(1_000);
    const verdict = (ms: number) => mandateVerdict(sent, clocks(ms), 2, 3, timing);
    expect(verdict(1_000)).toBe("mandate");
    expect(verdict(1_000 + timing.mandateMs - 1)).toBe("mandate");
    expect(verdict(1_000 + timing.mandateMs)).toBe("no-mandate");
    expect(mandateVerdict(null, clocks(1_000), 2, 3, timing)).toBe("no-mandate");
  });

  test("ends by whichever clock shows the longest", () => {
    const sent = clocks(0);
    const long = timing.mandateMs;
    for (const now of [
      { ...clocks(1), monotonicMs: long },
      { ...clocks(1), bootMs: long },
      { ...clocks(1), wallMs: long },
    ]) {
      expect(mandateVerdict(sent, now, 1, 1, timing)).toBe("no-mandate");
    }
  });

  test("a wall clock set back does not make it longer", () => {
    const now = { ...clocks(timing.mandateMs), wallMs: -1_000_000 };
    expect(mandateVerdict(clocks(0), now, 1, 1, timing)).toBe("no-mandate");
  });

  test.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 3],
    [5, 3],
  ])("of %i members %i must be seen alive", (size, needed) => {
    expect(mandateVerdict(clocks(0), clocks(1), needed, size, timing)).toBe("mandate");
    expect(mandateVerdict(clocks(0), clocks(1), needed - 1, size, timing)).toBe("no-majority");
  });
});

/**
 * Two machines whose clocks run within the drift bound. In true time: the holder sends, the store commits,
 * the observer's read is answered after that (its revision is the one committed). The observer then reads
 * at some pace. Whenever it may retire, the holder's mandate must be over by the holder's own clock.
 */
test("a mandate is over before anybody may retire its member, whatever the drift and the lease", () => {
  const drift = fc.double({ min: 0.99, max: 1.01, noNaN: true });
  fc.assert(
    fc.property(
      fc.integer({ min: 1_000, max: 600_000 }),
      drift,
      drift,
      fc.double({ min: 0, max: 5_000, noNaN: true }),
      fc.double({ min: 0, max: 5_000, noNaN: true }),
      fc.array(fc.double({ min: 0.001, max: 1.2, noNaN: true }), { minLength: 1, maxLength: 60 }),
      (leaseMs, holderRate, observerRate, commitAfterMs, answerAfterMs, steps) => {
        const timing = timingOf(leaseMs);
        const holder = (trueMs: number): Clocks => clocks(7_777 + trueMs * holderRate);
        const observer = (trueMs: number): Clocks => clocks(3_333 + trueMs * observerRate);
        const sent = holder(0);
        let trueMs = commitAfterMs + answerAfterMs;
        let seen = observe(
          null,
          record(),
          5,
          observer(commitAfterMs),
          observer(trueMs).monotonicMs,
          timing,
        );
        for (const step of steps) {
          trueMs += step * (2 / 5) * leaseMs;
          const now = observer(trueMs);
          if (mayRetire(seen, now.monotonicMs, timing)) {
            expect(mandateVerdict(sent, holder(trueMs), 1, 1, timing)).toBe("no-mandate");
            return;
          }
          seen = observe(seen, record(), 5, now, now.monotonicMs, timing);
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

test("the margins are needed: with a wait as long as the mandate, drift alone lets both hold", () => {
  const bare = { ...timing, mandateMs: timing.leaseMs, retireAfterMs: timing.leaseMs };
  const trueMs = bare.retireAfterMs / 1.01;
  expect(mandateVerdict(clocks(0), clocks(trueMs * 0.99), 1, 1, bare)).toBe("mandate");
  expect(mandateVerdict(clocks(0), clocks(trueMs * 0.99), 1, 1, timing)).toBe("no-mandate");
});

describe("a new process and the record of its own member", () => {
  test("begins at once where there is none, or where its member stopped", () => {
    expect(startVerdict(null, null, 0, timing)).toBe("at-once");
    const stopped = record({ epoch: 4, state: "stopped" });
    expect(startVerdict(stopped, stopped, 0, timing)).toBe("at-once");
  });

  test.each(["active", "retired", "broken", "removed"] satisfies MemberState[])(
    "waits R on a record that is %s",
    (state) => {
      const first = record({ state });
      expect(startVerdict(first, first, R - 1, timing)).toBe("wait");
      expect(startVerdict(first, first, R, timing)).toBe("waited");
    },
  );

  test("finds another process by its renewal, its mark, or a record that appears", () => {
    const first = record();
    expect(startVerdict(first, record({ renewal: 2 }), 10, timing)).toBe("another-lives");
    const other = record({ journal: { mark: "other", sequence: 0 } });
    expect(startVerdict(first, other, 10, timing)).toBe("another-lives");
    expect(startVerdict(null, record(), 10, timing)).toBe("another-lives");
    const stopped = record({ state: "stopped" });
    expect(startVerdict(stopped, record({ epoch: 2, renewal: 2 }), 10, timing)).toBe(
      "another-lives",
    );
  });

  test("a retirement by others alone ends the wait", () => {
    const first = record();
    expect(startVerdict(first, record({ epoch: 2, state: "retired" }), 10, timing)).toBe("waited");
  });
});

describe("a journal", () => {
  const published = record({ journal: { mark: "mark", sequence: 10 } });
  test.each([
    ["mark", 10, true],
    ["mark", 99, true],
    ["mark", 9, false],
    ["other", 99, false],
    [null, 0, false],
  ])("with the mark %s and sequence %i is whole: %s", (mark, sequence, whole) => {
    expect(journalIsWhole({ mark, sequence }, published)).toBe(whole);
  });
});

describe("leadership", () => {
  const leader: LeaderRecord = { member: "ada", epoch: 3, term: 7, nonces: {} };
  test("is over without a leader, without its record, with its epoch or its mark", () => {
    expect(leadershipIsOver(null, null)).toBe(true);
    expect(leadershipIsOver(leader, null)).toBe(true);
    expect(leadershipIsOver(leader, record({ epoch: 4 }))).toBe(true);
    for (const state of ["retired", "stopped", "broken", "removed"] satisfies MemberState[]) {
      expect(leadershipIsOver(leader, record({ epoch: 3, state }))).toBe(true);
    }
    expect(leadershipIsOver(leader, record({ epoch: 3 }))).toBe(false);
  });

  test("an epoch is over when the record's is higher", () => {
    expect(epochIsOver(null, 3)).toBe(false);
    expect(epochIsOver(record({ epoch: 3 }), 3)).toBe(false);
    expect(epochIsOver(record({ epoch: 4 }), 3)).toBe(true);
  });

  test("candidates try one after the other, by priority and then by name", () => {
    const candidates = [
      { id: "cyd", priority: 0 },
      { id: "ada", priority: 0 },
      { id: "bob", priority: 5 },
    ];
    const delays = ["bob", "ada", "cyd"].map((id) => takeOverDelayMs(id, candidates, 0));
    expect(delays).toEqual([0, TAKE_OVER_STEP_MS, 2 * TAKE_OVER_STEP_MS]);
    expect(takeOverDelayMs("nobody", candidates, 0)).toBe(0);
  });

  test("chance never lets a lower rank come before a higher one", () => {
    const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 4 }), { minLength: 2 });
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(ids, random, random, (ids, first, second) => {
        const candidates = ids.map((id, index) => ({ id, priority: index % 3 }));
        const ranked = [...candidates].sort(
          (a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1),
        );
        const [one, two] = ranked;
        if (one === undefined || two === undefined) return;
        expect(takeOverDelayMs(one.id, candidates, first)).toBeLessThan(
          takeOverDelayMs(two.id, candidates, second),
        );
      }),
    );
  });
});
