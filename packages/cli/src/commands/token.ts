/** `quorate token`: who may check out, read and administer, pool-wide. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { ROLES, type Role, TOKENS_PATH, tokenPath } from "@quorate/protocol";
import type { TokenAnswer, TokenRow, TokensAnswer } from "@quorate/protocol";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { printJson, printTable } from "../print.ts";
import { callServer, problemIn, type ServerCall } from "../server-calls.ts";
import { adminTokenFrom, serversFrom } from "../servers.ts";

const ANSWER_MS_MAX = 10_000;
const DAY_MS = 24 * 3_600_000;

interface TokenFlags {
  readonly servers?: string;
  readonly adminTokenFile?: string;
  readonly json?: boolean;
}

interface CreateFlags extends TokenFlags {
  readonly role: Role;
  readonly name: string;
  readonly expires?: string;
}

export function tokenCommand(program: Command): void {
  const token = program
    .command("token")
    .description("tokens of people and programs (administrator)");
  withAccess(token.command("create"))
    .description("make a token; it is printed once, servers keep only its hash")
    .addOption(
      new Option("--role <role>", "client: check out; viewer: read; administrator: everything")
        .choices(ROLES)
        .makeOptionMandatory(),
    )
    .requiredOption("--name <name>", "whose it is, as the audit log shows it")
    .option("--expires <when>", "30d, or an instant such as 2027-01-31T00:00:00Z", parseExpiry)
    .addHelpText(
      "after",
      "\nExample:\n  quorate token create --role client --name ci --expires 90d > ci.token",
    )
    .action(async (flags: CreateFlags) => {
      const { role, name, expires } = flags;
      const body = { role, name, ...(expires === undefined ? {} : { expiresAt: expires }) };
      const made = (await ask(flags, TOKENS_PATH, { method: "POST", body })) as TokenAnswer;
      if (flags.json === true) return printJson(made);
      console.log(made.token);
      const end = made.expiresAt === null ? "does not expire" : `expires at ${made.expiresAt}`;
      console.error(`quorate: token ${made.id} (${made.role}) ${end}; it is not shown again`);
    });
  withAccess(token.command("list"))
    .description("show who has a token")
    .action(async (flags: TokenFlags) => {
      const { tokens } = (await ask(flags, TOKENS_PATH, { method: "GET" })) as TokensAnswer;
      if (flags.json === true) return printJson({ tokens });
      printTable(
        ["ID", "NAME", "ROLE", "CREATED", "BY", "EXPIRES"],
        tokens.map((row) => [
          row.id,
          row.name,
          row.role,
          row.createdAt,
          row.createdBy,
          row.expiresAt ?? "never",
        ]),
      );
    });
  withAccess(token.command("revoke"))
    .description("end a token; servers refuse it within a moment")
    .argument("<id>", "the token's id or name")
    .action(async (id: string, flags: TokenFlags) => {
      const path = tokenPath(encodeURIComponent(id));
      const row = (await ask(flags, path, { method: "DELETE" })) as TokenRow;
      if (flags.json === true) printJson(row);
      else console.log(`${row.name} (${row.role}) is revoked`);
    });
}

function withAccess(command: Command): Command {
  return command
    .option("--servers <urls>", "servers of the pool, with commas (default: QUORATE_SERVERS)")
    .option(
      "--admin-token-file <file>",
      "file with an administrator's token (default: QUORATE_ADMIN_TOKEN_FILE)",
    )
    .option("--json", "print JSON");
}

/** Any server will do: the first that answers. Only one that gives no answer at all is passed over. */
async function ask(
  flags: TokenFlags,
  path: string,
  call: Pick<ServerCall, "body"> & { readonly method: "GET" | "POST" | "DELETE" },
): Promise<unknown> {
  const headers = { authorization: `Bearer ${adminTokenFrom(flags.adminTokenFile)}` };
  const reasons: string[] = [];
  for (const url of serversFrom(flags.servers)) {
    const answer = await callServer(url, path, { ...call, headers, timeoutMs: ANSWER_MS_MAX });
    if ("silent" in answer) {
      reasons.push(`${url} (${answer.silent})`);
      continue;
    }
    const problem = problemIn(answer);
    if (problem === null) return answer.body;
    throw new Failure(`${url}: ${problem.detail}`, EXIT.failure, problem.code);
  }
  throw new Failure(`no server answered: ${reasons.join(", ")}`, EXIT.unreachable);
}

function parseExpiry(text: string): string {
  const days = /^(\d{1,4})d$/.exec(text)?.[1];
  const atMs = days === undefined ? Date.parse(text) : Date.now() + Number(days) * DAY_MS;
  if (atMs > Date.now()) return new Date(atMs).toISOString();
  throw new InvalidArgumentError("Write it as 30d or 2027-01-31T00:00:00Z, in the future.");
}
