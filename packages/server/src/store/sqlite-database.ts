/**
 * Transactions against the SQLite file of an embedded pool. Synchronous, so it runs in the worker thread
 * (`sqlite-store-worker.ts`) and nowhere else.
 *
 * Several processes share the file and any of them may be killed at any moment: WAL, one `BEGIN IMMEDIATE`
 * a write, synced before it answers. A deleted key stays as a row without a value, so that a watch in
 * another process finds the deletion by its revision like every other change.
 */
import { statSync } from "node:fs";
import type { DatabaseSync, SQLOutputValue, StatementSync } from "node:sqlite";
import type { DecidedOutcome } from "./memory-store.ts";
import { createIfAbsent, openDatabase } from "./sqlite-open.ts";
import { lost } from "./sqlite-trouble.ts";
import type { Change, KeyValue, Transaction } from "./store.ts";
import { DELETED_KEYS_REMEMBERED_MAX, isPrefix, orderedByKey } from "./transaction-bounds.ts";

const STATEMENTS = {
  meta: "SELECT number FROM meta WHERE name = ?",
  setMeta: "UPDATE meta SET number = ? WHERE name = ?",
  get: "SELECT key, value, revision FROM kv WHERE key = ? AND value IS NOT NULL",
  range:
    "SELECT key, value, revision FROM kv WHERE key >= ? AND key < ? AND value IS NOT NULL ORDER BY key",
  keys: "SELECT key FROM kv WHERE substr(key, 1, length(?1)) = ?1 AND value IS NOT NULL",
  rememberedKeys: "SELECT key FROM kv WHERE substr(key, 1, length(?1)) = ?1",
  changes: `SELECT key, value, revision FROM kv
    WHERE revision > ?2 AND substr(key, 1, length(?1)) = ?1 ORDER BY revision, key`,
  put: `INSERT INTO kv (key, value, revision) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision`,
  delete: "UPDATE kv SET value = NULL, revision = ?2 WHERE key = ?1 AND value IS NOT NULL",
  lastToForget:
    "SELECT revision FROM kv WHERE value IS NULL ORDER BY revision DESC LIMIT 1 OFFSET ?",
  forget: "DELETE FROM kv WHERE value IS NULL AND revision <= ?",
  dataVersion: "PRAGMA data_version",
} as const;

type StatementName = keyof typeof STATEMENTS;
type Row = Readonly<Record<string, SQLOutputValue>>;

export interface ChangesUpTo {
  readonly revision: number;
  readonly changes: readonly Change[];
}

export class SqliteDatabase {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #files: string;
  readonly #statements = new Map<StatementName, StatementSync>();
  #highestRevision = 0;

  /**
   * Opens the file, or makes it (mode 0600) and its folder. Throws StoreLostError when it is damaged or
   * something else, and Error when it can't be opened.
   */
  constructor(path: string) {
    this.#path = path;
    createIfAbsent(path);
    const before = identity(path);
    this.#database = openDatabase(path);
    this.#highestRevision = this.#meta("revision");
    if (identity(path) !== before) throw lost(path, "was replaced while it was opened");
    this.#files = identities(path);
  }

  /**
   * Decides a transaction; the writes are synced when it returns. Throws what SQLite throws (see `trouble`)
   * with nothing written, except that a failed COMMIT leaves it in doubt.
   */
  transact(transaction: Transaction): DecidedOutcome {
    this.#checkFiles();
    // A transaction that only reads takes no write lock: it works while another process is inside a write.
    this.#database.exec(isWrite(transaction) ? "BEGIN IMMEDIATE" : "BEGIN");
    let outcome: DecidedOutcome;
    try {
      outcome = this.#decide(transaction);
      this.#database.exec("COMMIT");
    } finally {
      this.#endTransaction();
    }
    // A file that was deleted meanwhile took the write with it: look AFTER the commit, too.
    this.#checkFiles();
    this.#highestRevision = outcome.revision;
    return outcome;
  }

  /** Another number whenever another connection has committed; costs no disk access. */
  dataVersion(): number {
    return numberOf(this.#prepared("dataVersion").get()?.data_version);
  }

  /** Live keys under any prefix. */
  keys(prefix: string): Set<string> {
    return new Set(this.#keys("keys", prefix));
  }

  /**
   * The last change of each key under any prefix above a revision, by revision, and the revision they are
   * complete up to. Of `known` keys also the deletions that were forgotten since: they bear the revision
   * up to which deletions are forgotten.
   */
  changes(prefix: string, fromRevision: number, known: ReadonlySet<string>): ChangesUpTo {
    this.#database.exec("BEGIN");
    try {
      const revision = this.#meta("revision");
      const forgotten = this.#meta("forgotten");
      const changes = this.#prepared("changes").all(prefix, fromRevision).map(changeOf);
      if (forgotten <= fromRevision) return { revision, changes };
      const remembered = new Set(this.#keys("rememberedKeys", prefix));
      const gone = [...known].filter((key) => !remembered.has(key));
      changes.push(...gone.map((key) => ({ key, value: null, revision: forgotten })));
      return { revision, changes: changes.sort((a, b) => a.revision - b.revision) };
    } finally {
      this.#endTransaction();
    }
  }

  close(): void {
    this.#database.close();
  }

  /** SQLite ends a transaction by itself after some failures, and then refuses to end it again. */
  #endTransaction(): void {
    if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
  }

  #decide(transaction: Transaction): DecidedOutcome {
    const revision = this.#meta("revision");
    if (revision < this.#highestRevision) throw lost(this.#path, "went back to an older state");
    const matches = transaction.compare.every(
      (compare) => (this.#get(compare.key)?.revision ?? 0) === compare.revision,
    );
    const written = matches && this.#write(transaction, revision + 1);
    const read = orderedByKey(transaction.reads.flatMap((name) => this.#read(name)));
    return {
      outcome: matches ? "applied" : "rejected",
      revision: written ? revision + 1 : revision,
      read,
    };
  }

  #write({ puts, deletes = [] }: Transaction, revision: number): boolean {
    for (const { key, value } of puts) this.#prepared("put").run(key, value, revision);
    let deleted = 0;
    for (const key of deletes) {
      deleted += Number(this.#prepared("delete").run(key, revision).changes);
    }
    if (puts.length + deleted === 0) return false;
    this.#prepared("setMeta").run(revision, "revision");
    if (deleted > 0) this.#forgetOldestDeletedKeys();
    return true;
  }

  #forgetOldestDeletedKeys(): void {
    const last = this.#prepared("lastToForget").get(DELETED_KEYS_REMEMBERED_MAX);
    if (last === undefined) return;
    const revision = numberOf(last.revision);
    this.#prepared("forget").run(revision);
    this.#prepared("setMeta").run(revision, "forgotten");
  }

  #read(name: string): KeyValue[] {
    if (!isPrefix(name)) {
      const found = this.#get(name);
      return found === null ? [] : [found];
    }
    // `0` follows `/`, so this is the end of the prefix.
    return this.#prepared("range")
      .all(name, `${name.slice(0, -1)}0`)
      .map(keyValueOf);
  }

  #get(key: string): KeyValue | null {
    const row = this.#prepared("get").get(key);
    return row === undefined ? null : keyValueOf(row);
  }

  #keys(statement: "keys" | "rememberedKeys", prefix: string): string[] {
    return this.#prepared(statement)
      .all(prefix)
      .map((row) => textOf(row.key));
  }

  #meta(name: "revision" | "forgotten"): number {
    return numberOf(this.#prepared("meta").get(name)?.number);
  }

  #prepared(name: StatementName): StatementSync {
    const known = this.#statements.get(name);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(STATEMENTS[name]);
    this.#statements.set(name, statement);
    return statement;
  }

  #checkFiles(): void {
    if (identities(this.#path) !== this.#files) {
      throw lost(this.#path, "(or its -wal or -shm file) was deleted or replaced");
    }
  }
}

export function isWrite({ puts, deletes = [] }: Transaction): boolean {
  return puts.length + deletes.length > 0;
}

function keyValueOf({ key, value, revision }: Row): KeyValue {
  return { key: textOf(key), value: textOf(value), revision: numberOf(revision) };
}

function changeOf({ key, value, revision }: Row): Change {
  const text = value === null ? null : textOf(value);
  return { key: textOf(key), value: text, revision: numberOf(revision) };
}

function textOf(value: SQLOutputValue | undefined): string {
  if (typeof value !== "string") throw new Error(`SQLite gave ${typeof value} instead of text`);
  return value;
}

function numberOf(value: SQLOutputValue | undefined): number {
  if (typeof value !== "number") throw new Error(`SQLite gave ${typeof value} instead of a number`);
  return value;
}

function identities(path: string): string {
  return [path, `${path}-wal`, `${path}-shm`].map(identity).join(" ");
}

function identity(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true });
  return stats === undefined ? "absent" : `${stats.dev}:${stats.ino}`;
}
