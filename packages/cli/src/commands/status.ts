/** `quorate status`: the pool on one screen, and who holds what. */
import { setTimeout as delay } from "node:timers/promises";
import type { AuthorizationsPage } from "@quorate/protocol";
import type { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { LiveScreen, screenStyle } from "../live-screen.ts";
import { whole } from "../option-values.ts";
import { LOOK_MS_MAX, lookAtPool, type PoolPicture } from "../pool-picture.ts";
import { printJson } from "../print.ts";
import { callServer, problemIn } from "../server-calls.ts";
import { serversFrom } from "../servers.ts";
import { holderLines, statusLines } from "../status-screen.ts";

const ROWS_DEFAULT = 100;
const ROWS_MAX = 1_000;
const WATCH_MS = 1_000;
/** Lines of a log are read later; fewer of them say as much. */
const WATCH_LOG_MS = 2_000;

interface StatusOptions {
  readonly servers?: string;
  readonly json?: boolean;
  readonly watch?: boolean;
  readonly sessions?: boolean;
  readonly feature?: string;
  readonly user?: string;
  readonly host?: string;
  readonly limit: number;
  readonly after?: string;
}

export function statusCommand(program: Command): void {
  program
    .command("status")
    .description("show the pool on one screen: servers, leader, features; who holds what")
    .option("--servers <urls>", "servers of the pool, with commas (default: QUORATE_SERVERS)")
    .option("-a, --sessions", "also who holds what: user, host, process, feature, server")
    .option("--feature <name>", "with --sessions: only this feature")
    .option("--user <name>", "with --sessions: only this user")
    .option("--host <name>", "with --sessions: only this host")
    .option("--limit <n>", "with --sessions: rows of a page", whole(1, ROWS_MAX), ROWS_DEFAULT)
    .option("--after <mark>", "with --sessions: the next page")
    .option("--watch", "draw again each second, until Ctrl-C")
    .option("--json", "print JSON (with --watch: one line each time)")
    .addHelpText(
      "after",
      "\nExample:\n  quorate status --servers http://127.0.0.1:7350,http://127.0.0.1:7351\n" +
        "  quorate status -a --feature cad",
    )
    .action(status);
}

async function status(options: StatusOptions): Promise<void> {
  const servers = serversFrom(options.servers);
  if (options.watch === true) {
    await watch(servers, options);
    return;
  }
  const { picture, page } = await look(servers, options);
  if (options.json === true) printJson(jsonOf(picture, page));
  else for (const line of screenOf(picture, page)) console.log(line);
  if (!picture.answered) throw new Failure("no license server answered", EXIT.unreachable);
}

async function watch(servers: readonly string[], options: StatusOptions): Promise<void> {
  const live = process.stdout.isTTY && options.json !== true ? new LiveScreen() : null;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => process.exit(EXIT.ok));
  }
  for (;;) {
    const { picture, page } = await look(servers, options);
    if (options.json === true) console.log(JSON.stringify(jsonOf(picture, page)));
    else if (live === null) console.log(`${screenOf(picture, page).join("\n")}\n`);
    else live.draw(screenOf(picture, page));
    await delay(live === null ? WATCH_LOG_MS : WATCH_MS);
  }
}

interface Look {
  readonly picture: PoolPicture;
  readonly page: AuthorizationsPage | null;
}

async function look(servers: readonly string[], options: StatusOptions): Promise<Look> {
  const [picture, page] = await Promise.all([
    lookAtPool(servers),
    options.sessions === true ? holders(servers, options) : null,
  ]);
  return { picture, page };
}

/** Every server passes the question on to the leader, so the fullest answer is the pool's. */
async function holders(
  servers: readonly string[],
  options: StatusOptions,
): Promise<AuthorizationsPage | null> {
  const query = new URLSearchParams({ limit: String(options.limit) });
  for (const name of ["feature", "user", "host", "after"] as const) {
    const value = options[name];
    if (value !== undefined) query.set(name, value);
  }
  const answers = await Promise.all(
    servers.map((url) =>
      callServer(url, `/v1/authorizations?${query.toString()}`, { timeoutMs: LOOK_MS_MAX }),
    ),
  );
  const pages: AuthorizationsPage[] = [];
  for (const answer of answers) {
    if ("silent" in answer) continue;
    const problem = problemIn(answer);
    if (problem !== null) throw new Failure(problem.detail, EXIT.usage, problem.code);
    if (isPage(answer.body)) pages.push(answer.body);
  }
  const [fullest] = pages.toSorted(
    (a, b) =>
      a.missing.length - b.missing.length || b.authorizations.length - a.authorizations.length,
  );
  return fullest ?? null;
}

function screenOf(picture: PoolPicture, page: AuthorizationsPage | null): readonly string[] {
  const lines = statusLines(picture, screenStyle());
  if (page === null) return lines;
  return [...lines, "", ...holderLines(page.authorizations, page.missing, page.next)];
}

function jsonOf(picture: PoolPicture, page: AuthorizationsPage | null): object {
  if (page === null) return picture;
  const { authorizations, missing, next } = page;
  return { ...picture, sessions: { authorizations, missing, next } };
}

function isPage(body: unknown): body is AuthorizationsPage {
  return (
    typeof body === "object" &&
    body !== null &&
    "authorizations" in body &&
    Array.isArray(body.authorizations) &&
    "missing" in body &&
    Array.isArray(body.missing)
  );
}
