/** What the errors of the SQLite adapter mean, and what the people who meet them can do. */
import { StoreLostError } from "./store.ts";

export type Trouble =
  /** Another process holds the lock: nothing was written, try again. */
  | "busy"
  /** The file is gone, another one or damaged: for good. */
  | "lost"
  /** The disk or the system failed: the write is in doubt, a later one may work. */
  | "failed";

/** What an error of this module or of SQLite means. */
export function trouble(error: unknown): Trouble {
  if (error instanceof StoreLostError) return "lost";
  const code = sqliteCode(error);
  if (code === null) throw error;
  return TROUBLES[code] ?? "failed";
}

/** The StoreLostError for a file, with what to do. */
export function lost(path: string, what: string): StoreLostError {
  return new StoreLostError(
    `The store ${path} ${what}. Stop all members of this pool on this machine, then put the file back ` +
      "from a backup or start with a new one, and run `quorate pool rebuild`.",
  );
}

/** SQLite's code for a file that was moved or deleted while it was open. */
const SQLITE_READONLY_DBMOVED = 1032;
/** By SQLite's code. SQLITE_ERROR: our fixed statements fail only when the tables are not ours. */
const TROUBLES: Readonly<Record<number, Trouble>> = {
  1: "lost", // SQLITE_ERROR
  5: "busy", // SQLITE_BUSY
  6: "busy", // SQLITE_LOCKED
  11: "lost", // SQLITE_CORRUPT
  26: "lost", // SQLITE_NOTADB
  [SQLITE_READONLY_DBMOVED]: "lost",
};

/** The result code without its extension, but for the extension that matters; null: not SQLite's error. */
export function sqliteCode(error: unknown): number | null {
  if (!(error instanceof Error) || !("errcode" in error)) return null;
  if (typeof error.errcode !== "number") return null;
  return error.errcode === SQLITE_READONLY_DBMOVED ? error.errcode : error.errcode & 0xff;
}
