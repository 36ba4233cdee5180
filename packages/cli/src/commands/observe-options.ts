/** The options of `quorate serve` that say who is told what happens, and what is kept of it. */
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type HistoryUsers, webhookKeyOf, type WebhookTarget } from "@quorate/server";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { whole } from "../option-values.ts";

const WEBHOOKS_MAX = 8;
const HISTORY_DAYS_DEFAULT = 400;
const HISTORY_DAYS_MAX = 3_650;

export interface ObserveFlags {
  readonly webhook: readonly string[];
  readonly webhookSecretFile?: string;
  readonly historyDays: number;
  readonly historyUsers: HistoryUsers;
  readonly otel?: boolean;
}

export interface Observe {
  readonly webhooks: WebhookTarget | null;
  readonly historyDays: number;
  readonly historyUsers: HistoryUsers;
}

export function observeOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--webhook <URL>",
        "is told of denials, the seat limit, lost servers, the end of a license (repeatable)",
      )
        .argParser(collectUrl)
        .default([], "none"),
    )
    .option("--webhook-secret-file <FILE>", "the secret that signs what webhooks are told")
    .option(
      "--history-days <N>",
      "how long the usage history is kept",
      whole(1, HISTORY_DAYS_MAX),
      HISTORY_DAYS_DEFAULT,
    )
    .addOption(
      new Option("--history-users <HOW>", "what the usage history keeps of users' names")
        .choices(["keep", "hash", "drop"])
        .default("keep"),
    )
    .option(
      "--otel",
      "trace with OpenTelemetry, which has to be installed; see its OTEL_ variables",
    );
}

export function observeFrom(flags: ObserveFlags): Observe {
  const { historyDays, historyUsers } = flags;
  return { webhooks: webhooksFrom(flags), historyDays, historyUsers };
}

function webhooksFrom({ webhook, webhookSecretFile }: ObserveFlags): WebhookTarget | null {
  if (webhook.length === 0) {
    if (webhookSecretFile === undefined) return null;
    throw new Failure("--webhook-secret-file goes with --webhook", EXIT.usage);
  }
  if (webhookSecretFile === undefined) {
    throw new Failure("--webhook goes with --webhook-secret-file", EXIT.usage);
  }
  let text: string;
  try {
    text = readFileSync(webhookSecretFile, "utf8");
  } catch {
    throw new Failure(`cannot read the webhooks' secret from ${webhookSecretFile}`);
  }
  const key = webhookKeyOf(text);
  if (key !== null) return { urls: webhook, key };
  throw new Failure(
    `the secret in ${webhookSecretFile} is too short; make one with: (printf whsec_; openssl rand -base64 32) > ${webhookSecretFile}`,
  );
}

function collectUrl(text: string, before: readonly string[]): readonly string[] {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new InvalidArgumentError("Write it as https://host/path.");
  }
  const { username, password } = new URL(text);
  if (username !== "" || password !== "") {
    throw new InvalidArgumentError("A name or password in it is not sent; use the signature.");
  }
  if (before.length >= WEBHOOKS_MAX) {
    throw new InvalidArgumentError(`At most ${WEBHOOKS_MAX} may be named.`);
  }
  return [...before, text];
}
