/** The audit log of this member, page by page from its end. Each member has its own: ask them all. */
import type { FastifyInstance } from "fastify";
import { AUDIT_PATH, SCHEMAS } from "@quorate/protocol";
import type { AuditAnswer, AuditQuery } from "@quorate/protocol";
import type { AuditLog } from "../audit/audit-log.ts";
import { withNumber } from "./query-number.ts";

const LIMIT_DEFAULT = 100;

export function addAuditRoutes(
  scope: FastifyInstance,
  member: string,
  audit: AuditLog | null,
): void {
  scope.get<{ Querystring: AuditQuery }>(
    AUDIT_PATH,
    {
      schema: { querystring: SCHEMAS.AuditQuery },
      preValidation: async (request) => {
        request.query = withNumber(withNumber(request.query, "limit"), "before");
      },
    },
    async (request, reply) => {
      const { limit = LIMIT_DEFAULT, before = Number.MAX_SAFE_INTEGER } = request.query;
      const entries = (await audit?.entriesBefore(before, limit)) ?? [];
      const last = entries.at(-1)?.number ?? 1;
      const answer: AuditAnswer = { member, entries, next: last > 1 ? last : null };
      return reply.send(answer);
    },
  );
}
