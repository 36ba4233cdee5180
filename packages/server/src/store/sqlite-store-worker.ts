/**
 * The thread that owns the SQLite connection of one store handle: a sync of the disk blocks it, not the
 * member's event loop.
 *
 * Writes wait for the lock in turn and without blocking, so reads and watches go on while another process
 * is inside a write. A request whose deadline is near is NEVER begun: its caller has the answer `unknown`
 * and may write again.
 */
import { parentPort, workerData } from "node:worker_threads";
import { SqliteDatabase, isWrite } from "./sqlite-database.ts";
import { lost, trouble } from "./sqlite-trouble.ts";
import { StoreLostError } from "./store.ts";
import type { Change, Outcome, Transaction } from "./store.ts";
import { writeLockHolder } from "./write-lock-holder.ts";

export type ToWorker =
  | {
      readonly kind: "transact";
      readonly request: number;
      readonly transaction: Transaction;
      /** On the machine's monotonic clock (`process.hrtime`), which all threads share, ms. */
      readonly giveUpAtMs: number;
    }
  | {
      readonly kind: "watch";
      readonly watch: number;
      readonly prefix: string;
      readonly fromRevision: number;
    }
  | { readonly kind: "unwatch"; readonly watch: number }
  | { readonly kind: "close" };

export type FromWorker =
  | { readonly kind: "opened" }
  /** Opening failed for a reason that may pass. */
  | { readonly kind: "not-opened"; readonly message: string }
  /** The store is lost, now and for every later request. */
  | { readonly kind: "lost"; readonly message: string }
  | { readonly kind: "answer"; readonly request: number; readonly outcome: Outcome }
  | { readonly kind: "changes"; readonly watch: number; readonly changes: readonly Change[] };

/** How often a watch looks for commits of other processes, ms. */
const POLL_MS = 30;
/** How long a write waits before it tries again to get the lock, ms. */
const RETRY_MS = 2;
/** Changes told in one message. */
const CHANGES_PER_MESSAGE_MAX = 100;

interface WorkerWatch {
  readonly prefix: string;
  /** Everything up to this revision was told. */
  revision: number;
  /** Keys that the watch's owner may believe to be there; null: not looked up yet. */
  keys: Set<string> | null;
}

type Request = Extract<ToWorker, { kind: "transact" }>;

const { path }: { path: string } = workerData;
const port = parentPort;
if (port === null) throw new Error("this file is the thread of a store");

const writes: Request[] = [];
const watches = new Map<number, WorkerWatch>();
let retry: NodeJS.Timeout | null = null;
let polling: NodeJS.Timeout | null = null;
let dataVersion = -1;
let closing = false;
let ended = false;

const database = open();
if (database !== null) {
  port.on("message", (message: ToWorker) => receive(database, message));
  send({ kind: "opened" });
}

function open(): SqliteDatabase | null {
  try {
    return new SqliteDatabase(path);
  } catch (error) {
    const kind = error instanceof StoreLostError ? "lost" : "not-opened";
    send({ kind, message: messageOf(error) });
    return null;
  }
}

function receive(database: SqliteDatabase, message: ToWorker): void {
  if (ended) return;
  switch (message.kind) {
    case "transact":
      if (!isWrite(message.transaction)) return void attempt(database, message);
      writes.push(message);
      if (retry === null) work(database);
      return;
    case "watch": {
      const { prefix, fromRevision } = message;
      watches.set(message.watch, { prefix, revision: fromRevision, keys: null });
      polling ??= setInterval(() => poll(database), POLL_MS);
      guarded(database, () => tell(database, message.watch));
      return;
    }
    case "unwatch":
      watches.delete(message.watch);
      return;
    case "close":
      closing = true;
      if (retry === null) work(database);
  }
}

/** Writes in turn until one has to wait for the lock. */
function work(database: SqliteDatabase): void {
  retry = null;
  for (let next = writes[0]; next !== undefined; next = writes[0]) {
    if (!attempt(database, next)) {
      retry = setTimeout(() => work(database), RETRY_MS);
      return;
    }
    writes.shift();
  }
  if (closing) end(database);
}

/** False: the lock is taken, try again. */
function attempt(database: SqliteDatabase, { request, transaction, giveUpAtMs }: Request): boolean {
  if (Number(process.hrtime.bigint()) / 1e6 >= giveUpAtMs) {
    send({ kind: "answer", request, outcome: { outcome: "unknown", reason: lateReason() } });
    return true;
  }
  try {
    const outcome = database.transact(transaction);
    send({ kind: "answer", request, outcome });
    if (isWrite(transaction) && outcome.outcome === "applied") tellAll(database);
    return true;
  } catch (error) {
    switch (trouble(error)) {
      case "busy":
        if (isWrite(transaction)) return false;
        break;
      case "failed":
        break;
      case "lost":
        becomeLost(database, error);
        return true;
    }
    const reason = `${path}: ${messageOf(error)}`;
    send({ kind: "answer", request, outcome: { outcome: "unknown", reason } });
    return true;
  }
}

function lateReason(): string {
  const pid = writeLockHolder(path);
  if (pid === null || pid === process.pid) return `${path} gave no answer within the deadline`;
  return `process ${pid} is inside a write of ${path} (if it is stopped, continue or kill it)`;
}

function poll(database: SqliteDatabase): void {
  if (watches.size === 0) return;
  guarded(database, () => {
    const version = database.dataVersion();
    // Stored only after all were told: what fails half way is looked at again.
    if (version !== dataVersion && tellAll(database)) dataVersion = version;
  });
}

function tellAll(database: SqliteDatabase): boolean {
  let complete = true;
  for (const id of watches.keys()) {
    complete = guarded(database, () => tell(database, id)) && complete;
  }
  return complete;
}

/** False when it failed. A busy or failing disk just means "at the next poll", a lost store is the end. */
function guarded(database: SqliteDatabase, look: () => void): boolean {
  try {
    look();
    return true;
  } catch (error) {
    // So that the next poll looks again even if nobody commits any more.
    dataVersion = -1;
    if (trouble(error) === "lost") becomeLost(database, error);
    return false;
  }
}

function tell(database: SqliteDatabase, id: number): void {
  const watch = watches.get(id);
  if (watch === undefined) return;
  const keys = (watch.keys ??= database.keys(watch.prefix));
  const { revision, changes } = database.changes(watch.prefix, watch.revision, keys);
  for (let from = 0; from < changes.length; from += CHANGES_PER_MESSAGE_MAX) {
    const told = changes.slice(from, from + CHANGES_PER_MESSAGE_MAX);
    send({ kind: "changes", watch: id, changes: told });
  }
  watch.revision = Math.max(watch.revision, revision);
  for (const { key, value } of changes) {
    if (value === null) keys.delete(key);
    else keys.add(key);
  }
}

function becomeLost(database: SqliteDatabase, error: unknown): void {
  const reason =
    error instanceof StoreLostError ? error : lost(path, `is damaged (${messageOf(error)})`);
  send({ kind: "lost", message: reason.message });
  writes.length = 0;
  end(database);
}

/** May come twice: a store can be lost while it is being closed. */
function end(database: SqliteDatabase): void {
  if (ended) return;
  ended = true;
  if (retry !== null) clearTimeout(retry);
  if (polling !== null) clearInterval(polling);
  watches.clear();
  database.close();
  port?.close();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function send(message: FromWorker): void {
  port?.postMessage(message);
}
