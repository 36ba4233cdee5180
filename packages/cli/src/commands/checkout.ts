/** `quorate checkout`: takes an authorization for a shell, to be given back with `quorate release`. */
import { SEATS_MAX } from "@quorate/core";
import type { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { parseWait, whole } from "../option-values.ts";
import { printFields, printJson } from "../print.ts";
import { serversFrom } from "../servers.ts";
import { storeSession } from "../session-file.ts";
import { takeSeats } from "../take-seats.ts";

interface CheckoutFlags {
  readonly feature?: string;
  readonly servers?: string;
  readonly seats: number;
  readonly version?: string;
  readonly user?: string;
  readonly host?: string;
  readonly wait: number;
  readonly json?: boolean;
}

export function checkoutCommand(program: Command): void {
  program
    .command("checkout")
    .description("take seats of a feature for one life; give them back with: quorate release")
    .argument("[feature]", "the feature")
    .option("--feature <name>", "the feature, if not given as a word")
    .option("--servers <urls>", "servers of the pool, with commas (default: QUORATE_SERVERS)")
    .option("--seats <n>", "how many seats", whole(1, SEATS_MAX), 1)
    .option("--version <version>", "the program's version, if the license has a ceiling")
    .option("--user <name>", "who uses the seat (default: this user)")
    .option("--host <name>", "where (default: this host)")
    .option("--wait <duration>", "wait so long for a seat: 500ms, 30s, 5m", parseWait, 0)
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nNothing renews such a seat: it ends after one life of the feature. To hold one while a program\n" +
        "runs: quorate run. The session's secret is kept in $QUORATE_STATE or ~/.local/state/quorate/sessions.\n" +
        "\nExample:\n  quorate checkout cad --seats 2 --wait 30s --servers http://127.0.0.1:7350",
    )
    .action(checkout);
}

async function checkout(word: string | undefined, flags: CheckoutFlags): Promise<void> {
  const feature = featureOf(word, flags.feature);
  const taken = await takeSeats({
    servers: serversFrom(flags.servers),
    feature,
    seats: flags.seats,
    version: flags.version,
    user: flags.user,
    host: flags.host,
    // This process is gone in a moment; the shell that asked is who uses the seat.
    process: process.ppid,
    waitMs: flags.wait,
  }).catch((error: unknown) => {
    // What a script reads from stdout must say why there is no session.
    if (flags.json === true && error instanceof Failure) {
      printJson({ refused: error.code, detail: error.message });
    }
    throw error;
  });
  const { identity, granted, authorization } = taken;
  const { session, secret } = identity;
  const granting = granted.pool.servers;
  const servers = [...new Set([...granting, ...taken.client.servers])];
  const file = storeSession({ session, secret, n: taken.n, servers });
  printFields(
    {
      session,
      feature,
      seats: granted.seats,
      member: granted.member,
      lifeMs: granted.lifeMs,
      token: authorization.token,
      file,
    },
    flags.json === true,
  );
  if (flags.json !== true) {
    console.error(
      `quorate: without a heartbeat the seat ends in ${granted.lifeMs / 1000} s; give it back earlier with: quorate release ${session}`,
    );
  }
  // The SDK would go on with heartbeats: the process ends here, and the seat is left as it is.
  process.exit(EXIT.ok);
}

/** The feature as a word or as an option; exactly one of them. */
function featureOf(word: string | undefined, option: string | undefined): string {
  const feature = word ?? option;
  if (feature === undefined || (word !== undefined && option !== undefined && word !== option)) {
    throw new Failure("name one feature: quorate checkout FEATURE", EXIT.usage);
  }
  return feature;
}
