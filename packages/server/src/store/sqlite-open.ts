/**
 * Opens the SQLite file of an embedded pool, or makes it.
 *
 * Nothing may open and close the file except through SQLite: closing any other descriptor of it drops the
 * locks of every connection in this process (POSIX).
 */
import { linkSync, mkdirSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { lost, sqliteCode, trouble } from "./sqlite-trouble.ts";

/** Marks a file as a store of ours: "QRTS". */
const APPLICATION_ID = 0x51_52_54_53;
const SCHEMA_VERSION = 1;
/** How long opening waits for other processes that open or recover the file, ms. */
const OPEN_WAIT_MS = 5_000;
/** How long one statement waits for a lock, ms; longer waits are the worker's, between other requests. */
const BUSY_TIMEOUT_MS = 5;
/** The write-ahead log is cut back to this after a checkpoint, bytes. */
const JOURNAL_BYTES_KEPT = 16 * 1024 * 1024;

const SCHEMA = `
  CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT, revision INTEGER NOT NULL) STRICT;
  CREATE INDEX kv_by_revision ON kv (revision);
  CREATE INDEX kv_deleted ON kv (revision) WHERE value IS NULL;
  CREATE TABLE meta (name TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO meta VALUES ('revision', 0), ('forgotten', 0);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};`;

/** Makes an empty file (mode 0600) and its folder (0700), if there is none. */
export function createIfAbsent(path: string): void {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // Made under another name and linked: the mode is right from the first moment, and no descriptor of the
  // store itself is ever closed here (see the top).
  const draft = `${path}.${process.pid}-${process.hrtime.bigint()}.new`;
  writeFileSync(draft, "", { mode: 0o600, flag: "wx" });
  try {
    linkSync(draft, path);
  } catch (error) {
    // Another process was faster: its file is as good.
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  } finally {
    unlinkSync(draft);
  }
}

/** Throws StoreLostError when the file is damaged or no store, and Error when it can't be opened. */
export function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(path, {
      timeout: OPEN_WAIT_MS,
      enableForeignKeyConstraints: false,
    });
    checkKind(path, database);
    useWriteAheadLog(path, database);
    createTables(database);
    database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    return database;
  } catch (error) {
    database?.close();
    if (!(error instanceof Error) || sqliteCode(error) === null) throw error;
    const { message } = error;
    if (trouble(error) === "lost") throw lost(path, `is damaged or no store (${message})`);
    throw new Error(`The store ${path} can't be opened: ${message}.`, { cause: error });
  }
}

function checkKind(path: string, database: DatabaseSync): void {
  // One snapshot for all of it: another process may be making the tables right now.
  database.exec("BEGIN");
  checkSnapshot(path, database);
  database.exec("COMMIT");
}

function checkSnapshot(path: string, database: DatabaseSync): void {
  const version = pragma(database, "user_version");
  const isEmpty = database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined;
  if (isEmpty && version === "0") return;
  if (pragma(database, "application_id") !== String(APPLICATION_ID)) {
    throw lost(path, "is a SQLite database, but no store of Quorate");
  }
  if (version !== String(SCHEMA_VERSION)) {
    throw new Error(
      `The store ${path} has format ${version}, this program knows ${SCHEMA_VERSION}: use a newer one.`,
    );
  }
  const verdict = pragma(database, "quick_check(1)");
  if (verdict !== "ok") throw lost(path, `is damaged (${verdict})`);
}

function useWriteAheadLog(path: string, database: DatabaseSync): void {
  const giveUpAtNs = process.hrtime.bigint() + BigInt(OPEN_WAIT_MS) * 1_000_000n;
  for (;;) {
    try {
      // Two processes that switch a new file at once get "locked" at once, whatever the busy timeout is.
      const mode = pragma(database, "journal_mode = WAL");
      if (mode !== "wal") throw new Error(`The store ${path} is on a disk without WAL (${mode}).`);
      break;
    } catch (error) {
      if (sqliteCode(error) === null || trouble(error) !== "busy") throw error;
      if (process.hrtime.bigint() > giveUpAtNs) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_TIMEOUT_MS);
    }
  }
  // FULL syncs the log at every commit; the other two make a sync real on macOS and do nothing elsewhere.
  database.exec("PRAGMA synchronous = FULL; PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1");
  database.exec(`PRAGMA journal_size_limit = ${JOURNAL_BYTES_KEPT}`);
}

function createTables(database: DatabaseSync): void {
  // Looked at twice: a store that exists is opened without the write lock, which a frozen process may hold.
  if (pragma(database, "user_version") !== "0") return;
  database.exec("BEGIN IMMEDIATE");
  if (pragma(database, "user_version") === "0") database.exec(SCHEMA);
  database.exec("COMMIT");
}

function pragma(database: DatabaseSync, text: string): string {
  return String(Object.values(database.prepare(`PRAGMA ${text}`).get() ?? {})[0]);
}
