/**
 * Who changed what, when and from where: `<data>/audit.log`, one JSON object a line. Each line holds the
 * SHA-256 of the line before, so that a line that is changed, taken out or put in breaks the chain;
 * `audit.head` names the last line, so that a cut end is found as well.
 *
 * What is about to be done is synced BEFORE it is done, and how it ended afterwards: nothing happens without a
 * line. It is never shortened by the server: only who holds an administrator's token can make it grow.
 *
 * Who can write to the folder can write a whole new chain: note the last hash somewhere else, now and then.
 */
import { hash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { readFileIfThere, writeFileDurably } from "../keys/durable-file.ts";
import { fileTrouble, ForPeople } from "../keys/for-people.ts";

export interface AuditFact {
  readonly who: string;
  readonly role: string;
  /** The address that the call came from. */
  readonly from: string;
  readonly what: string;
  readonly details: Readonly<Record<string, unknown>>;
  /** `begun` before it is done; then `done`, or the code of the refusal. */
  readonly outcome: string;
}

export interface AuditEntry extends AuditFact {
  /** From 1, without a gap. */
  readonly number: number;
  /** RFC 3339. */
  readonly at: string;
  /** SHA-256 of the line before, hex. */
  readonly previous: string;
}

export interface AuditLog {
  /** Resolves when the line is synced; rejects when it can't be, and with it all that follow. */
  append(fact: AuditFact): Promise<void>;
  close(): Promise<void>;
}

const LOG_FILE = "audit.log";
const HEAD_FILE = "audit.head";
const HEAD_BYTES_MAX = 1_024;
/** Longer than any line: names, reasons and addresses are bounded. */
const TAIL_BYTES = 64 * 1024;
const FIRST_PREVIOUS = "0".repeat(64);
const MODE = 0o600;

/** Throws `ForPeople` when the folder can't be written. */
export async function openAuditLog(folder: string): Promise<AuditLog> {
  const path = join(folder, LOG_FILE);
  let file: FileHandle;
  let last: Tail;
  try {
    file = await open(path, "a+", MODE);
    last = await tailOf(file);
  } catch (error) {
    throw fileTrouble("open", path, error);
  }
  let lane: Promise<void> = Promise.resolve();
  const write = async (fact: AuditFact): Promise<void> => {
    const number = last.number + 1;
    const entry: AuditEntry = {
      number,
      at: new Date().toISOString(),
      ...fact,
      previous: last.hash,
    };
    const line = JSON.stringify(entry);
    await file.appendFile(`${line}\n`);
    await file.datasync();
    last = { number, hash: hash("sha256", line, "hex") };
    // AFTER the line: a crash in between leaves a head that names an earlier line, which is still there.
    writeFileDurably(join(folder, HEAD_FILE), `${JSON.stringify(last)}\n`, {
      mode: MODE,
      overwrite: true,
    });
  };
  return {
    append: (fact) => {
      lane = lane.then(() => write(fact));
      // Whoever waits hears of it; the lane itself must not raise it a second time.
      lane.catch(() => undefined);
      return lane;
    },
    close: async () => {
      await lane.catch(() => undefined);
      await file.close();
    },
  };
}

interface Tail {
  readonly number: number;
  readonly hash: string;
}

/** The last whole line. What is after it was cut by a crash before anybody relied on it, and is taken off. */
async function tailOf(file: FileHandle): Promise<Tail> {
  const { size } = await file.stat();
  if (size === 0) return { number: 0, hash: FIRST_PREVIOUS };
  const from = Math.max(0, size - TAIL_BYTES);
  const bytes = Buffer.alloc(size - from);
  await file.read(bytes, 0, bytes.length, from);
  const end = bytes.lastIndexOf(10);
  if (from + end + 1 < size) await file.truncate(from + end + 1);
  if (end === -1) return { number: 0, hash: FIRST_PREVIOUS };
  const line = bytes.subarray(end === 0 ? 0 : bytes.lastIndexOf(10, end - 1) + 1, end);
  return { number: entryIn(line.toString())?.number ?? 0, hash: hash("sha256", line, "hex") };
}

export interface AuditCheck {
  readonly entries: number;
  /** SHA-256 of the last line, to be noted elsewhere. */
  readonly head: string;
  /** The first thing that is wrong, in a sentence; null: the chain is whole. */
  readonly problem: string | null;
}

/** Reads line by line. `expected`: a hash that was noted before and must be among the lines. */
export async function checkAudit(
  folder: string,
  expected: string | null = null,
  onEntry: (entry: AuditEntry) => void = () => {},
): Promise<AuditCheck> {
  const head = headIn(folder);
  let number = 0;
  let previous = FIRST_PREVIOUS;
  let problem: string | null = null;
  let headSeen = head === null || head.number === 0;
  let expectedSeen = expected === null;
  for await (const line of linesOf(folder)) {
    number += 1;
    const entry = entryIn(line);
    if (entry !== null) onEntry(entry);
    problem ??=
      entry === null
        ? `line ${number} is no entry`
        : entry.previous !== previous
          ? `line ${number} does not follow from the line before: one of them was changed, taken out or put in`
          : entry.number === number
            ? null
            : `line ${number} has the number ${entry.number}`;
    previous = hash("sha256", line, "hex");
    headSeen ||= head?.number === number && head.hash === previous;
    expectedSeen ||= expected === previous;
  }
  if (head === null && number > 0) problem ??= `${HEAD_FILE} is missing`;
  if (!headSeen) {
    problem ??= `line ${head?.number ?? 0}, which ${HEAD_FILE} names, is not there or was changed: the end was cut or written anew`;
  }
  if (!expectedSeen) problem ??= `no line has the hash ${expected}`;
  return { entries: number, head: previous, problem };
}

async function* linesOf(folder: string): AsyncGenerator<string> {
  const path = join(folder, LOG_FILE);
  if (!existsSync(path)) {
    if (headIn(folder) !== null) return;
    throw new ForPeople(`${folder} has no ${LOG_FILE}: nothing was changed there yet`);
  }
  try {
    yield* createInterface({ input: createReadStream(path), crlfDelay: Infinity });
  } catch (error) {
    throw fileTrouble("read", path, error);
  }
}

function headIn(folder: string): Tail | null {
  const text = readFileIfThere(join(folder, HEAD_FILE), HEAD_BYTES_MAX);
  const value = text === null ? null : jsonIn(text);
  if (value === null || !("number" in value) || !("hash" in value)) return null;
  return { number: Number(value.number), hash: String(value.hash) };
}

function entryIn(line: string): AuditEntry | null {
  const value = jsonIn(line);
  if (value === null || !("number" in value) || !("previous" in value)) return null;
  return value as AuditEntry;
}

function jsonIn(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    // What is no JSON is no entry, and is told as that.
    return null;
  }
}
