import { describe, expect, test } from "vitest";
import type { JournalUnderTest } from "./journal.conformance.ts";
import { grantOf, journalConformance } from "./journal.conformance.ts";
import { JournalFailedError } from "./journal.ts";
import type { JournalState } from "./journal-state.ts";
import { MemoryJournal } from "./memory-journal.ts";

journalConformance("memory", () => Promise.resolve(underTest()));

function underTest(durable?: JournalState): JournalUnderTest {
  const journal = new MemoryJournal(durable === undefined ? {} : { durable });
  return {
    journal,
    reopen: async () => {
      await journal.close();
      return underTest(journal.copy());
    },
    dispose: () => journal.close(),
  };
}

async function sessionsIn(durable: JournalState): Promise<string[]> {
  const { sessions } = await new MemoryJournal({ durable }).recover();
  return sessions.map((session) => session.session);
}

/** What happened to a promise so far. */
function watched(promise: Promise<void>): { outcome: string } {
  const seen = { outcome: "pending" };
  promise.then(
    () => (seen.outcome = "synced"),
    () => (seen.outcome = "failed"),
  );
  return seen;
}

describe("manual memory journal", () => {
  test("an append resolves when its sync completes, not before", async () => {
    const journal = new MemoryJournal({ mode: "manual" });
    const seen = watched(journal.append([grantOf("a")]));
    await Promise.resolve();
    expect(seen.outcome).toBe("pending");
    expect(journal.syncedSequence()).toBe(0);
    expect(journal.completeSync()).toBe(true);
    await Promise.resolve();
    expect(seen.outcome).toBe("synced");
    expect(journal.syncedSequence()).toBe(1);
    expect(journal.completeSync()).toBe(false);
  });

  test("what is appended while a sync runs shares the next one", () => {
    const journal = new MemoryJournal({ mode: "manual" });
    for (const session of ["a", "b", "c"]) void journal.append([grantOf(session)]);
    expect(journal.pendingBatches).toBe(2);
    journal.completeSync();
    expect(journal.syncedSequence()).toBe(1);
    journal.completeSync();
    expect(journal.syncedSequence()).toBe(3);
    expect(journal.pendingBatches).toBe(0);
  });

  test("the time of a sync starts when that sync starts", () => {
    let monotonicMs = 100;
    const journal = new MemoryJournal({ mode: "manual", monotonicMs: () => monotonicMs });
    void journal.append([grantOf("a")]);
    monotonicMs = 200;
    void journal.append([grantOf("b")]);
    expect(journal.syncingSinceMs()).toBe(100);
    monotonicMs = 300;
    journal.completeSync();
    expect(journal.syncingSinceMs()).toBe(300);
    journal.completeSync();
    expect(journal.syncingSinceMs()).toBeNull();
  });

  test("a crash drops what was not synced, and its appends never settle", async () => {
    const journal = new MemoryJournal({ mode: "manual" });
    void journal.append([grantOf("a")]);
    journal.completeSync();
    const lost = watched(journal.append([grantOf("b")]));
    expect(await sessionsIn(journal.crash())).toEqual(["a"]);
    const late = watched(journal.append([grantOf("c")]));
    await Promise.resolve();
    expect([lost.outcome, late.outcome]).toEqual(["pending", "pending"]);
  });

  test("a crash may hit after the disk had the running sync, but not the gathering one", async () => {
    const journal = new MemoryJournal({ mode: "manual" });
    void journal.append([grantOf("a")]);
    void journal.append([grantOf("b")]);
    expect(await sessionsIn(journal.crash({ runningReachedDisk: true }))).toEqual(["a"]);
  });

  test("an old copy does not learn what happened later, and can be restored twice", async () => {
    const journal = new MemoryJournal();
    await journal.append([grantOf("a")]);
    const copy = journal.copy();
    await journal.append([grantOf("b")]);
    await new MemoryJournal({ durable: copy }).append([grantOf("c")]);
    expect(await sessionsIn(copy)).toEqual(["a"]);
  });

  test("a failure rejects running, gathering and later appends; what was synced stays", async () => {
    const journal = new MemoryJournal({ mode: "manual" });
    void journal.append([grantOf("a")]);
    journal.completeSync();
    const appends = [journal.append([grantOf("b")]), journal.append([grantOf("c")])];
    journal.fail();
    appends.push(journal.append([grantOf("d")]));
    for (const append of appends) await expect(append).rejects.toBeInstanceOf(JournalFailedError);
    expect(await sessionsIn(journal.copy())).toEqual(["a"]);
    expect(journal.syncingSinceMs()).toBeNull();
  });
});
