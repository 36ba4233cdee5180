/**
 * The issuer that people log in with (OpenID Connect), as far as logins and calls share it: where it is, which of its
 * keys count, and which role its claims give somebody.
 *
 * It is asked when somebody needs it and never before: a pool starts and grants without its issuer.
 */
import { NAME_CHARACTERS_MAX, refuse } from "@quorate/core";
import { PRINTABLE_PATTERN, type Role } from "@quorate/protocol";
import type { ClientAuth, Configuration } from "openid-client";
import type { Log } from "../member/ports.ts";

export interface OidcOptions {
  /** As the issuer calls itself. Whether http will do is the caller's business. */
  readonly issuer: string;
  readonly clientId: string;
  /** Null: a public client, which proves itself by PKCE alone. */
  readonly clientSecret: string | null;
  readonly scope: string;
  /** Which claim says what somebody is; a path with dots, such as `realm_access.roles`, if there is none of the name. */
  readonly roleClaim: string;
  /** What the claim must hold for a role. */
  readonly roles: readonly { readonly role: Role; readonly value: string }[];
  /** Whom access tokens are for, beside the client itself; null: nobody else. */
  readonly audience: string | null;
}

export interface OidcIssuer {
  readonly options: OidcOptions;
  /**
   * Rejects when the issuer can't be reached or says something else than it should, and no good answer is kept from
   * before.
   */
  configuration(): Promise<Configuration>;
  /** What was kept does not hold: its keys can't be had there, say. The issuer is asked before it is used again. */
  doubt(): void;
}

export interface Person {
  readonly name: string;
  readonly subject: string;
}

/** Nobody's doing who asks here, so it is not the status of asking too often. */
export const ISSUER_SILENT = refuse(
  "busy",
  "The issuer of logins does not answer as it should; the log of this server says more. Try again, or use a token of the pool.",
  { retryAfterMs: 2_000 },
);
export const ISSUER_SECONDS_MAX = 5;
/** What the issuer says of itself is read anew after this. */
export const CONFIGURATION_MS_MAX = 3_600_000;
/** While the last good answer is kept, it is tried again after this. */
export const REREAD_MS = 60_000;
/** An issuer that did not answer, or whose answer was doubted, is not asked again at once. */
const RETRY_MS = 2_000;
const SUBJECT_CHARACTERS_MAX = 255;
const PRINTABLE = new RegExp(PRINTABLE_PATTERN, "u");

export function createIssuer(
  options: OidcOptions,
  log: Log,
  nowMs: () => number = Date.now,
): OidcIssuer {
  let good: Configuration | null = null;
  /** The last answer, or the one that is on its way. */
  let asked: Promise<Configuration> | null = null;
  let askedAtMs = 0;
  let againAtMs = 0;

  const ask = (): Promise<Configuration> => {
    const answer = discover(options);
    asked = answer;
    askedAtMs = nowMs();
    // Whoever asks meanwhile waits for the same answer, or goes by the last good one.
    againAtMs = askedAtMs + CONFIGURATION_MS_MAX;
    answer.then(
      (configuration) => {
        good = configuration;
      },
      (error: unknown) => {
        againAtMs = nowMs() + (good === null ? RETRY_MS : REREAD_MS);
        if (good !== null)
          log.warn("the issuer of logins is silent: what it said last stays", { error });
      },
    );
    return answer;
  };

  return {
    options,
    configuration: async () => {
      const isDue = asked === null || nowMs() >= againAtMs;
      // Nobody waits for an answer that most likely is the same.
      if (good !== null) {
        if (isDue) ask().catch(() => {});
        return good;
      }
      return isDue || asked === null ? ask() : asked;
    },
    doubt: () => {
      if (good === null || nowMs() - askedAtMs < RETRY_MS) return;
      good = null;
      asked = null;
    },
  };
}

/** Loaded here: most pools have no issuer. */
async function discover(options: OidcOptions): Promise<Configuration> {
  const oidc = await import("openid-client");
  const { clientId, clientSecret } = options;
  const issuer = new URL(options.issuer);
  const proof = clientSecret === null ? oidc.None() : proofBySecret(oidc, clientSecret);
  const configuration = await oidc.discovery(issuer, clientId, {}, proof, {
    timeout: ISSUER_SECONDS_MAX,
    execute: [
      ...(issuer.protocol === "http:" ? [oidc.allowInsecureRequests] : []),
      // The signature of each ID token is checked, also of one that came straight from the issuer.
      oidc.enableNonRepudiationChecks,
    ],
  });
  return configuration;
}

/** In the header, as the standard has it, unless the issuer takes it in the body alone. */
function proofBySecret(oidc: typeof import("openid-client"), secret: string): ClientAuth {
  const [inHeader, inBody] = [oidc.ClientSecretBasic(secret), oidc.ClientSecretPost(secret)];
  return (issuer, ...others) => {
    const ways = issuer.token_endpoint_auth_methods_supported ?? ["client_secret_basic"];
    const isHeader = ways.includes("client_secret_basic") || !ways.includes("client_secret_post");
    return (isHeader ? inHeader : inBody)(issuer, ...others);
  };
}

/** Null: nobody here. The role that may most counts. */
export function roleOf(
  claims: Readonly<Record<string, unknown>>,
  { roleClaim, roles }: OidcOptions,
): Role | null {
  const found = claimIn(claims, roleClaim);
  const values: readonly unknown[] = Array.isArray(found) ? found : [found];
  const given = new Set(
    roles.filter(({ value }) => values.includes(value)).map(({ role }) => role),
  );
  return RANKING.find((role) => given.has(role)) ?? null;
}

/** Null: the claims name nobody. */
export function personOf(claims: Readonly<Record<string, unknown>>): Person | null {
  const { sub, preferred_username: username, email } = claims;
  if (typeof sub !== "string" || !isName(sub, SUBJECT_CHARACTERS_MAX)) return null;
  const isShown = (each: unknown): each is string => isName(each, NAME_CHARACTERS_MAX);
  return { name: [username, email].find(isShown) ?? sub, subject: sub };
}

/** What a person's logins and calls are counted by: another may have the name here. */
export function sourceOfPerson(subject = ""): string {
  return `oidc ${subject}`;
}

export function hasClaim(claims: Readonly<Record<string, unknown>>, name: string): boolean {
  return claimIn(claims, name) !== undefined;
}

const RANKING: readonly Role[] = ["administrator", "viewer", "client"];

function claimIn(claims: Readonly<Record<string, unknown>>, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const part of name.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) {
      return undefined;
    }
    value = Reflect.get(value, part);
  }
  return value;
}

/** Names are shown in logs and tables. */
function isName(value: unknown, charactersMax: number): value is string {
  return (
    typeof value === "string" &&
    value.length > 0 &&
    value.length <= charactersMax &&
    PRINTABLE.test(value)
  );
}
