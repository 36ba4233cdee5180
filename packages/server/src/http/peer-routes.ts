/** `POST /v1/peer/*`: calls of other members, after their signature was checked. */
import type { FastifyInstance } from "fastify";
import { PEER_BODY_BYTES_MAX, refuse } from "@quorate/core";
import { PEER_KINDS, PEER_PATH, SCHEMAS, SIGNATURE_HEADER } from "@quorate/protocol";
import type { MemberApi } from "../member/api.ts";
import { createPeerGuard } from "./peer-envelope.ts";
import type { PeerEnvelope } from "./peer-envelope.ts";
import type { BytesOf } from "./request-bodies.ts";
import type { SendRefusal } from "./problem-replies.ts";

export interface PeerRoutesOptions {
  readonly member: MemberApi;
  readonly bytesOf: BytesOf;
  readonly sendRefusal: SendRefusal;
}

export function addPeerRoutes(app: FastifyInstance, options: PeerRoutesOptions): void {
  const { member, bytesOf, sendRefusal } = options;
  const guard = createPeerGuard(member.id, (id) => member.memberKey(id));

  for (const kind of PEER_KINDS) {
    app.post<{ Body: PeerEnvelope }>(
      `${PEER_PATH}/${kind}`,
      { bodyLimit: PEER_BODY_BYTES_MAX, schema: { body: SCHEMAS.PeerEnvelope } },
      async (request, reply) => {
        const header = request.headers[SIGNATURE_HEADER];
        const signature = typeof header === "string" ? header : undefined;
        const { body } = request;
        const refusal =
          body.call.kind === kind ? guard.check(body, bytesOf(request), signature) : WRONG_KIND;
        if (refusal === null) return member.peer(body.from, body.call);
        sendRefusal(reply, refusal);
        return reply;
      },
    );
  }
}

const WRONG_KIND = refuse("bad-request", "The call is of another kind than the path says.");
