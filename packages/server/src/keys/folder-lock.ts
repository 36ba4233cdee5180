/**
 * Keeps a member's process away from its data folder while something else is done in there, and the other way
 * round: the lock that the journal takes for the life of a member's process.
 */
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";

/** Held with SQLite's exclusive lock, which dies with its process. */
const LOCK_FILE = "lock.db";
const SQLITE_BUSY = 5;
const MODE = 0o600;

/** Null, and nothing is done: a member's process has the folder. */
export async function withFolderLocked<Result>(
  folder: string,
  act: () => Promise<Result>,
): Promise<{ readonly result: Result } | null> {
  const path = join(folder, LOCK_FILE);
  // Created here and not by SQLite, so that only its owner reads it.
  closeSync(openSync(path, "a", MODE));
  // Loaded here: what locks nothing goes without it.
  const { DatabaseSync } = await import("node:sqlite");
  const lock = new DatabaseSync(path, { timeout: 0 });
  try {
    lock.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    return { result: await act() };
  } catch (error) {
    const code: unknown = error instanceof Error ? Reflect.get(error, "errcode") : null;
    // The lower byte says what it is, the others why.
    if (typeof code === "number" && (code & 0xff) === SQLITE_BUSY) return null;
    throw error;
  } finally {
    lock.close();
  }
}
