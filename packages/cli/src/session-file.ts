/**
 * What a shell needs to release a checkout later: one file per session, readable by its owner alone, because who
 * has the secret speaks for the session.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { EXIT } from "./exit-codes.ts";
import { Failure } from "./failure.ts";

export interface SessionFile {
  readonly session: string;
  readonly secret: string;
  /** The highest number sent so far; a release sends a higher one. */
  readonly n: number;
  /** The one that granted it comes first. */
  readonly servers: readonly string[];
}

/** No authorization lives longer, so a file that old is of no use. */
const FILE_AGE_MS_MAX = 30 * 24 * 3_600_000;
const FILE_BYTES_MAX = 64 * 1024;
const FILES_LOOKED_AT_MAX = 10_000;
const SESSION = /^[A-Za-z0-9_-]{43}$/;
const ENDING = ".json";

/** Returns the path of the file. Files that are too old to be of use are removed on the way. */
export function storeSession(file: SessionFile): string {
  const folder = stateFolder();
  const path = join(folder, file.session + ENDING);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    throw new Failure(
      `cannot write ${path} (${codeOf(error)}); choose a folder with QUORATE_STATE`,
    );
  }
  removeOld(folder);
  return path;
}

/** The session named in full or by its first characters, as tables show it. */
export function findSession(named: string): { readonly path: string; readonly file: SessionFile } {
  const folder = stateFolder();
  const names = namesIn(folder).filter((name) => name.startsWith(named));
  if (names.length > 1) {
    throw new Failure(`${named} fits ${names.length} sessions; write more of it`, EXIT.usage);
  }
  const [name] = names;
  if (name === undefined || named === "") {
    throw new Failure(
      `there is no secret of session "${named}" in ${folder}; was it taken by another user or released already? See --secret-file, or --revoke for administrators`,
      EXIT.usage,
    );
  }
  const path = join(folder, name);
  return { path, file: readSession(path) };
}

export function readSession(path: string): SessionFile {
  let value: unknown;
  try {
    if (statSync(path).size > FILE_BYTES_MAX) throw new Failure(`${path} is no session file`);
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`cannot read the session file ${path} (${codeOf(error)})`);
  }
  if (isSessionFile(value)) return value;
  throw new Failure(`${path} is no session file`);
}

export function forgetSession(path: string): void {
  rmSync(path, { force: true });
}

/** `$QUORATE_STATE`, else where programs keep state that is not configuration. */
function stateFolder(): string {
  const given = process.env["QUORATE_STATE"] ?? "";
  if (given !== "") return given;
  const state = process.env["XDG_STATE_HOME"] ?? "";
  return join(state === "" ? join(homedir(), ".local", "state") : state, "quorate", "sessions");
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(ENDING) && SESSION.test(name.slice(0, -ENDING.length)))
      .slice(0, FILES_LOOKED_AT_MAX);
  } catch {
    // Nothing was ever checked out here.
    return [];
  }
}

function removeOld(folder: string): void {
  for (const name of namesIn(folder)) {
    const path = join(folder, name);
    try {
      if (Date.now() - statSync(path).mtimeMs > FILE_AGE_MS_MAX) rmSync(path);
    } catch {
      // Another checkout removed it in the same moment.
    }
  }
}

function isSessionFile(value: unknown): value is SessionFile {
  if (typeof value !== "object" || value === null) return false;
  const { session, secret, n, servers } = value as Partial<Record<keyof SessionFile, unknown>>;
  return (
    typeof session === "string" &&
    SESSION.test(session) &&
    typeof secret === "string" &&
    Number.isSafeInteger(n) &&
    Array.isArray(servers) &&
    servers.length > 0 &&
    servers.every((server) => typeof server === "string")
  );
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "not JSON";
}
