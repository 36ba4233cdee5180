/** What only an administrator may do. The token is looked at BEFORE any body is read. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isRefusal, LICENSE_BYTES_MAX } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import { SCHEMAS } from "@quorate/protocol";
import type { MemberApi } from "../member/api.ts";
import type { TokenBook } from "../member/token-keeper.ts";
import type { Access, Caller } from "./access.ts";
import { RefusedError } from "./request-bodies.ts";
import type { BytesOf } from "./request-bodies.ts";
import type { SendRefusal } from "./problem-replies.ts";
import { addTokenRoutes } from "./token-routes.ts";

export interface AdministratorRoutesOptions {
  readonly member: MemberApi;
  readonly access: Access;
  /** Null: this pool has no tokens but the administrator's. */
  readonly tokens: TokenBook | null;
  readonly bytesOf: BytesOf;
  readonly sendRefusal: SendRefusal;
}

/** What the administrator's routes share. */
export interface AdministratorScope {
  readonly answer: (reply: FastifyReply, value: object | Refusal) => FastifyReply;
  readonly callerOf: (request: FastifyRequest) => Caller;
}

export function addAdministratorRoutes(
  app: FastifyInstance,
  options: AdministratorRoutesOptions,
): void {
  const { member, access, tokens, bytesOf, sendRefusal } = options;
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

  void app.register(async (scope) => {
    scope.addHook("onRequest", async (request) => {
      const caller = access.administrator(request.raw);
      if (isRefusal(caller)) throw new RefusedError(caller);
      callers.set(request, caller);
    });

    scope.put(
      "/v1/license",
      { bodyLimit: LICENSE_BYTES_MAX, schema: { body: SCHEMAS.LicenseDocument } },
      async (request, reply) =>
        // The text as it came: what it says is the member's to judge, signature and all.
        answer(reply, await member.installLicense(bytesOf(request).toString("utf8"))),
    );
    scope.post<{ Body: { member: string } }>(
      "/v1/pool/lead",
      { schema: { body: SCHEMAS.MemberBody } },
      async (request, reply) => answer(reply, await member.lead(request.body.member)),
    );
    scope.post<{ Body: { member: string } }>(
      "/v1/pool/remove",
      { schema: { body: SCHEMAS.MemberBody } },
      async (request, reply) => answer(reply, await member.remove(request.body.member)),
    );
    scope.post("/v1/pool/rebuild", async (_request, reply) =>
      answer(reply, await member.rebuild()),
    );
    if (tokens !== null) addTokenRoutes(scope, tokens, { answer, callerOf });
  });
}
