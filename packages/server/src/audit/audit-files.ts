/**
 * The files of the audit log and how they are read. `audit.log` is written to; when it is full it becomes
 * `audit-<number of its first line>.log` and a new one begins, with the hash of the line before in its first line.
 *
 *   audit-000000000001.log   audit-000000012044.log   audit.log
 */
import { open, readdir } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { AuditEntry } from "@quorate/protocol";
import { fileTrouble } from "../keys/for-people.ts";

export const LOG_FILE = "audit.log";
/** Longer than any line: names, reasons and addresses are bounded. */
export const LINE_BYTES_MAX = 64 * 1024;
const NEWLINE = 10;
const FULL_FILE = /^audit-(\d{12})\.log$/;
const CHUNK_BYTES = 64 * 1024;
/** A line is written in one piece, but a reader may see its beginning first. */
const PARTS_MS: readonly number[] = [20, 100, 500];

/** What a full file is called whose first line has this number. */
export function fullFileName(first: number): string {
  return `audit-${String(first).padStart(12, "0")}.log`;
}

export interface AuditFile {
  readonly path: string;
  /** Number of its first line; null for the file that is written to. */
  readonly first: number | null;
}

/** Those that are there, in the order of their lines. */
export async function auditFiles(folder: string): Promise<readonly AuditFile[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw fileTrouble("read", folder, error);
  }
  const full = names
    .flatMap((name) => {
      const first = FULL_FILE.exec(name)?.[1];
      return first === undefined ? [] : [{ path: join(folder, name), first: Number(first) }];
    })
    .toSorted((one, other) => one.first - other.first);
  const current = { path: join(folder, LOG_FILE), first: null };
  return names.includes(LOG_FILE) ? [...full, current] : full;
}

/** The lines of all files at one moment, from the first on. The server may write, and put files aside, meanwhile. */
export interface AuditReading {
  /** How many files there are. */
  readonly files: number;
  readonly lines: () => AsyncGenerator<Buffer>;
  close(): Promise<void>;
}

/**
 * The file that is written to is opened BEFORE the others are listed: if it is put aside between the two, it is
 * either in the list or still open here, and never in neither. Its first number says whether it is in both.
 */
export async function readAuditFiles(folder: string): Promise<AuditReading> {
  const path = join(folder, LOG_FILE);
  const current = await openIfThere(path);
  try {
    const full = (await auditFiles(folder)).filter(({ first }) => first !== null);
    // After the list: a file that is still empty now was not put aside before it.
    const first = current === null ? null : await firstNumberIn(current);
    const isListed = first !== null && full.some((file) => file.first === first);
    const last = isListed ? null : current;
    return {
      files: full.length + (last === null ? 0 : 1),
      lines: async function* lines() {
        for (const file of full) yield* linesAt(file.path);
        if (last !== null) yield* linesIn(last, path, PARTS_MS);
      },
      close: async () => current?.close(),
    };
  } catch (error) {
    await current?.close();
    throw error;
  }
}

async function openIfThere(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw fileTrouble("read", path, error);
  }
}

export async function firstNumberIn(file: FileHandle): Promise<number | null> {
  const bytes = Buffer.alloc(LINE_BYTES_MAX);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
  const end = bytes.subarray(0, bytesRead).indexOf(NEWLINE);
  return end === -1 ? null : (entryIn(bytes.subarray(0, end).toString())?.number ?? null);
}

async function* linesAt(path: string): AsyncGenerator<Buffer> {
  const file = await openIfThere(path);
  // It was listed: without it the chain is broken, and the next line says so.
  if (file === null) return;
  try {
    yield* linesIn(file, path, []);
  } finally {
    await file.close();
  }
}

/**
 * Parted where the log parts them, and not by other characters that end a line for `node:readline`. A last line
 * without an end may be on its way to the disk: `waitsMs` says how often, and after how long, is looked again.
 */
async function* linesIn(
  file: FileHandle,
  path: string,
  waitsMs: readonly number[],
): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  let position = 0;
  let waits = 0;
  for (;;) {
    const read = await file
      .read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, position)
      .catch((error) => {
        throw fileTrouble("read", path, error);
      });
    position += read.bytesRead;
    const chunk = read.buffer.subarray(0, read.bytesRead);
    if (chunk.length === 0) {
      const waitMs = rest.length === 0 ? undefined : waitsMs[waits];
      if (waitMs === undefined) break;
      waits += 1;
      await setTimeout(waitMs);
      continue;
    }
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      yield Buffer.concat([rest, chunk.subarray(from, at)]);
      rest = Buffer.alloc(0);
      from = at + 1;
    }
    rest = Buffer.concat([rest, chunk.subarray(from)]);
    if (rest.length <= LINE_BYTES_MAX) continue;
    // No line of the log is that long: it is told as one that is no entry, and never kept whole.
    yield rest;
    rest = Buffer.alloc(0);
  }
  if (rest.length > 0) yield rest;
}

/** The whole lines of an open file from its end to its beginning. What is after the last line break is none. */
export async function* linesBackwards(file: FileHandle): AsyncGenerator<Buffer> {
  let end = (await file.stat()).size;
  /** The beginning of a line whose own beginning is not read yet; null until the last line break is found. */
  let rest: Buffer | null = null;
  while (end > 0) {
    const from = Math.max(0, end - CHUNK_BYTES);
    const chunk = Buffer.alloc(end - from);
    await file.read(chunk, 0, chunk.length, from);
    end = from;
    let until = chunk.length;
    for (;;) {
      const at = until === 0 ? -1 : chunk.lastIndexOf(NEWLINE, until - 1);
      if (at === -1) break;
      if (rest !== null) yield Buffer.concat([chunk.subarray(at + 1, until), rest]);
      rest = Buffer.alloc(0);
      until = at;
    }
    if (rest === null) continue;
    rest = Buffer.concat([chunk.subarray(0, until), rest]);
    if (rest.length > LINE_BYTES_MAX) return;
  }
  if (rest !== null) yield rest;
}

/** The newest first, with numbers below `before`. Reads no more of the files than it has to. */
export async function entriesBefore(
  folder: string,
  before: number,
  limit: number,
): Promise<readonly AuditEntry[]> {
  const found: AuditEntry[] = [];
  for (const { path, first } of (await auditFiles(folder)).toReversed()) {
    if (first !== null && first >= before) continue;
    if (found.length >= limit) break;
    const file = await open(path, "r");
    try {
      for await (const line of linesBackwards(file)) {
        const entry = entryIn(line.toString());
        if (entry === null || entry.number >= before) continue;
        found.push(entry);
        if (found.length >= limit) break;
      }
    } finally {
      await file.close();
    }
  }
  return found;
}

export function entryIn(line: string): AuditEntry | null {
  const value = jsonIn(line);
  if (value === null || !("number" in value) || !("previous" in value)) return null;
  return value as AuditEntry;
}

export function jsonIn(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    // What is no JSON is no entry, and is told as that.
    return null;
  }
}
