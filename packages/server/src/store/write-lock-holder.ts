/**
 * Who holds the write lock of a SQLite file in WAL mode, as far as the system tells.
 *
 * A process that is frozen inside a write stops every member of the embedded pool, and nothing but its pid
 * helps the administrator. Linux lists the locks; elsewhere the answer is null.
 */
import { readFileSync, statSync } from "node:fs";

/** Byte of the `-shm` file that WAL mode locks for its one writer (SQLite file format, section 4.3). */
const WAL_WRITE_LOCK_BYTE = 120;

/** The pid of the process that is inside a write of the database at `path`, or null. */
export function writeLockHolder(path: string): number | null {
  try {
    const { ino } = statSync(`${path}-shm`, { bigint: true });
    return holderIn(readFileSync("/proc/locks", "utf8"), ino);
  } catch {
    // Only a hint for people: without /proc the reason just doesn't name a pid.
    return null;
  }
}

function holderIn(locks: string, ino: bigint): number | null {
  for (const line of locks.split("\n")) {
    // `3: POSIX  ADVISORY  WRITE 4711 fd:00:131077 120 120`; a waiting process has `->` after the number.
    const [, kind, , mode, pid, file, from, to] = line.split(/\s+/);
    if (kind !== "POSIX" || mode !== "WRITE" || !file?.endsWith(`:${ino}`)) continue;
    const first = Number(from);
    const last = to === "EOF" ? Infinity : Number(to);
    if (first <= WAL_WRITE_LOCK_BYTE && WAL_WRITE_LOCK_BYTE <= last) return Number(pid);
  }
  return null;
}
