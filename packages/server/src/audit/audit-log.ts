/**
 * Who changed what, when and from where: `<data>/audit.log`, one JSON object a line. Each line holds the
 * SHA-256 of the line before, over all files of the log, so that a line that is changed, taken out or put in breaks
 * the chain; `audit.head` names the last line, so that a cut end is found as well.
 *
 * What is about to be done is synced BEFORE it is done, and how it ended afterwards: nothing happens without a
 * line. It is never shortened by the server: a full file is put aside and stays.
 *
 * Nothing here is written or synced on the event loop: whoever fails to log in makes a line, and a disk that takes a
 * second for it must not hold up heartbeats or the member's lease.
 *
 * Who can write to the folder can write a whole new chain: note the last hash somewhere else, now and then.
 */
import { hash } from "node:crypto";
import { open, rename } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { AuditEntry } from "@quorate/protocol";
import { readFileIfThere } from "../keys/durable-file.ts";
import { fileTrouble } from "../keys/for-people.ts";
import {
  auditFiles,
  entriesBefore,
  entryIn,
  firstNumberIn,
  fullFileName,
  jsonIn,
  LINE_BYTES_MAX,
  linesBackwards,
  LOG_FILE,
} from "./audit-files.ts";

/** What is noted; the log adds number, time and the hash of the line before. */
type AuditFact = Pick<AuditEntry, "who" | "role" | "from" | "what" | "details" | "outcome">;

export interface AuditLog {
  /** Resolves when the line is synced; rejects when it can't be, and with it all that follow. */
  append(fact: AuditFact): Promise<void>;
  /** The newest first, with numbers below `before`. */
  entriesBefore(before: number, limit: number): Promise<readonly AuditEntry[]>;
  close(): Promise<void>;
}

export const HEAD_FILE = "audit.head";
export const FIRST_PREVIOUS = "0".repeat(64);
/** Some ten thousand lines. */
const FILE_BYTES_MAX = 4 * 1024 * 1024;
const HEAD_BYTES_MAX = 1_024;
const MODE = 0o600;

/** Throws `ForPeople` when the folder can't be written. Whoever opens it must be the only one. */
export async function openAuditLog(
  folder: string,
  fileBytesMax = FILE_BYTES_MAX,
): Promise<AuditLog> {
  const path = join(folder, LOG_FILE);
  let state: State;
  try {
    state = await begin(folder, path);
  } catch (error) {
    throw fileTrouble("open", path, error);
  }
  let lane: Promise<void> = Promise.resolve();
  const write = async (fact: AuditFact): Promise<void> => {
    if (state.bytes >= fileBytesMax) state = await anew(folder, path, state);
    const { last } = state;
    const number = last.number + 1;
    const entry: AuditEntry = {
      number,
      at: new Date().toISOString(),
      ...fact,
      previous: last.hash,
    };
    const line = JSON.stringify(entry);
    const bytes = Buffer.from(`${line}\n`);
    if (bytes.length > LINE_BYTES_MAX) throw new Error("no line of the audit log is that long");
    await state.file.appendFile(bytes);
    await state.file.datasync();
    state.bytes += bytes.length;
    state.first ??= number;
    state.last = { number, hash: hash("sha256", line, "hex") };
    // AFTER the line: a crash in between leaves a head that names an earlier line, which is still there.
    await writeHead(folder, state.last);
  };
  return {
    append: (fact) => {
      lane = lane.then(() => write(fact));
      // Whoever waits hears of it; the lane itself must not raise it a second time.
      lane.catch(ignore);
      return lane;
    },
    entriesBefore: (before, limit) => {
      const read = lane.catch(ignore).then(() => entriesBefore(folder, before, limit));
      // Files are put aside only before and after it.
      lane = lane.then(() => read.then(ignore, ignore));
      lane.catch(ignore);
      return read;
    },
    close: async () => {
      await lane.catch(ignore);
      await state.file.close();
    },
  };
}

function ignore(): void {}

interface State {
  readonly file: FileHandle;
  bytes: number;
  /** Number of the file's first line; null while it has none. */
  first: number | null;
  last: Tail;
}

interface Tail {
  readonly number: number;
  readonly hash: string;
}

async function begin(folder: string, path: string): Promise<State> {
  const file = await open(path, "a+", MODE);
  try {
    const last = await tailOf(file);
    const { size } = await file.stat();
    if (last !== null) return { file, bytes: size, first: await firstNumberIn(file), last };
    // An empty file is a new log, or the new file of one: then the last line is in the file before.
    return { file, bytes: 0, first: null, last: await tailOfFullFiles(folder) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Puts the full file aside. A crash in between leaves no `audit.log`, or an empty one; either is begun anew. */
async function anew(folder: string, path: string, { file, first, last }: State): Promise<State> {
  if (first === null) throw new Error("a full file of the audit log has lines");
  await rename(path, join(folder, fullFileName(first)));
  const next = await open(path, "a+", MODE);
  await syncNames(folder);
  await file.close();
  return { file: next, bytes: 0, first: null, last };
}

/** Whole or as before, also after a power loss. Only the lane writes it, so one name beside it is enough. */
async function writeHead(folder: string, last: Tail): Promise<void> {
  const beside = join(folder, `.${HEAD_FILE}.new`);
  const file = await open(beside, "w", MODE);
  try {
    await file.writeFile(`${JSON.stringify(last)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, join(folder, HEAD_FILE));
  await syncNames(folder);
}

/** Windows has no folder handles to sync; NTFS journals the names itself. */
async function syncNames(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const names = await open(folder, "r");
  try {
    await names.sync();
  } finally {
    await names.close();
  }
}

/** The last whole line. What is after it was cut by a crash before anybody relied on it, and is taken off. */
async function tailOf(file: FileHandle): Promise<Tail | null> {
  const { size } = await file.stat();
  if (size === 0) return null;
  const from = Math.max(0, size - LINE_BYTES_MAX);
  const bytes = Buffer.alloc(size - from);
  await file.read(bytes, 0, bytes.length, from);
  const end = bytes.lastIndexOf("\n");
  if (from + end + 1 < size) await file.truncate(from + end + 1);
  if (end === -1) return null;
  const line = bytes.subarray(end === 0 ? 0 : bytes.lastIndexOf("\n", end - 1) + 1, end);
  return tailIn(line);
}

async function tailOfFullFiles(folder: string): Promise<Tail> {
  const full = (await auditFiles(folder)).filter(({ first }) => first !== null).at(-1);
  if (full === undefined) return { number: 0, hash: FIRST_PREVIOUS };
  const file = await open(full.path, "r");
  try {
    for await (const line of linesBackwards(file)) return tailIn(line);
  } finally {
    await file.close();
  }
  return { number: 0, hash: FIRST_PREVIOUS };
}

function tailIn(line: Buffer): Tail {
  return { number: entryIn(line.toString())?.number ?? 0, hash: hash("sha256", line, "hex") };
}

export function headIn(folder: string): Tail | null {
  const text = readFileIfThere(join(folder, HEAD_FILE), HEAD_BYTES_MAX);
  const value = text === null ? null : jsonIn(text);
  if (value === null || !("number" in value) || !("hash" in value)) return null;
  return { number: Number(value.number), hash: String(value.hash) };
}
