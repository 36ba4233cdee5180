import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SqliteDatabase } from "./sqlite-database.ts";
import { DELETED_KEYS_REMEMBERED_MAX } from "./transaction-bounds.ts";

test("a watch that was away while deletions were forgotten is still told of the keys it knew", () => {
  const folder = mkdtempSync(join(tmpdir(), "quorate-store-"));
  const database = new SqliteDatabase(join(folder, "store.db"));
  try {
    write(database, ["w/known", "w/kept", "w/back"], []);
    const known = database.keys("w/");
    write(database, [], ["w/known", "w/back"]);
    const batch = Array.from({ length: 1_000 }, (_, i) => `other/${i}`);
    for (let i = 0; i * batch.length <= DELETED_KEYS_REMEMBERED_MAX; i += 1) {
      const keys = batch.map((key) => `${key}-${i}`);
      write(database, keys, []);
      write(database, [], keys);
    }
    const last = write(database, ["w/back"], []);
    const { revision, changes } = database.changes("w/", 1, known);
    expect(revision).toBe(last);
    expect(changes.map(({ key, value }) => [key, value])).toEqual([
      ["w/known", null],
      ["w/back", "1"],
    ]);
    expect(changes[0]?.revision).toBeLessThan(last);
    expect(database.changes("w/", last, known).changes).toEqual([]);
  } finally {
    database.close();
    rmSync(folder, { recursive: true });
  }
});

function write(database: SqliteDatabase, puts: string[], deletes: string[]): number {
  const entries = puts.map((key) => ({ key, value: "1" }));
  return database.transact({ compare: [], puts: entries, deletes, reads: [] }).revision;
}
