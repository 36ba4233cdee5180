/** `quorate pool`: the pool as a whole. */
import type { Command } from "commander";
import { giveOrder } from "../administer.ts";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { makeKeyPair } from "../key-pair.ts";
import { printJson } from "../print.ts";
import { adminTokenFrom, serversFrom } from "../servers.ts";

const REBUILD_WORDS = `A rebuild is for a pool whose store or journal went backwards: a backup was restored, a file was
replaced, a disk is new. It gives the store a new identity, sets the epochs of all servers anew and keeps every seat
back for the longest life of any license, because programs may still use it; after that wait all seats are free again.
Programs that can't be counted again meanwhile lose their seats. Don't rebuild to repair anything else.`;

interface OrderFlags {
  readonly servers?: string;
  readonly adminTokenFile?: string;
  readonly json?: boolean;
}

export function poolCommand(program: Command): void {
  const pool = program.command("pool").description("the pool as a whole (administrator)");
  pool
    .command("keygen")
    .description(
      "make pool.key (keep it secret) and pool.pub (the vendor puts it into the license)",
    )
    .requiredOption("--out <dir>", "folder for the two files")
    .addHelpText("after", "\nExample:\n  quorate pool keygen --out keys")
    .action((options: { out: string }) => {
      const { publicKey, publicFile } = makeKeyPair(options.out, "pool");
      console.log(`${publicFile}: ${publicKey}`);
    });
  withOrderOptions(pool.command("lead"))
    .description("move the leadership to a live server; nobody loses a seat by it")
    .argument("<id>", "the server, as quorate status names it")
    .addHelpText("after", "\nExample:\n  quorate pool lead b --admin-token-file admin.token")
    .action(async (id: string, flags: OrderFlags) => {
      const order = { path: "/v1/pool/lead", body: { member: id } } as const;
      const { pool: answer } = await giveOrder({ ...order, ...accessOf(flags) });
      if (flags.json === true) printJson(answer);
      else console.log(`${id} leads from term ${answer.term} on`);
    });
  withOrderOptions(pool.command("remove"))
    .description("retire a server for good and make room for another; stop it first")
    .argument("<id>", "the server, as quorate status names it")
    .addHelpText("after", "\nExample:\n  quorate pool remove c --admin-token-file admin.token")
    .action(async (id: string, flags: OrderFlags) => {
      const order = { path: "/v1/pool/remove", body: { member: id }, notBy: id } as const;
      const { pool: answer } = await giveOrder({ ...order, ...accessOf(flags) });
      if (flags.json === true) printJson(answer);
      else console.log(`${id} is removed; the pool has room for another server`);
    });
  withOrderOptions(pool.command("rebuild"))
    .description("start anew after the store or a journal went backwards")
    .option("--yes", "do it; without this it is only explained")
    .addHelpText(
      "after",
      `\n${REBUILD_WORDS}\n\nExample:\n  quorate pool rebuild --yes --admin-token-file admin.token`,
    )
    .action(async (flags: OrderFlags & { readonly yes?: boolean }) => {
      if (flags.yes !== true) {
        console.error(REBUILD_WORDS);
        throw new Failure("nothing was done; add --yes to do it", EXIT.usage);
      }
      const { url, pool: answer } = await giveOrder({
        path: "/v1/pool/rebuild",
        ...accessOf(flags),
      });
      if (flags.json === true) printJson(answer);
      else console.log(`${url} rebuilds the pool; follow it with: quorate status --watch`);
    });
}

function withOrderOptions(command: Command): Command {
  return command
    .option("--servers <urls>", "servers of the pool, with commas (default: QUORATE_SERVERS)")
    .option(
      "--admin-token-file <file>",
      "file with the administrators' token (default: QUORATE_ADMIN_TOKEN_FILE)",
    )
    .option("--json", "print the pool afterwards as JSON");
}

function accessOf(flags: OrderFlags): { servers: readonly string[]; token: string } {
  return { servers: serversFrom(flags.servers), token: adminTokenFrom(flags.adminTokenFile) };
}
