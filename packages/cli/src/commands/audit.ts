/** `quorate audit`: who changed what at one server, from its data folder. The server may run meanwhile. */
import type { Command } from "commander";
import type { AuditEntry } from "@quorate/protocol";
import { checkAudit } from "@quorate/server/audit";
import { Failure } from "../failure.ts";
import { printJson, printTable } from "../print.ts";

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
}
