/** What only an administrator may do. The token is looked at BEFORE any body is read. */
import { hash } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isRefusal, LICENSE_BYTES_MAX } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import { SCHEMAS } from "@quorate/protocol";
import type { UsageQuery } from "@quorate/protocol";
import type { AuditLog } from "../audit/audit-log.ts";
import type { Audited } from "../audit/audited.ts";
import type { MemberApi } from "../member/api.ts";
import type { TokenBook } from "../member/token-keeper.ts";
import { doorStatus } from "./access.ts";
import { addAuditRoutes } from "./audit-routes.ts";
import type { Access, Caller } from "./access.ts";
import type { ClientShare } from "./client-limits.ts";
import { RefusedError } from "./request-bodies.ts";
import type { BytesOf } from "./request-bodies.ts";
import type { SendRefusal } from "./problem-replies.ts";
import { withNumber } from "./query-number.ts";
import { addTokenRoutes } from "./token-routes.ts";

export interface AdministratorRoutesOptions {
  readonly member: MemberApi;
  readonly access: Access;
  readonly audited: Audited;
  /** Null: nothing is noted. */
  readonly audit: AuditLog | null;
  /** Null: this pool has no tokens but the administrator's. */
  readonly tokens: TokenBook | null;
  /** Takes one of the caller's share, or throws what to answer instead. */
  readonly hold: (share: ClientShare, request: FastifyRequest, reply: FastifyReply) => void;
  readonly bytesOf: BytesOf;
  readonly sendRefusal: SendRefusal;
}

/** What the administrator's routes share. */
export interface AdministratorScope {
  readonly answer: (reply: FastifyReply, value: object | Refusal) => FastifyReply;
  readonly callerOf: (request: FastifyRequest) => Caller;
  /** Does it with a line in the audit log before and after. */
  readonly change: <Answer extends object>(
    request: FastifyRequest,
    what: string,
    details: Readonly<Record<string, unknown>>,
    act: () => Promise<Answer | Refusal>,
  ) => Promise<Answer | Refusal>;
}

export function addAdministratorRoutes(
  app: FastifyInstance,
  options: AdministratorRoutesOptions,
): void {
  const { member, access, audited, audit, tokens, hold, bytesOf, sendRefusal } = options;
  const callers = new WeakMap<FastifyRequest, Caller>();

  const answer = (reply: FastifyReply, value: object | Refusal): FastifyReply => {
    if (!isRefusal(value)) return reply.send(value);
    sendRefusal(reply, value);
    return reply;
  };
  const callerOf = (request: FastifyRequest): Caller => {
    const caller = callers.get(request);
    if (caller === undefined) throw new Error("nobody gets here without a token");
    return caller;
  };
  const change: AdministratorScope["change"] = (request, what, details, act) =>
    audited({ caller: callerOf(request), request: request.raw, what, details }, act);

  void app.register(async (scope) => {
    scope.addHook("onRequest", async (request, reply) => {
      const caller = access.administrator(request.raw);
      if (isRefusal(caller)) throw new RefusedError(caller, doorStatus(caller));
      hold(caller.share, request, reply);
      callers.set(request, caller);
    });

    scope.get<{ Querystring: UsageQuery }>(
      "/v1/usage",
      {
        schema: { querystring: SCHEMAS.UsageQuery },
        preValidation: async (request) => {
          request.query = withNumber(request.query, "limit");
        },
      },
      async (request, reply) => answer(reply, await member.usage(request.query)),
    );
    scope.put(
      "/v1/license",
      { bodyLimit: LICENSE_BYTES_MAX, schema: { body: SCHEMAS.LicenseDocument } },
      async (request, reply) => {
        // The text as it came: what it says is the member's to judge, signature and all.
        const text = bytesOf(request).toString("utf8");
        const details = { sha256: hash("sha256", text, "hex"), sequence: sequenceIn(request.body) };
        const by = { name: callerOf(request).name, from: request.raw.socket.remoteAddress ?? "" };
        const install = () => member.installLicense(text, by);
        const installed = await change(request, "license-install", details, install);
        if ("kept" in installed) void reply.code(202);
        return answer(reply, installed);
      },
    );
    scope.post<{ Body: { member: string } }>(
      "/v1/pool/lead",
      { schema: { body: SCHEMAS.MemberBody } },
      async (request, reply) => {
        const details = { member: request.body.member };
        const lead = () => member.lead(details.member);
        return answer(reply, await change(request, "pool-lead", details, lead));
      },
    );
    scope.post<{ Body: { member: string } }>(
      "/v1/pool/remove",
      { schema: { body: SCHEMAS.MemberBody } },
      async (request, reply) => {
        const details = { member: request.body.member };
        const remove = () => member.remove(details.member);
        return answer(reply, await change(request, "pool-remove", details, remove));
      },
    );
    scope.post("/v1/pool/rebuild", async (request, reply) =>
      answer(reply, await change(request, "pool-rebuild", {}, () => member.rebuild())),
    );
    addAuditRoutes(scope, member.id, audit);
    if (tokens !== null) addTokenRoutes(scope, tokens, { answer, callerOf, change });
  });
}

/** What the document claims, as far as it can be told before it is checked. */
function sequenceIn(body: unknown): unknown {
  const sequence: unknown =
    typeof body === "object" && body !== null ? Reflect.get(body, "sequence") : null;
  return typeof sequence === "number" ? sequence : null;
}
