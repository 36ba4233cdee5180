/**
 * `quorate audit`: who changed what. `verify` and `show` read one server's data folder, where the server may run
 * meanwhile; `list` asks all servers for the ends of theirs.
 */
import type { Command } from "commander";
import { AUDIT_PATH, type AuditAnswer, type AuditEntry } from "@quorate/protocol";
import { checkAudit } from "@quorate/server/audit";
import { EXIT } from "../exit-codes.ts";
import { Failure, tellWarnings } from "../failure.ts";
import { whole } from "../option-values.ts";
import { printJson, printTable } from "../print.ts";
import { callServer, problemIn } from "../server-calls.ts";
import { adminTokenFrom, serversFrom } from "../servers.ts";

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 1_000;
const ANSWER_MS_MAX = 10_000;

interface ListFlags {
  readonly servers?: string;
  readonly adminTokenFile?: string;
  readonly limit: number;
  readonly json?: boolean;
}

interface AuditFlags {
  readonly data: string;
  readonly expect?: string;
  readonly json?: boolean;
}

export function auditCommand(program: Command): void {
  const audit = program.command("audit").description("who changed what at this server");
  audit
    .command("verify")
    .description("check that no line of the audit log was changed, taken out or cut off")
    .requiredOption("--data <dir>", "the server's folder")
    .option("--expect <hash>", "a last hash that was noted before: it must be among the lines")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  quorate audit verify --data /var/lib/quorate/a")
    .action(async ({ data, expect, json }: AuditFlags) => {
      const check = await checkAudit(data, expect ?? null);
      if (json === true) printJson(check);
      if (check.problem !== null) throw new Failure(`the audit log is not whole: ${check.problem}`);
      if (json !== true) console.log(`${check.entries} entries, whole; last hash ${check.head}`);
    });
  audit
    .command("show")
    .description("print the audit log, and complain if it is not whole")
    .requiredOption("--data <dir>", "the server's folder")
    .option("--json", "print JSON")
    .action(async ({ data, json }: AuditFlags) => {
      const entries: AuditEntry[] = [];
      const { problem } = await checkAudit(data, null, (entry) => entries.push(entry));
      if (json === true) printJson({ entries, problem });
      else {
        printTable(
          ["AT", "WHO", "FROM", "WHAT", "OUTCOME", "DETAILS"],
          entries.map((each) => [
            each.at,
            each.who,
            each.from,
            each.what,
            each.outcome,
            JSON.stringify(each.details),
          ]),
        );
      }
      if (problem !== null) throw new Failure(`the audit log is not whole: ${problem}`);
    });
  audit
    .command("list")
    .description("print what was changed last, from all servers that answer (administrator)")
    .option("--servers <urls>", "servers of the pool, with commas (default: QUORATE_SERVERS)")
    .option(
      "--admin-token-file <file>",
      "file with an administrator's token (default: QUORATE_ADMIN_TOKEN_FILE)",
    )
    .option("--limit <n>", "how many lines of each server", whole(1, LIMIT_MAX), LIMIT_DEFAULT)
    .option("--json", "print JSON")
    .action(list);
}

/** Each server has its own log, and its own clock: the order over several is what their clocks say. */
async function list(flags: ListFlags): Promise<void> {
  const headers = { authorization: `Bearer ${adminTokenFrom(flags.adminTokenFile)}` };
  const path = `${AUDIT_PATH}?limit=${flags.limit}`;
  const rows: { member: string; entry: AuditEntry }[] = [];
  const reasons: string[] = [];
  let answers = 0;
  const ask = async (url: string): Promise<void> => {
    const answer = await callServer(url, path, { headers, timeoutMs: ANSWER_MS_MAX });
    if ("silent" in answer) {
      reasons.push(`${url} (${answer.silent})`);
      return;
    }
    const problem = problemIn(answer);
    if (problem !== null)
      throw new Failure(`${url}: ${problem.detail}`, EXIT.failure, problem.code);
    const { member, entries } = answer.body as AuditAnswer;
    answers += 1;
    rows.push(...entries.map((entry) => ({ member, entry })));
  };
  await Promise.all(serversFrom(flags.servers).map(ask));
  if (answers === 0)
    throw new Failure(`no server answered: ${reasons.join(", ")}`, EXIT.unreachable);
  if (reasons.length > 0) tellWarnings([`without those of ${reasons.join(", ")}`]);
  rows.sort((one, other) => Date.parse(one.entry.at) - Date.parse(other.entry.at));
  if (flags.json === true) {
    printJson({
      entries: rows.map(({ member, entry }) => ({ member, ...entry })),
      silent: reasons,
    });
    return;
  }
  printTable(
    ["AT", "SERVER", "WHO", "FROM", "WHAT", "OUTCOME", "DETAILS"],
    rows.map(({ member, entry }) => [
      entry.at,
      member,
      entry.who,
      entry.from,
      entry.what,
      entry.outcome,
      JSON.stringify(entry.details),
    ]),
  );
}
