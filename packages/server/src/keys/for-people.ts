/**
 * An error that is nobody's bug: a file that is not there, a key that would be overwritten. The message is one
 * sentence that says what is wrong and what to do, and is shown without a stack trace.
 */
export class ForPeople extends Error {
  override readonly name = "ForPeople";
}

/** The code of a failed system call, "ENOENT" and the like. */
function systemCode(error: unknown): string | null {
  if (!(error instanceof Error) || !("code" in error)) return null;
  return typeof error.code === "string" ? error.code : null;
}

/** Turns a failed system call into words; anything else is a bug and stays what it is. */
export function fileTrouble(doing: string, path: string, error: unknown): unknown {
  if (error instanceof ForPeople) return error;
  const code = systemCode(error);
  if (code === null) return error;
  return new ForPeople(`cannot ${doing} ${path}: ${REASONS[code] ?? code}`, { cause: error });
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "no permission",
  EEXIST: "it exists already and is not overwritten",
  EISDIR: "it is a folder",
  ENOENT: "there is no such file or folder",
  ENOSPC: "the disk is full",
  ENOTDIR: "a part of the path is not a folder",
  EPERM: "no permission",
  EROFS: "the file system is read-only",
};
