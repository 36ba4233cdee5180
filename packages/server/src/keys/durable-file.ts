/**
 * Small files that are whole or absent, also after a power loss: written beside, synced, then put in place.
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileTrouble, ForPeople } from "./for-people.ts";

export interface WriteOptions {
  /** Permissions, e.g. 0o600. */
  readonly mode: number;
  /** False: an existing file is an error and stays as it is. */
  readonly overwrite: boolean;
}

/** Throws `ForPeople` when the file system refuses. */
export function writeFileDurably(path: string, text: string, options: WriteOptions): void {
  const beside = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  try {
    writeSynced(beside, text, options.mode);
    // A link, unlike a rename, fails when the name is taken: two processes can't overwrite each other's key.
    if (options.overwrite) renameSync(beside, path);
    else linkSync(beside, path);
    syncFolder(dirname(path));
  } catch (error) {
    throw fileTrouble("write", path, error);
  } finally {
    rmSync(beside, { force: true });
  }
}

/** The text, or null when there is no such file. Throws `ForPeople` for the rest. */
export function readFileIfThere(path: string, bytesMax: number): string | null {
  const found = statIfThere(path);
  if (found === null) return null;
  if (found.size > bytesMax) throw new ForPeople(`${path} is larger than ${bytesMax} bytes`);
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw fileTrouble("read", path, error);
  }
}

function statIfThere(path: string): { size: number } | null {
  try {
    return statSync(path, { throwIfNoEntry: false }) ?? null;
  } catch (error) {
    throw fileTrouble("read", path, error);
  }
}

function writeSynced(path: string, text: string, mode: number): void {
  const file = openSync(path, "wx", mode);
  try {
    const bytes = Buffer.from(text);
    let written = 0;
    while (written < bytes.length) written += writeSync(file, bytes, written);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncFolder(path: string): void {
  // Windows has no folder handles to sync; NTFS journals the names itself.
  if (process.platform === "win32") return;
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
