/** `quorate release`: gives back what `quorate checkout` took, or revokes a session as an administrator. */
import type { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { printJson } from "../print.ts";
import { callServer, problemIn } from "../server-calls.ts";
import { adminTokenFrom, serversFrom } from "../servers.ts";
import { findSession, forgetSession, readSession, type SessionFile } from "../session-file.ts";

const ANSWER_MS_MAX = 2_000;
const SESSION_CHARACTERS = 43;
/** Fewer characters of a session are too easily those of another. */
const PREFIX_CHARACTERS_MIN = 8;
const SESSION_HEADER = "quorate-session";
/** The session was over before: nothing is left to do. */
const OVER_CODES: readonly (string | null)[] = ["released", "revoked"];

interface ReleaseFlags {
  readonly servers?: string;
  readonly secretFile?: string;
  readonly revoke?: boolean;
  readonly reason?: string;
  readonly adminTokenFile?: string;
  readonly json?: boolean;
}

export function releaseCommand(program: Command): void {
  program
    .command("release")
    .description("give back what quorate checkout took; --revoke: end anybody's session")
    .argument("<session>", "the session, or the first characters of it")
    .option("--servers <urls>", "servers of the pool (default: those of the checkout)")
    .option("--secret-file <file>", "the session's file, if it is not where checkout puts it")
    .option("--revoke", "end it as an administrator; its program is told at its next heartbeat")
    .option("--reason <words>", "with --revoke: why; it is kept in the history and told in events")
    .option(
      "--admin-token-file <file>",
      "with --revoke: the administrators' token (default: QUORATE_ADMIN_TOKEN_FILE)",
    )
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExample:\n  quorate release 3q2-7wAB\n" +
        '  quorate release 3q2-7wAB --revoke --reason "left over the weekend" --admin-token-file admin.token',
    )
    .action(async (session: string, flags: ReleaseFlags) => {
      const done =
        flags.revoke === true ? await revoke(session, flags) : await give(session, flags);
      if (flags.json === true) printJson({ session: done.session, reached: done.reached });
      else console.log(done.words);
    });
}

interface Done {
  readonly session: string;
  /** Whether the server that counts the session knows. */
  readonly reached: boolean;
  readonly words: string;
}

async function give(named: string, flags: ReleaseFlags): Promise<Done> {
  const { path, file } =
    flags.secretFile === undefined
      ? findSession(named)
      : { path: flags.secretFile, file: readSession(flags.secretFile) };
  if (!file.session.startsWith(named)) {
    throw new Failure(`${path} is the file of session ${file.session}`, EXIT.usage);
  }
  const reached = await tell(
    flags.servers === undefined ? file.servers : serversFrom(flags.servers),
    `/v1/authorizations/${file.session}?n=${file.n + 1}`,
    { [SESSION_HEADER]: file.secret },
  );
  forget(path, file);
  return {
    session: file.session,
    reached,
    words: reached
      ? `released ${file.session}`
      : `released ${file.session}; its server could not be reached, so the seat is free one life after its checkout`,
  };
}

function forget(path: string, file: SessionFile): void {
  // A file that somebody named may hold more than ours: only what checkout wrote under its name is removed.
  if (path.endsWith(`${file.session}.json`)) forgetSession(path);
}

async function revoke(named: string, flags: ReleaseFlags): Promise<Done> {
  const servers = serversFrom(flags.servers);
  const authorization = `Bearer ${adminTokenFrom(flags.adminTokenFile)}`;
  const session =
    named.length === SESSION_CHARACTERS ? named : await sessionStarting(named, servers);
  const query = flags.reason === undefined ? "" : `?reason=${encodeURIComponent(flags.reason)}`;
  const reached = await tell(servers, `/v1/authorizations/${encodeURIComponent(session)}${query}`, {
    authorization,
  });
  return {
    session,
    reached,
    words: reached
      ? `revoked ${session}; its seat is free one life after its last heartbeat`
      : `revoked ${session}; its server could not be reached and is told as soon as it can be`,
  };
}

/** Asks the servers in turn until one has reached the member that counts the session. */
async function tell(
  servers: readonly string[],
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<boolean> {
  const silent: string[] = [];
  let noted = false;
  for (const url of servers) {
    const answer = await callServer(url, path, {
      method: "DELETE",
      headers,
      timeoutMs: ANSWER_MS_MAX,
    });
    if ("silent" in answer) {
      silent.push(`${url} (${answer.silent})`);
      continue;
    }
    const problem = problemIn(answer);
    if (problem === null && answer.status === 204) return true;
    if (problem === null) noted = true;
    else if (OVER_CODES.includes(problem.code)) return true;
    else if (answer.status < 500 && problem.code !== "not-leader") {
      throw new Failure(`${url}: ${problem.detail}`, EXIT.failure, problem.code);
    } else silent.push(`${url} (${problem.detail})`);
  }
  if (!noted) throw new Failure(`no server answered: ${silent.join(", ")}`, EXIT.unreachable);
  return false;
}

/** The list is ordered by session, so the ones that start so come right after the prefix itself. */
async function sessionStarting(prefix: string, servers: readonly string[]): Promise<string> {
  if (!/^[A-Za-z0-9_-]+$/.test(prefix) || prefix.length < PREFIX_CHARACTERS_MIN) {
    throw new Failure(
      `"${prefix}" names no session; write at least ${PREFIX_CHARACTERS_MIN} characters of it, as quorate status --sessions shows it`,
      EXIT.usage,
    );
  }
  const silent: string[] = [];
  for (const url of servers) {
    const answer = await callServer(url, `/v1/authorizations?limit=2&after=${prefix}`, {
      timeoutMs: ANSWER_MS_MAX,
    });
    if ("silent" in answer) {
      silent.push(`${url} (${answer.silent})`);
      continue;
    }
    const found = sessionsIn(answer.body).filter((session) => session.startsWith(prefix));
    const [session] = found;
    if (session !== undefined && found.length === 1) return session;
    throw new Failure(
      session === undefined
        ? `nobody holds a session that starts with ${prefix}`
        : `more than one session starts with ${prefix}; write more of it`,
      EXIT.usage,
    );
  }
  throw new Failure(`no server answered: ${silent.join(", ")}`, EXIT.unreachable);
}

function sessionsIn(body: unknown): readonly string[] {
  if (typeof body !== "object" || body === null || !("authorizations" in body)) return [];
  const rows: unknown = body.authorizations;
  if (!Array.isArray(rows)) return [];
  return rows.flatMap((row: unknown) =>
    typeof row === "object" && row !== null && "session" in row ? [String(row.session)] : [],
  );
}
