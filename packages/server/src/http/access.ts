/**
 * Who may do what (design section 5). Three roles: a client checks out, a viewer reads, an administrator
 * does everything. A token of the pool names its id, so that a call costs one look-up and one hash; hashes are
 * compared in constant time. The administrator's token of the server's own file is there from the start. A browser
 * that logged in with a token (`logins.ts`) may do what the token may.
 *
 * Members are not here: they sign what they say (`peer-envelope.ts`).
 */
import { hash, timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { type Refusal, refuse } from "@quorate/core";
import type { Role } from "@quorate/protocol";
import type { StoredToken, TokenBook } from "../member/token-keeper.ts";
import type { Guesses } from "./address-limits.ts";
import type { ClientLimits, ClientShare } from "./client-limits.ts";
import { ISSUER_SILENT, sourceOfPerson } from "./oidc-issuer.ts";
import type { OidcBearer } from "./oidc-bearer.ts";
import { bearsCsrf, type LoginHolder, type Logins } from "./logins.ts";
import { rawHeader, type RequestHead } from "./raw-header.ts";

export interface Caller {
  readonly name: string;
  readonly role: Role;
  /** Who it is to the issuer, where somebody may choose a name that another has here. */
  readonly subject?: string;
}

/** A caller with what it may take of this server. */
interface Known extends Caller {
  readonly share: ClientShare;
}

/** `open`: whoever reaches the server. */
export type Door = "open" | "token";
/** `token`: who has a token or a certificate; `certificate`: who has one, and no token will do. */
export type ClientsDoor = Door | "certificate";

export interface AccessOptions {
  /** The bootstrap administrator's; null: there is none. */
  readonly adminToken: string | null;
  /** Null: only the administrator's token is known. */
  readonly tokens: TokenBook | null;
  readonly clients: ClientsDoor;
  readonly readers: Door;
  /** What each client may take. Nothing is taken here: what a request is shows when it is known who asks. */
  readonly limits: Pick<ClientLimits, "of" | "ofCertificate">;
  /** Slows down who tries one token after the other. */
  readonly guesses?: Guesses;
  /** Browsers that are logged in. Missing: there are none. */
  readonly logins?: Logins;
  /** Tokens of an issuer. Missing: none count. */
  readonly bearer?: OidcBearer | null;
  /** Whether a page of another site makes the browser send this: then its cookie counts for nothing. */
  readonly isForeign?: (request: RequestHead) => boolean;
  readonly nowMs?: () => number;
}

export interface Access {
  /** Null: clients are open, and the hot path has nothing to ask. */
  readonly client: ((request: RequestHead) => ClientShare | Refusal) | null;
  /** `path` as the table of routes has it. Null: readers are open. */
  reader(request: RequestHead, path: string): ClientShare | Refusal | null;
  /** Asked of what stays open: whether the token that opened it still counts. Logins have their own `onEnd`. */
  readsOn(request: RequestHead): () => boolean;
  administrator(request: RequestHead): Known | Refusal;
  /** Whether there is anything that says who asks: a token, or the cookie of a login. */
  readonly bringsProof: (request: RequestHead) => boolean;
  /** Who may log in with this token. Each wrong one counts as a guess. */
  holderOf(request: RequestHead, token: string): LoginHolder | Refusal;
}

/** `qrt_<id>_<secret>`, so that a token that lies around is recognised for what it is. */
const TOKEN = /^qrt_([0-9a-f]{12})_[A-Za-z0-9_-]{43}$/;
const BEARER = /^Bearer +(\S+) *$/i;
/** What a client needs to choose a server and to verify what it gets; nobody's name is in it. */
const CLIENT_READS: ReadonlySet<string> = new Set(["/v1/pool", "/v1/features", "/v1/license"]);

export function createAccess(options: AccessOptions): Access {
  const { adminToken, tokens, limits, guesses, logins, nowMs = Date.now } = options;
  const isForeign = options.isForeign ?? (() => true);
  if (adminToken === "")
    throw new RangeError("an empty administrator's token would let anybody in");
  const expected = adminToken === null ? null : digestOf(adminToken);

  const isBootstrap = (token: string): boolean =>
    expected !== null && timingSafeEqual(digestOf(token), expected);
  const storedFor = (id: string, token: string): StoredToken | null => {
    const known = tokens?.find(id) ?? null;
    if (known === null) return null;
    return timingSafeEqual(digestOf(token), Buffer.from(known.hash, "hex")) ? known : null;
  };
  const isOver = ({ expiresAt }: StoredToken): boolean =>
    expiresAt !== null && Date.parse(expiresAt) <= nowMs();

  const known = (caller: Caller, source: string): Known => ({
    ...plainCaller(caller),
    share: limits.of(source),
  });
  const callerOf = (request: RequestHead): Known | Refusal => {
    const authorization = rawHeader(request, "authorization");
    if (authorization === undefined) return browserOf(request) ?? TOKEN_MISSING;
    const token = BEARER.exec(authorization)?.[1];
    if (token === undefined) return TOKEN_MISSING;
    const id = TOKEN.exec(token)?.[1];
    if (id === undefined) {
      const found = options.bearer?.callerOf(token) ?? null;
      if (found !== null) {
        return "refused" in found ? found : known(found, sourceOfPerson(found.subject));
      }
      if (expected === null) return NO_TOKEN_CONFIGURED;
      // Only here is a guess worth trying: this token is of a person's making, the others are 32 random bytes.
      const slowed = guesses?.refusal(request) ?? null;
      if (slowed !== null) return slowed;
      if (isBootstrap(token)) return known(BOOTSTRAP, BOOTSTRAP.name);
      guesses?.wrong(request);
      return TOKEN_WRONG;
    }
    const stored = storedFor(id, token);
    if (stored === null) return TOKEN_WRONG;
    if (isOver(stored)) return TOKEN_EXPIRED;
    return known(stored, sourceOfToken(id));
  };

  /** Null: no cookie, or none of a login that is still good. */
  const browserOf = (request: RequestHead): Known | Refusal | null => {
    const login = logins?.of(request) ?? null;
    if (login === null) return null;
    if (isForeign(request)) return FOREIGN;
    const { method } = request;
    if (method !== "GET" && method !== "HEAD" && !bearsCsrf(request, login)) return CSRF;
    return known(login, login.source);
  };

  const allowed = (
    request: RequestHead,
    roles: readonly Role[],
    refusal: Refusal,
  ): ClientShare | Refusal => {
    const caller = callerOf(request);
    if ("refused" in caller) return caller;
    return roles.includes(caller.role) ? caller.share : refusal;
  };

  return {
    client:
      options.clients === "open"
        ? null
        : (request) => {
            const { socket } = request;
            if (isCertified(socket)) return limits.ofCertificate(socket);
            if (options.clients === "certificate") return CERTIFICATE_MISSING;
            return allowed(request, CLIENT_ROLES, NOT_A_CLIENT);
          },
    reader: (request, path) => {
      if (options.readers === "open") {
        // Reading is use as well: a login must not end while somebody looks.
        logins?.of(request);
        return null;
      }
      const roles = CLIENT_READS.has(path) ? ALL_ROLES : VIEWER_ROLES;
      const { socket } = request;
      if (CLIENT_READS.has(path) && isCertified(socket)) return limits.ofCertificate(socket);
      return allowed(request, roles, NOT_A_VIEWER);
    },
    readsOn: (request) => {
      const authorization = rawHeader(request, "authorization") ?? "";
      const token = BEARER.exec(authorization)?.[1];
      if (options.readers === "open" || token === undefined) return () => true;
      const id = TOKEN.exec(token)?.[1];
      if (id === undefined) {
        const endsAtMs = options.bearer?.endOf(token) ?? Infinity;
        return () => nowMs() < endsAtMs;
      }
      return () => {
        const known = storedFor(id, token);
        return known !== null && !isOver(known);
      };
    },
    administrator: (request) => {
      if (expected === null && tokens === null && options.bearer == null) {
        return NO_TOKEN_CONFIGURED;
      }
      const caller = callerOf(request);
      if ("refused" in caller) return caller;
      return caller.role === "administrator" ? caller : NOT_AN_ADMINISTRATOR;
    },
    bringsProof: (request) =>
      rawHeader(request, "authorization") !== undefined || logins?.isClaimed(request) === true,
    holderOf: (request, token) => {
      const id = TOKEN.exec(token)?.[1];
      const known = id === undefined ? null : storedFor(id, token);
      if (known !== null) {
        if (isOver(known)) return TOKEN_EXPIRED;
        return {
          name: known.name,
          role: known.role,
          source: sourceOfToken(known.id),
          endsAtMs: known.expiresAt === null ? null : Date.parse(known.expiresAt),
          isGood: () => tokens?.find(known.id)?.hash === known.hash,
        };
      }
      const slowed = guesses?.refusal(request) ?? null;
      if (slowed !== null) return slowed;
      if (id === undefined && isBootstrap(token)) {
        return { ...BOOTSTRAP, source: BOOTSTRAP.name, endsAtMs: null, isGood: () => true };
      }
      guesses?.wrong(request);
      return LOGIN_WRONG;
    },
  };
}

/** Without what else is known of a login. */
function plainCaller({ name, role, subject }: Caller): Caller {
  return subject === undefined ? { name, role } : { name, role, subject };
}

/** Who has to wait for its own guesses is told so, and not that the server is at its end. */
export function doorStatus(refusal: Refusal): number | undefined {
  return refusal.refused === "busy" && refusal !== ISSUER_SILENT ? 429 : undefined;
}

/** A certificate that TLS has verified is as good as a client's token. */
function isCertified(socket: Socket): socket is TLSSocket {
  return "authorized" in socket && socket.authorized === true;
}

function sourceOfToken(id: string): string {
  return `token ${id}`;
}

const CLIENT_ROLES: readonly Role[] = ["client", "administrator"];
const VIEWER_ROLES: readonly Role[] = ["viewer", "administrator"];
const ALL_ROLES: readonly Role[] = ["client", "viewer", "administrator"];

const BOOTSTRAP: Caller = { name: "admin-token-file", role: "administrator" };

const NO_TOKEN_CONFIGURED = refuse(
  "forbidden",
  "This server was started without an administrator's token. Start it with --admin-token-file or QUORATE_ADMIN_TOKEN_FILE.",
);
const CERTIFICATE_MISSING = refuse(
  "unauthorized",
  "Clients show a certificate here, and this one showed none that counts. Set QUORATE_CLIENT_CERT and QUORATE_CLIENT_KEY, or --cert and --key.",
);
const TOKEN_MISSING = refuse(
  "unauthorized",
  "Send a token in the header Authorization: Bearer <token>. An administrator makes one: quorate token create.",
);
const TOKEN_WRONG = refuse(
  "forbidden",
  "This is no token of this pool, nor the administrator's token of this server.",
);
const LOGIN_WRONG = refuse(
  "unauthorized",
  "This is no token of this pool, nor the administrator's token of this server.",
);
const CSRF = refuse(
  "csrf",
  "A call of a page that changes something repeats the login's `csrf` in the header Quorate-CSRF.",
);
export const FOREIGN = refuse("forbidden", "A page of another site may not do this in your name.");
const TOKEN_EXPIRED = refuse(
  "unauthorized",
  "The token has expired. An administrator makes a new one.",
);
const NOT_A_CLIENT = refuse("forbidden", "This token may not check out: it has another role.");
const NOT_A_VIEWER = refuse("forbidden", "This token may not read this: it has another role.");
const NOT_AN_ADMINISTRATOR = refuse("forbidden", "This takes an administrator's token.");

function digestOf(token: string): Buffer {
  return hash("sha256", token, "buffer");
}
