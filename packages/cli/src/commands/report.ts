/** `quorate report`: who used how much in a time, from the journals of all servers. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { UsageAnswer, UsageQuery, UsageRow } from "@quorate/protocol";
import { csvLines } from "../csv.ts";
import { EXIT } from "../exit-codes.ts";
import { Failure, tellWarnings } from "../failure.ts";
import { whole } from "../option-values.ts";
import { printJson, printTable } from "../print.ts";
import { callServer, problemIn } from "../server-calls.ts";
import { adminTokenFrom, serversFrom } from "../servers.ts";

/** A report of years takes a while. */
const ANSWER_MS_MAX = 180_000;
const ROWS_DEFAULT = 100;
const ROWS_MAX = 1_000;
const DAY_MS = 24 * 3_600_000;

interface ReportFlags {
  readonly from?: string;
  readonly to?: string;
  readonly by: NonNullable<UsageQuery["by"]>;
  readonly feature?: string;
  readonly limit: number;
  readonly servers?: string;
  readonly adminTokenFile?: string;
  readonly csv?: boolean;
  readonly json?: boolean;
}

export function reportCommand(program: Command): void {
  program
    .command("report")
    .description("who used how much in a time: peak and average seats, hours, denials")
    .option("--from <WHEN>", "2026-11-01, an instant, or 90d ago; default 30d", parseTime)
    .option("--to <WHEN>", "the end, not included; default now", parseTime)
    .addOption(
      new Option("--by <WHAT>", "one line for each of these")
        .choices(["user", "feature", "host"])
        .default("feature"),
    )
    .option("--feature <NAME>", "only this feature")
    .option("--limit <N>", "lines, the most used first", whole(1, ROWS_MAX), ROWS_DEFAULT)
    .option("--servers <URLS>", "servers of the pool, with commas (default: QUORATE_SERVERS)")
    .option("--admin-token-file <FILE>", "administrator's token (or QUORATE_ADMIN_TOKEN_FILE)")
    .addOption(new Option("--csv", "print CSV").conflicts("json"))
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExample:\n  quorate report --from 2026-11-01 --to 2026-12-01 --by user --csv > november.csv",
    )
    .action(report);
}

async function report(flags: ReportFlags): Promise<void> {
  const answer = await ask(flags);
  if (answer.missing.length > 0) {
    tellWarnings([`the history of ${answer.missing.join(", ")} is missing: no answer`]);
  }
  if (flags.json === true) return printJson(answer);
  const rows = answer.rows.map((row) => [row.key, ...numbersOf(row)]);
  const heads = ["uses", "peakSeats", "averageSeats", "seatHours", "denied"];
  if (flags.csv === true) {
    for (const line of csvLines([[answer.by, ...heads], ...rows])) process.stdout.write(line);
    return undefined;
  }
  console.log(`${answer.from} to ${answer.to}, ${answer.keys} by ${answer.by}`);
  const named = rows.map(([key, ...numbers]) => [key === "" ? "(not kept)" : key, ...numbers]);
  printTable(
    [answer.by.toUpperCase(), "USES", "PEAK", "AVERAGE", "SEAT HOURS", "DENIED"],
    [...named, ["(all)", ...numbersOf(answer.total)]],
  );
  return undefined;
}

function numbersOf(row: Omit<UsageRow, "key">): number[] {
  return [row.uses, row.peakSeats, row.averageSeats, row.seatHours, row.denied];
}

/** Any server can answer for the pool: the first that does. */
async function ask(flags: ReportFlags): Promise<UsageAnswer> {
  const servers = serversFrom(flags.servers);
  const token = adminTokenFrom(flags.adminTokenFile);
  const query = new URLSearchParams({ by: flags.by, limit: String(flags.limit) });
  for (const name of ["from", "to", "feature"] as const) {
    const value = flags[name];
    if (value !== undefined) query.set(name, value);
  }
  const reasons: string[] = [];
  for (const url of servers) {
    const answer = await callServer(url, `/v1/usage?${query.toString()}`, {
      headers: { authorization: `Bearer ${token}` },
      timeoutMs: ANSWER_MS_MAX,
    });
    if ("silent" in answer) {
      reasons.push(`${url} (${answer.silent})`);
      continue;
    }
    const problem = problemIn(answer);
    if (problem === null) return answer.body as UsageAnswer;
    if (problem.code !== "no-mandate" && problem.code !== "no-majority") {
      throw new Failure(`${url}: ${problem.detail}`, EXIT.failure, problem.code);
    }
    reasons.push(`${url} (${problem.detail})`);
  }
  throw new Failure(`no server could make the report: ${reasons.join(", ")}`, EXIT.unreachable);
}

/** A day is the one of this machine's time zone; an instant is taken as it is. */
function parseTime(text: string): string {
  const ago = /^(\d{1,4})d$/.exec(text);
  if (ago !== null) return new Date(Date.now() - Number(ago[1]) * DAY_MS).toISOString();
  const local = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00` : text;
  const ms = /^\d{4}-\d{2}-\d{2}T/.test(local) ? Date.parse(local) : Number.NaN;
  if (Number.isFinite(ms)) return new Date(ms).toISOString();
  throw new InvalidArgumentError("Write it as 2026-11-01, 2026-11-01T08:00:00Z or 90d.");
}
