import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LIFE_MS_MAX } from "@quorate/core";
import type { JournalUnderTest } from "./journal.conformance.ts";
import { endOf, grantOf, journalConformance, NOW_MS } from "./journal.conformance.ts";
import type { HistoryPlace, UsageStretch } from "./journal.ts";
import { JournalFailedError } from "./journal.ts";
import { FolderLockedError, openSqliteJournal } from "./sqlite-journal.ts";

const DAY_MS = 24 * 3_600_000;
const FACT = { kind: "fact", name: "mark", value: "m" } as const;

journalConformance("sqlite", () => underTest(newFolder()));

function newFolder(): string {
  return mkdtempSync(join(tmpdir(), "quorate-journal-"));
}

async function underTest(folder: string): Promise<JournalUnderTest> {
  const journal = await openSqliteJournal(folder, { nowMs: () => NOW_MS });
  return {
    journal,
    reopen: async () => {
      await journal.close();
      return underTest(folder);
    },
    dispose: async () => {
      await journal.close();
      rmSync(folder, { recursive: true });
    },
  };
}

describe("sqlite journal", () => {
  let folder: string;
  beforeEach(() => {
    folder = newFolder();
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("only the owner reads its files", async () => {
    const journal = await openSqliteJournal(folder);
    await journal.append([grantOf("s")]);
    for (const file of ["journal.db", "journal.db-wal", "lock.db", "serve.pid"]) {
      expect((statSync(join(folder, file)).mode & 0o777).toString(8)).toBe("600");
    }
    await journal.close();
  });

  /** Makes the file of version 2, and of it that of version 1. */
  function makeOlder(file: string, version: 1 | 2): void {
    const older = new DatabaseSync(file);
    older.exec(`DROP INDEX sessions_by_time;
      CREATE INDEX sessions_of_epoch ON sessions (feature, epoch);
      INSERT INTO history (id, at, session, feature, seats, user, host, granted_at)
        SELECT history, granted_at, session, feature, seats, user, host, granted_at FROM sessions;
      PRAGMA user_version = 2;`);
    if (version === 1) {
      older.exec(`DROP TABLE releases;
        CREATE TABLE tombstones (session TEXT PRIMARY KEY, n INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
        CREATE INDEX tombstones_by_time ON tombstones (at);
        INSERT INTO tombstones VALUES ('a', 7, ${NOW_MS}), ('b', 8, ${NOW_MS - 1});
        PRAGMA user_version = 1;`);
    }
    older.close();
  }

  test("the file of the first version is taken over with its tombstones, the one of a later version refused", async () => {
    await (await openSqliteJournal(folder)).close();
    const file = join(folder, "journal.db");
    makeOlder(file, 1);
    const journal = await openSqliteJournal(folder, { nowMs: () => NOW_MS });
    await journal.append([{ ...endOf("a"), n: 3 }]);
    expect((await journal.recover()).tombstones).toEqual([
      { session: "b", n: 8 },
      { session: "a", n: 7 },
    ]);
    await journal.close();
    const after = new DatabaseSync(file);
    after.exec("PRAGMA user_version = 99");
    after.close();
    await expect(openSqliteJournal(folder)).rejects.toThrow(/format 99.*start the version/);
  });

  test("a file that has open uses in its history is taken over: each is there once, and ends", async () => {
    const before = await openSqliteJournal(folder, { nowMs: () => NOW_MS });
    await before.append([grantOf("over"), endOf("over"), grantOf("a"), grantOf("b")]);
    const rows = await before.history({ limit: 10 });
    await before.close();
    makeOlder(join(folder, "journal.db"), 2);
    const journal = await openSqliteJournal(folder, { nowMs: () => NOW_MS });
    expect(await journal.history({ limit: 10 })).toEqual(rows);
    await journal.append([endOf("a"), grantOf("c")]);
    expect(await journal.history({ limit: 10 })).toMatchObject([
      { session: "c", endedAtMs: null },
      { session: "b", endedAtMs: null },
      { session: "a", endedAtMs: NOW_MS + 1, reason: "released" },
      { session: "over" },
    ]);
    await journal.close();
  });

  test("a folder is opened once, also within a process, and is free after closing", async () => {
    const journal = await openSqliteJournal(folder);
    const second = openSqliteJournal(folder);
    await expect(second).rejects.toThrow(FolderLockedError);
    await expect(second).rejects.toThrow(`pid ${process.pid}`);
    await journal.append([grantOf("s")]);
    await journal.close();
    const third = await openSqliteJournal(folder);
    expect((await third.recover()).sessions.length).toBe(1);
    await third.close();
  });

  test("a damaged file is refused in plain words", async () => {
    writeFileSync(join(folder, "journal.db"), "no database, just some text ".repeat(400));
    const opening = openSqliteJournal(folder);
    await expect(opening).rejects.toThrow(JournalFailedError);
    await expect(opening).rejects.toThrow(/journal\.db is damaged: keep a copy, move it out/);
  });

  test("a sync is seen while it runs", async () => {
    const journal = await openSqliteJournal(folder);
    expect(journal.syncingSinceMs()).toBeNull();
    const before = performance.now();
    const appended = journal.append([grantOf("s")]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(journal.syncingSinceMs()).toBeGreaterThanOrEqual(before);
    await appended;
    expect(journal.syncingSinceMs()).toBeNull();
    await journal.close();
  });

  test("appends of one turn share a commit, and all of them resolve", async () => {
    const journal = await openSqliteJournal(folder);
    const appends = Array.from({ length: 950 }, (_, index) =>
      journal.append([grantOf(`s${index}`)]),
    );
    await appends[0];
    // The first answer speaks for the whole commit.
    expect(journal.syncedSequence()).toBe(950);
    await Promise.all(appends);
    await journal.close();
  });

  test("after an entry that can't be written every append rejects; what was synced stays", async () => {
    const journal = await openSqliteJournal(folder);
    await journal.append([grantOf("a")]);
    const broken = journal.append([grantOf("b"), grantOf("c", { seats: Number.NaN })]);
    await expect(broken).rejects.toThrow(JournalFailedError);
    await expect(journal.append([grantOf("d")])).rejects.toThrow(JournalFailedError);
    await journal.close();
    const reopened = await openSqliteJournal(folder);
    const { sessions, sequence } = await reopened.recover();
    expect(sessions.map((session) => session.session)).toEqual(["a"]);
    expect(sequence).toBe(1);
    await reopened.close();
  });

  test("a backlog that no disk would work off fails the journal", async () => {
    const journal = await openSqliteJournal(folder);
    const flood = journal.append(Array.from({ length: 500_001 }, () => FACT));
    await expect(flood).rejects.toThrow("the disk is too slow");
    await expect(journal.append([FACT])).rejects.toThrow(JournalFailedError);
    await journal.close();
  });

  test("appends made while the state is read wait for it, and are not in it", async () => {
    const journal = await openSqliteJournal(folder);
    const first = Array.from({ length: 2_500 }, (_, index) => grantOf(`a${index}`));
    await journal.append(first);
    const recovering = journal.recover();
    const appended = journal.append([grantOf("b")]);
    const recovered = await recovering;
    expect(recovered.sessions.length).toBe(first.length);
    expect(recovered.sequence).toBe(first.length);
    await appended;
    await journal.close();
  });

  test("old history and tombstones are pruned step by step, an open use never", async () => {
    let nowMs = NOW_MS;
    const journal = await openSqliteJournal(folder, {
      retentionMs: 10 * DAY_MS,
      nowMs: () => nowMs,
    });
    const ended = Array.from({ length: 300 }, (_, index) => [
      grantOf(`s${index}`),
      endOf(`s${index}`),
    ]);
    await journal.append([...ended.flat(), grantOf("open")]);
    nowMs += 9 * DAY_MS;
    for (let step = 0; step < 4; step += 1) await journal.append([FACT]);
    expect((await journal.history({ limit: 1_000 })).length).toBe(301);
    nowMs += 2 * DAY_MS;
    await journal.append([FACT]);
    const left = (await journal.history({ limit: 1_000 })).length;
    expect(left).toBeGreaterThan(1);
    expect(left).toBeLessThan(301);
    for (let step = 0; step < 4; step += 1) await journal.append([FACT]);
    expect(await journal.history({ limit: 1_000 })).toMatchObject([{ session: "open" }]);
    // A release counts for a life, and the longest has thirty days.
    expect((await journal.recover()).tombstones.length).toBe(300);
    nowMs = NOW_MS + LIFE_MS_MAX + 2 * DAY_MS;
    for (let step = 0; step < 4; step += 1) await journal.append([FACT]);
    expect((await journal.recover()).tombstones).toEqual([]);
    await journal.close();
  });

  test("the usage of a time is read in stretches, the oldest first", async () => {
    const journal = await openSqliteJournal(folder, { nowMs: () => NOW_MS });
    const grants = Array.from({ length: 2_500 }, (_, index) =>
      grantOf(`s${index}`, { grantedAtMs: NOW_MS + index }),
    );
    await journal.append(grants);
    const time = { by: "user", fromMs: NOW_MS, toMs: NOW_MS + DAY_MS } as const;
    const starts: number[] = [];
    let after: HistoryPlace | null = null;
    let stretches = 0;
    do {
      const stretch: UsageStretch = await journal.usage({ ...time, after });
      starts.push(...stretch.uses.map((use) => use.startMs));
      after = stretch.next;
      stretches += 1;
    } while (after !== null);
    expect(stretches).toBe(3);
    expect(starts).toEqual(grants.map((grant) => grant.grantedAtMs));
    await journal.close();
  });

  test("the history keeps a pseudonym or no name where that is asked for", async () => {
    const who = async (historyUsers: "keep" | "hash" | "drop", session: string) => {
      const journal = await openSqliteJournal(folder, { nowMs: () => NOW_MS, historyUsers });
      await journal.append([grantOf(session), { ...endOf(`not ${session}`) }]);
      const holder = { user: "ada", host: "engine", process: "cad.exe" };
      const denied = { session: "d", feature: "cad", seats: 1, holder, code: "no-seats" };
      await journal.append([{ kind: "denied", ...denied, atMs: NOW_MS }]);
      const rows = await journal.history({ limit: 2 });
      const sessions = (await journal.recover()).sessions.filter(
        (each) => each.session === session,
      );
      await journal.close();
      // Who holds a seat now is known whole, whatever the history keeps.
      expect(sessions).toMatchObject([{ holder }]);
      return rows.map((row) => row.holder);
    };
    expect(await who("keep", "a")).toEqual([
      { user: "ada", host: "engine", process: "cad.exe" },
      { user: "ada", host: "engine", process: "cad.exe" },
    ]);
    const pseudonym = { user: expect.stringMatching(/^user-[0-9a-f]{16}$/), host: "engine" };
    expect(await who("hash", "b")).toEqual([pseudonym, pseudonym]);
    expect(await who("drop", "c")).toEqual([
      { user: "", host: "engine" },
      { user: "", host: "engine" },
    ]);
  });

  test("the history is searched in stretches to its end", async () => {
    const journal = await openSqliteJournal(folder, { nowMs: () => NOW_MS });
    const holder = { user: "rare", host: "h" };
    const grants = Array.from({ length: 4_500 }, (_, index) => grantOf(`s${index}`));
    await journal.append([grantOf("first", { holder }), ...grants, grantOf("last", { holder })]);
    const rows = await journal.history({ user: "rare", limit: 5 });
    expect(rows.map((row) => row.session)).toEqual(["last", "first"]);
    await journal.close();
  });
});
