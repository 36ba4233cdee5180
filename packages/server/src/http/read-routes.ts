/** What anybody may read: lists, the license, events, probes, metrics and the description of it all. */
import type { FastifyInstance, FastifyReply } from "fastify";
import { isRefusal, type Refusal } from "@quorate/core";
import { openApiDocument, SCHEMAS } from "@quorate/protocol";
import type { AuthorizationsQuery, DenialsQuery, UsageSeriesQuery } from "@quorate/protocol";
import type { MemberApi } from "../member/api.ts";
import type { Access } from "./access.ts";
import { sendPage, wantsPage } from "./console-files.ts";
import type { ConsoleFiles } from "./console-files.ts";
import { EVENT_STREAM_HEADERS } from "./events.ts";
import type { EventStreams } from "./events.ts";
import type { Logins } from "./logins.ts";
import type { Metrics } from "./metrics.ts";
import type { SendRefusal } from "./problem-replies.ts";
import { withNumber } from "./query-number.ts";

export interface ReadRoutesOptions {
  readonly member: MemberApi;
  readonly streams: EventStreams;
  readonly logins: Logins;
  readonly access: Access;
  readonly metrics: Metrics;
  /** Null: no console was built. */
  readonly files: ConsoleFiles | null;
  readonly sendRefusal: SendRefusal;
}

/** The version of the API, not of the program: it changes when a client has to. */
const API_VERSION = "1.0.0";
export const EVENTS_PATH = "/v1/events";
/** How soon an open stream notices that its token counts no more. */
const LOOK_MS = 1_000;
const NOTHING_ASKED = { schema: { querystring: SCHEMAS.NoQuery } };

export function addReadRoutes(app: FastifyInstance, options: ReadRoutesOptions): void {
  const { member, streams, logins, access, metrics, files, sendRefusal } = options;
  const openApi = JSON.stringify(openApiDocument(API_VERSION));
  const answer = (reply: FastifyReply, value: object | Refusal): FastifyReply => {
    if (!isRefusal(value)) return reply.send(value);
    sendRefusal(reply, value);
    return reply;
  };

  app.get<{ Querystring: AuthorizationsQuery }>(
    "/v1/authorizations",
    {
      schema: { querystring: SCHEMAS.AuthorizationsQuery },
      preValidation: async (request) => {
        request.query = withNumber(request.query, "limit");
      },
    },
    (request) => member.authorizations(request.query),
  );
  app.get<{ Querystring: DenialsQuery }>(
    "/v1/denials",
    {
      schema: { querystring: SCHEMAS.DenialsQuery },
      preValidation: async (request) => {
        request.query = withNumber(request.query, "limit");
      },
    },
    async (request, reply) => answer(reply, await member.denials(request.query)),
  );
  app.get<{ Querystring: UsageSeriesQuery }>(
    "/v1/usage/series",
    {
      schema: { querystring: SCHEMAS.UsageSeriesQuery },
      preValidation: async (request) => {
        request.query = withNumber(request.query, "stepMs");
      },
    },
    async (request, reply) => answer(reply, await member.usageSeries(request.query)),
  );
  app.get("/v1/features", NOTHING_ASKED, async () => member.features());
  app.get("/v1/pool", NOTHING_ASKED, async () => member.pool());
  app.get("/v1/license", NOTHING_ASKED, async (_request, reply) => answer(reply, member.license()));
  app.get("/v1/license/history", NOTHING_ASKED, async () => member.licenseHistory());
  app.get("/v1/events/recent", NOTHING_ASKED, async () => ({
    member: member.id,
    events: streams.recent(),
  }));

  app.get(EVENTS_PATH, NOTHING_ASKED, async (request, reply) => {
    if (request.method === "HEAD") return reply.headers(EVENT_STREAM_HEADERS).send();
    const lastId = request.headers["last-event-id"];
    const refusal = streams.open(reply.raw, typeof lastId === "string" ? lastId : undefined);
    // Too many streams is the clients' doing, so it gets the milder of the two statuses of `busy`.
    if (refusal !== null) {
      sendRefusal(reply, refusal, 429);
      return reply;
    }
    reply.hijack();
    // Who logged out, or whose token was revoked, reads on no more.
    const { raw } = reply;
    raw.once(
      "close",
      logins.onEnd(request.raw, () => raw.destroy()),
    );
    const readsOn = access.readsOn(request.raw);
    const looking = setInterval(() => readsOn() || raw.destroy(), LOOK_MS).unref();
    raw.once("close", () => clearInterval(looking));
    return reply;
  });

  app.get("/metrics", async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  );
  app.get("/livez", async () => ({ alive: true }));
  app.get("/readyz", async (_request, reply) => {
    const refusal = member.readiness();
    if (refusal === null) return { ready: true };
    sendRefusal(reply, refusal, 503);
    return reply;
  });
  app.get("/openapi.json", async (_request, reply) => reply.type("application/json").send(openApi));
  app.get("/", async (request, reply) => {
    if (files !== null && wantsPage(request)) return sendPage(request, reply, files, member.pool());
    void reply.header("Vary", "Accept");
    return {
      name: "Quorate",
      about: "One member of a pool of floating-license servers.",
      member: member.id,
      openapi: "/openapi.json",
      links: ["/v1/pool", "/v1/features", "/v1/authorizations", "/v1/license", EVENTS_PATH],
    };
  });
}
