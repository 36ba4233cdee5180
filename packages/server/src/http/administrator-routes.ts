/** What only an administrator may do. The token is looked at BEFORE any body is read. */
import type { FastifyInstance, FastifyReply } from "fastify";
import { isRefusal, LICENSE_BYTES_MAX } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import { SCHEMAS } from "@quorate/protocol";
import type { MemberApi } from "../member/api.ts";
import type { AdministratorCheck } from "./administrator.ts";
import { RefusedError } from "./request-bodies.ts";
import type { BytesOf } from "./request-bodies.ts";
import type { SendRefusal } from "./problem-replies.ts";

export interface AdministratorRoutesOptions {
  readonly member: MemberApi;
  readonly administrator: AdministratorCheck;
  readonly bytesOf: BytesOf;
  readonly sendRefusal: SendRefusal;
}

export function addAdministratorRoutes(
  app: FastifyInstance,
  options: AdministratorRoutesOptions,
): void {
  const { member, administrator, bytesOf, sendRefusal } = options;

  const answer = (reply: FastifyReply, value: object | Refusal): FastifyReply => {
    if (!isRefusal(value)) return reply.send(value);
    sendRefusal(reply, value);
    return reply;
  };

  void app.register(async (scope) => {
    scope.addHook("onRequest", async (request) => {
      const refusal = administrator(request.headers.authorization);
      if (refusal !== null) throw new RefusedError(refusal);
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
  });
}
