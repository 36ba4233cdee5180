/** What every journal does, whatever keeps it. */
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { HistoryRow, Journal, JournalEntry, Recovered, UsageStretch } from "./journal.ts";
import { APPEND_ENTRIES_MAX, JournalFailedError } from "./journal.ts";
import { applyEntry, emptyState, historyOf, recoveredOf, usageOf } from "./journal-state.ts";

export interface JournalUnderTest {
  readonly journal: Journal;
  /** Closes it and opens what it left. */
  reopen(): Promise<JournalUnderTest>;
  /** Closes it and removes what it left. */
  dispose(): Promise<void>;
}

type Entry<Kind extends JournalEntry["kind"]> = JournalEntry & { kind: Kind };

export function grantOf(session: string, more: Partial<Entry<"grant">> = {}): Entry<"grant"> {
  return {
    kind: "grant",
    session,
    n: 1,
    feature: "cad",
    version: null,
    seats: 1,
    holder: { user: "ada", host: "engine", process: "cad.exe" },
    lifeMs: 60_000,
    epoch: 1,
    grantedAtMs: NOW_MS,
    holdMs: 0,
    convertedFrom: null,
    ...more,
  };
}

export function endOf(session: string, more: Partial<Entry<"end">> = {}): Entry<"end"> {
  return { kind: "end", session, n: 2, reason: "released", atMs: NOW_MS + 1, holdMs: 0, ...more };
}

/** Wall clock of the tests; nothing in them is old enough to be pruned. */
export const NOW_MS = 1_800_000_000_000;

export function journalConformance(name: string, open: () => Promise<JournalUnderTest>): void {
  describe(`journal ${name}`, () => {
    let tested: JournalUnderTest;
    beforeEach(async () => {
      tested = await open();
    });
    afterEach(() => tested.dispose());

    async function afterRestart(): Promise<Recovered> {
      tested = await tested.reopen();
      return tested.journal.recover();
    }

    async function rows(more = {}): Promise<readonly HistoryRow[]> {
      return tested.journal.history({ limit: 100, ...more });
    }

    test("a new journal is empty", async () => {
      expect(await tested.journal.recover()).toEqual(recoveredOf(emptyState()));
      expect(tested.journal.syncedSequence()).toBe(0);
      expect(tested.journal.syncingSinceMs()).toBeNull();
      expect(await rows()).toEqual([]);
    });

    test("a granted session is there after a restart, as it was granted", async () => {
      const { kind, convertedFrom, ...session } = grantOf("s", { version: "2.1", holdMs: 70_000 });
      await tested.journal.append([{ kind, convertedFrom, ...session }]);
      expect((await afterRestart()).sessions).toEqual([session]);
    });

    test("a holder without a process comes back without one", async () => {
      await tested.journal.append([grantOf("s", { holder: { user: "ada", host: "engine" } })]);
      expect((await afterRestart()).sessions[0]?.holder).toEqual({ user: "ada", host: "engine" });
    });

    test("the sequence grows by one an entry and survives restarts", async () => {
      await tested.journal.append([grantOf("a"), grantOf("b")]);
      await tested.journal.append([endOf("a")]);
      expect(tested.journal.syncedSequence()).toBe(3);
      expect((await afterRestart()).sequence).toBe(3);
      await tested.journal.append([endOf("b")]);
      expect(tested.journal.syncedSequence()).toBe(4);
    });

    test("an append of nothing changes nothing", async () => {
      await tested.journal.append([]);
      expect(tested.journal.syncedSequence()).toBe(0);
    });

    test("an append larger than one transaction is written in order", async () => {
      const entries = Array.from({ length: APPEND_ENTRIES_MAX * 2 + 7 }, (_, index) =>
        grantOf(`s${index}`),
      );
      await tested.journal.append([...entries, endOf("s0")]);
      expect(tested.journal.syncedSequence()).toBe(entries.length + 1);
      const { sessions } = await afterRestart();
      expect(sessions.length).toBe(entries.length - 1);
    });

    test("a released session leaves a tombstone with its highest n, and its row ends", async () => {
      await tested.journal.append([grantOf("s"), endOf("s", { n: 7 })]);
      await tested.journal.append([endOf("s", { n: 5 })]);
      const recovered = await afterRestart();
      expect(recovered.sessions).toEqual([]);
      expect(recovered.tombstones).toEqual([{ session: "s", n: 7 }]);
      expect(await rows()).toEqual([
        {
          session: "s",
          feature: "cad",
          seats: 1,
          holder: { user: "ada", host: "engine", process: "cad.exe" },
          grantedAtMs: NOW_MS,
          endedAtMs: NOW_MS + 1,
          reason: "released",
          endedBy: null,
          deniedCode: null,
        },
      ]);
    });

    test("only a release leaves a tombstone", async () => {
      await tested.journal.append([grantOf("s"), endOf("s", { reason: "expired" })]);
      expect((await afterRestart()).tombstones).toEqual([]);
    });

    test("the seats of an ended session are held until the hold ends", async () => {
      await tested.journal.append([grantOf("s", { seats: 3 }), endOf("s", { holdMs: 70_000 })]);
      expect((await afterRestart()).holds).toEqual([
        { session: "s", feature: "cad", seats: 3, epoch: 1, holdMs: 70_000 },
      ]);
      await tested.journal.append([{ kind: "hold-end", session: "s" }]);
      expect((await afterRestart()).holds).toEqual([]);
    });

    test("a session granted and ended again while it is held has two holds", async () => {
      const held = [grantOf("s"), endOf("s", { holdMs: 5 })];
      await tested.journal.append([...held, ...held]);
      expect((await afterRestart()).holds.length).toBe(2);
    });

    test("reinstated sessions and holds count in the new epoch, those of others do not", async () => {
      await tested.journal.append([
        grantOf("a"),
        grantOf("b", { feature: "cam" }),
        grantOf("c", { epoch: 2 }),
        grantOf("d"),
        endOf("d", { holdMs: 5 }),
        { kind: "adopt", feature: "cad", fromEpoch: 1, toEpoch: 3 },
      ]);
      const { sessions, holds } = await afterRestart();
      const epochs = Object.fromEntries(sessions.map((held) => [held.session, held.epoch]));
      expect(epochs).toEqual({ a: 3, b: 1, c: 2 });
      expect(holds[0]?.epoch).toBe(3);
    });

    test("a revocation is remembered until the session ends, and says who", async () => {
      await tested.journal.append([
        grantOf("s"),
        { kind: "revoke", session: "s", by: "root", reason: "misuse", atMs: NOW_MS },
      ]);
      expect((await afterRestart()).revoked).toEqual(new Set(["s"]));
      await tested.journal.append([endOf("s", { reason: "revoked", by: "root" })]);
      expect((await afterRestart()).revoked).toEqual(new Set());
      expect((await rows())[0]).toMatchObject({ reason: "revoked", endedBy: "root" });
    });

    test("the last value of a fact counts", async () => {
      await tested.journal.append([{ kind: "fact", name: "mark", value: "a" }]);
      await tested.journal.append([{ kind: "fact", name: "mark", value: "b" }]);
      expect((await afterRestart()).facts).toEqual(new Map([["mark", "b"]]));
    });

    test("a session granted anew is one use", async () => {
      await tested.journal.append([grantOf("s"), grantOf("s", { seats: 2, n: 4 })]);
      expect((await afterRestart()).sessions).toMatchObject([{ seats: 2, n: 4 }]);
      expect(await rows()).toMatchObject([{ seats: 2, endedAtMs: null }]);
    });

    test("a refused request is only in the history", async () => {
      const holder = { user: "bob", host: "h" };
      const what = { session: "s", feature: "cad", seats: 2, holder };
      await tested.journal.append([{ kind: "denied", ...what, code: "no-seats", atMs: NOW_MS }]);
      expect((await afterRestart()).sessions).toEqual([]);
      expect(await rows()).toMatchObject([
        { ...what, grantedAtMs: null, endedAtMs: NOW_MS, deniedCode: "no-seats" },
      ]);
    });

    test("the history is read newest first, by feature, user, time and number", async () => {
      const ada = { user: "ada", host: "h" };
      const bob = { user: "bob", host: "h" };
      await tested.journal.append([
        grantOf("a", { holder: ada, grantedAtMs: NOW_MS + 1 }),
        grantOf("b", { holder: bob, grantedAtMs: NOW_MS + 2 }),
        grantOf("c", { holder: ada, grantedAtMs: NOW_MS + 2, feature: "cam" }),
        grantOf("d", { holder: bob, grantedAtMs: NOW_MS + 3 }),
      ]);
      const sessions = async (query: object): Promise<string> =>
        (await rows(query)).map((row) => row.session).join("");
      expect(await sessions({})).toBe("dcba");
      expect(await sessions({ limit: 2 })).toBe("dc");
      expect(await sessions({ limit: 0 })).toBe("");
      expect(await sessions({ user: "ada" })).toBe("ca");
      expect(await sessions({ feature: "cad" })).toBe("dba");
      expect(await sessions({ fromMs: NOW_MS + 2, toMs: NOW_MS + 3 })).toBe("cb");
    });

    test("what was appended before closing is kept, what comes after rejects", async () => {
      const last = tested.journal.append([grantOf("s")]);
      const closed = tested.journal.close();
      const late = tested.journal.append([grantOf("t")]);
      await expect(late).rejects.toBeInstanceOf(JournalFailedError);
      await Promise.all([last, closed]);
      expect((await afterRestart()).sessions).toMatchObject([{ session: "s" }]);
    });

    test("any entries lead to the state that the rules say", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(anyEntry, { maxLength: 6 }), { maxLength: 12 }), check),
        { numRuns: 30 },
      );
    }, 60_000);

    async function check(appends: JournalEntry[][]): Promise<void> {
      const state = emptyState();
      for (const entry of appends.flat()) applyEntry(state, entry);
      let own = await open();
      try {
        await Promise.all(appends.map((entries) => own.journal.append(entries)));
        own = await own.reopen();
        expect(sorted(await own.journal.recover())).toEqual(sorted(recoveredOf(state)));
        const all = { limit: 1_000 };
        for (const query of [all, { ...all, denied: true }]) {
          expect(await own.journal.history(query)).toEqual(historyOf(state, query));
        }
        const time = { fromMs: NOW_MS + 1, toMs: NOW_MS + 4, after: null };
        for (const by of ["user", "feature", "host"] as const) {
          const usage = await own.journal.usage({ ...time, by });
          const wanted = usageOf(state, { ...time, by });
          expect(listed(usage)).toEqual(listed(wanted));
          const steps = { ...time, by, stepMs: 2 };
          expect(listed(await own.journal.usage(steps))).toEqual(listed(usageOf(state, steps)));
        }
      } finally {
        await own.dispose();
      }
    }
  });
}

const session = fc.constantFrom("s1", "s2", "s3", "s4");
const feature = fc.constantFrom("cad", "cam");
const epoch = fc.integer({ min: 1, max: 3 });
const n = fc.integer({ min: 1, max: 9 });
const seats = fc.integer({ min: 1, max: 5 });
const holdMs = fc.constantFrom(0, 61_000);
const atMs = fc.integer({ min: NOW_MS, max: NOW_MS + 5 });
const word = fc.string({ unit: "grapheme", maxLength: 8 });
const holder = fc.record(
  { user: word, host: word, process: word },
  { requiredKeys: ["user", "host"] },
);

const anyEntry: fc.Arbitrary<JournalEntry> = fc.oneof(
  fc.record({
    kind: fc.constant("grant"),
    session,
    n,
    feature,
    version: fc.option(word),
    seats,
    holder,
    lifeMs: fc.constant(60_000),
    epoch,
    grantedAtMs: atMs,
    holdMs,
    convertedFrom: fc.option(fc.constant("m1/1")),
  }),
  fc.record({
    kind: fc.constant("end"),
    session,
    n,
    reason: fc.constantFrom("released", "expired", "revoked", "handed-over"),
    atMs,
    by: word,
    holdMs,
  }),
  fc.record({ kind: fc.constant("revoke"), session, by: word, reason: word, atMs }),
  fc.record({ kind: fc.constant("hold-end"), session }),
  fc.record({ kind: fc.constant("adopt"), feature, fromEpoch: epoch, toEpoch: epoch }),
  fc.record({ kind: fc.constant("denied"), session, feature, seats, holder, code: word, atMs }),
  fc.record({ kind: fc.constant("fact"), name: session, value: word }),
);

/** Uses of one instant, and denials by key, have no order that means anything. */
function listed(stretch: UsageStretch): unknown {
  const byText = (list: readonly unknown[]): string[] =>
    list.map((item) => JSON.stringify(item)).sort();
  return { uses: byText(stretch.uses), denied: byText(stretch.denied), next: stretch.next };
}

/** The order of the lists means nothing. */
function sorted(recovered: Recovered): unknown {
  const byText = (list: readonly unknown[]): string[] =>
    list.map((item) => JSON.stringify(item)).sort();
  return {
    ...recovered,
    sessions: [...recovered.sessions].sort((a, b) => (a.session < b.session ? -1 : 1)),
    holds: byText(recovered.holds),
    tombstones: byText(recovered.tombstones),
  };
}
