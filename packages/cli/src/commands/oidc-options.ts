/** The options of `quorate serve` that name the issuer people log in at (OpenID Connect). */
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { OidcOptions } from "@quorate/server";
import { ROLES } from "@quorate/protocol";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { isLoopback } from "./guard-options.ts";

const ROLES_MAX = 32;
const SCOPE_DEFAULT = "openid profile email";
const ROLE_CLAIM_DEFAULT = "groups";

export interface OidcFlags {
  readonly oidcIssuer?: string;
  readonly oidcClientId?: string;
  readonly oidcClientSecretFile?: string;
  readonly oidcScope: string;
  readonly oidcRoleClaim: string;
  readonly oidcRole: OidcOptions["roles"];
  readonly oidcAudience?: string;
  readonly oidcInsecure?: boolean;
}

export function oidcOptions(command: Command): Command {
  return command
    .option("--oidc-issuer <URL>", "OpenID Connect issuer that people may log in at")
    .option("--oidc-client-id <ID>", "as what the pool is registered there")
    .option("--oidc-client-secret-file <FILE>", "its secret; a public client has none")
    .addOption(
      new Option(
        "--oidc-role <ROLE=VALUE>",
        "client, viewer or administrator for who has VALUE in the claim (repeatable)",
      )
        .argParser(collectRole)
        .default([], "none"),
    )
    .option(
      "--oidc-role-claim <NAME>",
      "the claim; a path with dots goes deeper",
      ROLE_CLAIM_DEFAULT,
    )
    .option("--oidc-scope <WORDS>", "what is asked for", SCOPE_DEFAULT)
    .option("--oidc-audience <NAME>", "access tokens that are for NAME count, too")
    .option("--oidc-insecure", "allow an issuer on another machine without TLS");
}

export function oidcFrom(flags: OidcFlags): OidcOptions | null {
  const { oidcIssuer, oidcClientId, oidcClientSecretFile, oidcRole, oidcAudience } = flags;
  if (oidcIssuer === undefined) {
    const others = [oidcClientId, oidcClientSecretFile, oidcAudience, flags.oidcInsecure];
    if (others.every((other) => other === undefined) && oidcRole.length === 0) return null;
    throw new Failure("without --oidc-issuer there is no issuer to log in at", EXIT.usage);
  }
  const insecure = flags.oidcInsecure === true;
  const issuer = URL.canParse(oidcIssuer) ? new URL(oidcIssuer) : null;
  if (issuer === null || !/^https?:$/.test(issuer.protocol)) {
    throw new Failure("write --oidc-issuer as https://host/path", EXIT.usage);
  }
  if (
    issuer.protocol === "http:" &&
    !isLoopback(issuer.hostname.replace(/^\[|\]$/g, "")) &&
    !insecure
  ) {
    throw new Failure(
      `${oidcIssuer} is not encrypted: whoever is on the way decides who is an administrator; use https, or add --oidc-insecure`,
      EXIT.usage,
    );
  }
  if (oidcClientId === undefined) {
    throw new Failure("--oidc-issuer needs --oidc-client-id", EXIT.usage);
  }
  if (oidcRole.length === 0) {
    throw new Failure(
      "nobody would have a role: add --oidc-role administrator=GROUP or --oidc-role viewer=GROUP",
      EXIT.usage,
    );
  }
  return {
    issuer: oidcIssuer,
    clientId: oidcClientId,
    clientSecret: oidcClientSecretFile === undefined ? null : secretIn(oidcClientSecretFile),
    scope: flags.oidcScope,
    roleClaim: flags.oidcRoleClaim,
    roles: oidcRole,
    audience: oidcAudience ?? null,
  };
}

function secretIn(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch {
    throw new Failure(`cannot read the client's secret from ${file}`);
  }
  if (text === "") throw new Failure(`${file} is empty: it should hold the client's secret`);
  return text;
}

function collectRole(text: string, before: OidcOptions["roles"]): OidcOptions["roles"] {
  const equals = text.indexOf("=");
  const [word, value] = [text.slice(0, equals), text.slice(equals + 1)];
  const role = ROLES.find((each) => each === word);
  if (equals === -1 || role === undefined || value === "") {
    throw new InvalidArgumentError(
      "Write it as administrator=GROUP, viewer=GROUP or client=GROUP.",
    );
  }
  if (before.length >= ROLES_MAX) {
    throw new InvalidArgumentError(`At most ${ROLES_MAX} may be named.`);
  }
  return [...before, { role, value }];
}
