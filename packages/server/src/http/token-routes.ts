/** An administrator creates, lists and revokes tokens. The token itself leaves this function once. */
import { hash, randomBytes } from "node:crypto";
import type { FastifyInstance } from "fastify";
import { isRefusal, NAME_PATTERN, refuse } from "@quorate/core";
import { SCHEMAS, TOKENS_PATH, tokenPath } from "@quorate/protocol";
import type { TokenBody, TokenRow } from "@quorate/protocol";
import type { StoredToken, TokenBook } from "../member/token-keeper.ts";
import type { AdministratorScope } from "./administrator-routes.ts";

const ID_BYTES = 6;
const SECRET_BYTES = 32;
const NAME = new RegExp(NAME_PATTERN);

export function addTokenRoutes(
  scope: FastifyInstance,
  tokens: TokenBook,
  { answer, callerOf, change }: AdministratorScope,
): void {
  scope.get(TOKENS_PATH, { schema: { querystring: SCHEMAS.NoQuery } }, async () => ({
    tokens: tokens.list().map(rowOf),
  }));

  scope.post<{ Body: TokenBody }>(
    TOKENS_PATH,
    { schema: { body: SCHEMAS.TokenBody } },
    async (request, reply) => {
      const { name, role, expiresAt } = request.body;
      const endsAtMs = expiresAt === undefined ? null : Date.parse(expiresAt);
      if (endsAtMs !== null && !(endsAtMs > Date.now())) {
        return answer(reply, EXPIRES_WRONG);
      }
      const id = randomBytes(ID_BYTES).toString("hex");
      const token = `qrt_${id}_${randomBytes(SECRET_BYTES).toString("base64url")}`;
      const stored: StoredToken = {
        id,
        name,
        role,
        hash: hash("sha256", token, "hex"),
        createdAt: new Date().toISOString(),
        createdBy: callerOf(request).name,
        expiresAt: endsAtMs === null ? null : new Date(endsAtMs).toISOString(),
      };
      const details = { id, name, role, expiresAt: stored.expiresAt };
      const add = () => tokens.add(stored);
      const added = await change(request, "token-create", details, add);
      if (isRefusal(added)) return answer(reply, added);
      void reply.code(201);
      return answer(reply, { ...rowOf(added), token });
    },
  );

  scope.delete<{ Params: { id: string } }>(tokenPath(":id"), async (request, reply) => {
    const { id } = request.params;
    // What is no name is noted nowhere: people read the audit log in terminals.
    if (!NAME.test(id)) return answer(reply, NO_SUCH_TOKEN);
    const removed = await change(request, "token-revoke", { id }, () => tokens.remove(id));
    return answer(reply, isRefusal(removed) ? removed : rowOf(removed));
  });
}

const NO_SUCH_TOKEN = refuse("not-found", "there is no such token; see: quorate token list");
const EXPIRES_WRONG = refuse(
  "bad-request",
  "expiresAt must be an instant of RFC 3339 in the future, such as 2027-01-31T00:00:00Z.",
);

/** Without the hash: it is of no use to anybody but whoever wants to guess. */
function rowOf({ id, name, role, createdAt, createdBy, expiresAt }: StoredToken): TokenRow {
  return { id, name, role, createdAt, createdBy, expiresAt };
}
