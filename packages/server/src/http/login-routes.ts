/**
 * How a browser logs in and out (design section 5). A token is sent once and is worth a cookie from then on, which
 * no script can read; that is why the console keeps no token.
 *
 * A login is audited like what it is used for, and so are failed ones, within a bound: whoever guesses must not be
 * able to fill the disk.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { BODY_BYTES_MAX, isRefusal, type Refusal, refuse } from "@quorate/core";
import { LOGIN_PATH, SCHEMAS } from "@quorate/protocol";
import type { LoginAnswer, LoginBody, LoginState, LoginWays } from "@quorate/protocol";
import type { AuditLog } from "../audit/audit-log.ts";
import type { Audited } from "../audit/audited.ts";
import type { Log } from "../member/ports.ts";
import { type Access, doorStatus, FOREIGN } from "./access.ts";
import { wantsPage } from "./console-files.ts";
import { bearsCsrf, type Login, type LoginHolder, type Logins } from "./logins.ts";
import type { SendRefusal } from "./problem-replies.ts";
import { OIDC_CALLBACK_PATH, OIDC_LOGIN_PATH, type OidcLogin } from "./oidc-login.ts";
import { createRate } from "./rate.ts";

export interface LoginRoutesOptions {
  readonly access: Access;
  readonly logins: Logins;
  /** Whether a page of another site makes the browser send this. */
  readonly isForeign: (request: IncomingMessage) => boolean;
  readonly audited: Audited;
  /** Null: nothing is noted. */
  readonly audit: AuditLog | null;
  readonly readers: LoginWays["readers"];
  /** Null: there is no issuer. */
  readonly oidc: OidcLogin | null;
  readonly log: Log;
  readonly sendRefusal: SendRefusal;
}

/** Whoever has a token may log in this often; each time is two lines in the audit log. */
const LOGINS_PER_MINUTE_MAX = 30;
/** Of all addresses together; the next line says how many are missing. */
const FAILURES_NOTED_PER_MINUTE_MAX = 30;

export function addLoginRoutes(app: FastifyInstance, options: LoginRoutesOptions): void {
  const { access, logins, isForeign, readers, oidc, sendRefusal } = options;
  const begin = createBegin(options);
  const failed = createFailed(options.audit, options.log);

  app.get(LOGIN_PATH, { schema: { querystring: SCHEMAS.NoQuery } }, (request, reply) => {
    const login = isForeign(request.raw) ? null : logins.of(request.raw);
    const ways: LoginWays = { ways: oidc === null ? ["token"] : ["token", "oidc"], readers };
    const state: LoginState =
      login === null ? { role: null, ...ways } : { ...answerOf(login), ...ways };
    return reply.send(state);
  });

  app.post<{ Body: LoginBody }>(
    LOGIN_PATH,
    { bodyLimit: BODY_BYTES_MAX, schema: { body: SCHEMAS.LoginBody } },
    async (request, reply) => {
      // A form of another site could log a browser in as somebody else, who then sees what is done.
      if (isForeign(request.raw)) return refused(reply, FOREIGN);
      const holder = access.holderOf(request.raw, request.body.token);
      if (isRefusal(holder)) {
        failed(request.raw, "token", holder);
        return refused(reply, holder);
      }
      const begun = await begin(request.raw, holder, "token");
      if (isRefusal(begun)) return refused(reply, begun);
      return reply.header("Set-Cookie", begun.cookie).send(answerOf(begun.login));
    },
  );

  app.delete(LOGIN_PATH, async (request, reply) => {
    const { raw } = request;
    if (isForeign(raw)) return refused(reply, FOREIGN);
    const login = logins.of(raw);
    if (login !== null && !bearsCsrf(raw, login)) return refused(reply, CSRF_MISSING);
    const { cookie } = logins.end(raw);
    if (login !== null) await noteEnd(options, raw, login);
    return reply.code(204).header("Set-Cookie", cookie).send();
  });

  app.get(OIDC_LOGIN_PATH, async (request, reply) => {
    const begun = oidc === null ? NO_ISSUER : await oidc.begin(request.raw);
    if (isRefusal(begun)) return sentBack(request, reply, begun);
    return reply.header("Set-Cookie", begun.cookie).redirect(begun.location, 302);
  });
  app.get(OIDC_CALLBACK_PATH, async (request, reply) => {
    if (oidc === null) return sentBack(request, reply, NO_ISSUER);
    // Once, whatever comes of it.
    const spent = oidc.endCookie(request.raw);
    const holder = await oidc.finish(request.raw);
    if (isRefusal(holder)) failed(request.raw, "oidc", holder);
    const begun = isRefusal(holder) ? holder : await begin(request.raw, holder, "oidc");
    if (isRefusal(begun)) {
      void reply.header("Set-Cookie", spent);
      return sentBack(request, reply, begun);
    }
    return reply.header("Set-Cookie", [spent, begun.cookie]).redirect("/", 303);
  });

  /** A browser that was sent here gets the console, which says in words what the code means. */
  function sentBack(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): FastifyReply {
    if (!wantsPage(request)) return refused(reply, refusal);
    return reply.redirect(`/?login-refused=${refusal.refused}`, 303);
  }

  function refused(reply: FastifyReply, refusal: Refusal): FastifyReply {
    sendRefusal(reply, refusal, doorStatus(refusal));
    return reply;
  }
}

type Begin = (
  request: IncomingMessage,
  holder: LoginHolder,
  way: string,
) => Promise<{ login: Login; cookie: string } | Refusal>;

function createBegin({ logins, audited }: LoginRoutesOptions): Begin {
  const rate = createRate(LOGINS_PER_MINUTE_MAX);
  return async (request, holder, way) => {
    if (!rate.take(holder.source)) return TOO_OFTEN;
    const deed = { caller: holder, request, what: "login", details: { way } };
    return audited(deed, async () => logins.begin(request, holder));
  };
}

type Failed = (request: IncomingMessage, way: string, refusal: Refusal) => void;

function createFailed(audit: AuditLog | null, log: Log): Failed {
  const rate = createRate(FAILURES_NOTED_PER_MINUTE_MAX);
  let unnoted = 0;
  return (request, way, { refused }) => {
    if (audit === null) return;
    if (!rate.take("")) {
      unnoted += 1;
      return;
    }
    const details = { way, ...(unnoted === 0 ? {} : { unnoted }) };
    unnoted = 0;
    const from = request.socket.remoteAddress ?? "";
    audit
      .append({ who: "", role: "", from, what: "login", details, outcome: refused })
      // Nobody got in, so nothing has to be kept from happening.
      .catch((error: unknown) => log.error("the audit log cannot be written", { error }));
  };
}

/** It has happened by then: nobody is kept logged in because the disk is full. */
async function noteEnd(
  { audit, log }: LoginRoutesOptions,
  request: IncomingMessage,
  { name: who, role, subject }: Login,
): Promise<void> {
  const from = request.socket.remoteAddress ?? "";
  const details = subject === undefined ? {} : { subject };
  const fact = { who, role, from, what: "logout", details, outcome: "done" };
  await audit
    ?.append(fact)
    .catch((error: unknown) => log.error("the audit log cannot be written", { error }));
}

function answerOf({ name, role, csrf, endsAtMs }: Login): LoginAnswer {
  return { name, role, csrf, expiresAt: new Date(endsAtMs).toISOString() };
}

const TOO_OFTEN = refuse("busy", "This token logged in too often just now. Wait a minute.", {
  retryAfterMs: 60_000,
});
const NO_ISSUER = refuse(
  "forbidden",
  "This pool has no issuer to log in at. Use a token, or start the servers with --oidc-issuer.",
);
const CSRF_MISSING = refuse(
  "csrf",
  "To log out, repeat the login's `csrf` in the header Quorate-CSRF.",
);
