/**
 * The thread that owns journal.db. It does one request after the other and never asks anything itself.
 *
 * The first error ends its writing for good: after a failed sync nobody knows what the disk holds, and a
 * second sync that "succeeds" proves nothing. Checkpoints are run by hand because SQLite's own swallow
 * their errors.
 */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
import type { SentEntry } from "./sqlite-journal-entry.ts";
import type { Answer, Request, WorkerMessage, WorkerSettings } from "./sqlite-journal-messages.ts";
import { SCHEMA, SCHEMA_VERSION, UPGRADES } from "./sqlite-journal-schema.ts";
import type { Tables } from "./sqlite-journal-tables.ts";
import { openTables } from "./sqlite-journal-tables.ts";

/** The write-ahead log is copied into the database after this many commits or entries, whichever is first. */
const CHECKPOINT_COMMITS = 250;
const CHECKPOINT_ENTRIES = 4_000;
const WAL_BYTES_KEPT = 64 * 1024 * 1024;
const CACHE_KIBIBYTES = 32 * 1024;
/** SQLite reports a full disk as an input/output error in places; less free space than this tells them apart. */
const DISK_FULL_BYTES = 64 * 1024;

/** SQLite's primary result codes. */
const SQLITE_BUSY = 5;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

const settings: WorkerSettings = workerData;
const { folder, retentionMs, tombstonesMax, historyUsers } = settings;
const journalFile = join(folder, "journal.db");
const lockFile = join(folder, "lock.db");
const pidFile = join(folder, "serve.pid");

let lock: DatabaseSync | null = null;
let db: DatabaseSync | null = null;
let broken: string | null = null;
let commitsSinceCheckpoint = 0;
let entriesSinceCheckpoint = 0;

start();

function start(): void {
  const port = parentPort;
  if (port === null) throw new Error("the journal's worker runs in a worker thread only");
  const say = (message: WorkerMessage): void => port.postMessage(message);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (!takeLock()) {
      say({ kind: "locked", pid: readPid() });
      return port.close();
    }
    const tables = openJournal();
    port.on("message", ([id, request]: [number, Request]) => {
      if (request.kind === "close") {
        shut();
        say({ kind: "answer", id, answer: { kind: "closed" } });
        return port.close();
      }
      serve(tables, id, request, say);
    });
    say({ kind: "opened", sequence: tables.sequence() });
  } catch (error) {
    say({ kind: "broken", message: inPlainWords(error) });
    shut();
    port.close();
  }
}

function serve(
  tables: Tables,
  id: number,
  request: Request,
  say: (message: WorkerMessage) => void,
): void {
  try {
    if (broken !== null) return say({ kind: "failed", id, message: broken });
    say({ kind: "answer", id, answer: answerTo(tables, request) });
    // After the answer, so that nobody waits for it.
    if (request.kind === "commit") checkpointNowAndThen();
  } catch (error) {
    broken = inPlainWords(error);
    try {
      if (db?.isTransaction === true) db.exec("ROLLBACK");
    } catch {
      // The first error is the one that explains; nothing is written after it, so an open transaction
      // dies with the connection.
    }
    say({ kind: "failed", id, message: broken });
  }
}

function answerTo(tables: Tables, request: Request): Answer {
  switch (request.kind) {
    case "commit": {
      const entries: SentEntry[] = JSON.parse(request.entries);
      commitsSinceCheckpoint += 1;
      entriesSinceCheckpoint += entries.length;
      return tables.commit(entries, request.nowMs);
    }
    case "page":
      return tables.page(request.of, request.after);
    case "history":
      return tables.history(request.query, request.before);
    case "usage":
      return tables.usage(request.query);
    case "close":
      return { kind: "closed" };
    default:
      throw new Error(`unknown request ${JSON.stringify(request satisfies never)}`);
  }
}

/** An exclusive lock of the operating system: it dies with the process, however that dies. */
function takeLock(): boolean {
  createPrivate(lockFile);
  lock = new DatabaseSync(lockFile, { timeout: 0 });
  try {
    lock.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (error) {
    lock.close();
    lock = null;
    if (primaryCode(error) === SQLITE_BUSY) return false;
    throw error;
  }
  writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
  return true;
}

function openJournal(): Tables {
  createPrivate(journalFile);
  db = new DatabaseSync(journalFile, { timeout: 0 });
  // Exclusive BEFORE the write-ahead log is first used: then there is no shared-memory file, whose mapping
  // would kill the process with a bus error on a full disk.
  db.exec("PRAGMA locking_mode = EXCLUSIVE");
  db.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = 1;
    PRAGMA checkpoint_fullfsync = 1;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA journal_size_limit = ${WAL_BYTES_KEPT};
    PRAGMA cache_size = -${CACHE_KIBIBYTES};
    PRAGMA temp_store = MEMORY;
  `);
  if (versionOf(db) === 0) db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT`);
  // Step by step, and each is whole: a process that is killed between two goes on with the second.
  for (;;) {
    const upgrade = UPGRADES.get(versionOf(db));
    if (upgrade === undefined) break;
    db.exec(`BEGIN IMMEDIATE; ${upgrade} COMMIT`);
  }
  const version = versionOf(db);
  if (version !== SCHEMA_VERSION) {
    throw new Error(
      `${journalFile} was written by another version of Quorate (format ${version}, this one ` +
        `writes ${SCHEMA_VERSION}): start the version that wrote it`,
    );
  }
  // What an earlier process left in the log; an error here is better met now than under load.
  const checkpoint = db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
  // "-1 pages": there is no log. `PRAGMA journal_mode` says "wal" even when a sync failed while switching.
  if (checkpoint?.busy !== 0 || checkpoint.log === -1) {
    throw new Error("the disk does not take a write-ahead log: check the disk, then restart");
  }
  syncFolder(folder);
  syncFolder(dirname(folder));
  return openTables(db, { retentionMs, tombstonesMax, historyUsers });
}

function versionOf(journal: DatabaseSync): number {
  return Number(journal.prepare("PRAGMA user_version").get()?.user_version);
}

function checkpointNowAndThen(): void {
  if (commitsSinceCheckpoint < CHECKPOINT_COMMITS && entriesSinceCheckpoint < CHECKPOINT_ENTRIES) {
    return;
  }
  commitsSinceCheckpoint = 0;
  entriesSinceCheckpoint = 0;
  try {
    db?.exec("PRAGMA wal_checkpoint(PASSIVE)");
  } catch (error) {
    // The commit was answered and is safe in the log; the next one is told.
    broken = inPlainWords(error);
  }
}

function shut(): void {
  try {
    db?.close();
    if (lock !== null) rmSync(pidFile, { force: true });
    lock?.close();
  } catch {
    // Everything acknowledged was synced before; what closing could not do, the next start does.
  }
  db = null;
  lock = null;
}

/** Creates a file that only its owner reads. Never opens an existing one: closing it would drop SQLite's lock. */
function createPrivate(file: string): void {
  try {
    closeSync(openSync(file, "wx", 0o600));
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
    chmodSync(file, 0o600);
  }
}

/** A new file survives a power cut only once its folder is synced. Windows has no such call. */
function syncFolder(path: string): void {
  if (process.platform === "win32") return;
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function readPid(): number | null {
  try {
    const pid = Number.parseInt(readFileSync(pidFile, "utf8"), 10);
    return Number.isSafeInteger(pid) ? pid : null;
  } catch {
    // The other process is just starting or ending; the refusal is right without its pid, too.
    return null;
  }
}

function primaryCode(error: unknown): number | null {
  if (!(error instanceof Error) || !("errcode" in error)) return null;
  return typeof error.errcode === "number" ? error.errcode & 0xff : null;
}

function systemCode(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : null;
}

function inPlainWords(error: unknown): string {
  const words = error instanceof Error ? error.message : String(error);
  const code = primaryCode(error);
  const system = systemCode(error);
  if (code === SQLITE_FULL || system === "ENOSPC" || (code === SQLITE_IOERR && diskIsFull())) {
    return `the disk of ${folder} is full: free space and restart (${words})`;
  }
  if (code === SQLITE_IOERR || system === "EIO") {
    return `the disk of ${folder} reports errors: check the disk, then restart (${words})`;
  }
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) {
    return (
      `the journal ${journalFile} is damaged: keep a copy, move it out of the folder and restart; ` +
      `the member then starts without its sessions, and their seats come free after one life (${words})`
    );
  }
  if (system === "EACCES" || system === "EPERM" || system === "EROFS") {
    return `the journal can't write in ${folder}: give this user write permission there and restart (${words})`;
  }
  return `the journal in ${folder} failed: ${words}`;
}

/** Whether so little is left that an unclear error means a full disk. */
function diskIsFull(): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < DISK_FULL_BYTES;
  } catch {
    // Without an answer the more general words are the right ones.
    return false;
  }
}
