/**
 * The HTTP face of one member (design section 5): it parses, asks the member and serialises, and decides
 * nothing about seats.
 *
 *   node:http ──> hot path (checkout, heartbeat, release)
 *        └──────> Fastify (lists, license, events, administrator, members, probes)
 *
 * Whatever a client does wrong is answered with a problem document and a status below 500. Which address
 * to listen on is the caller's business. Secrets are never logged: there is no log of requests at all.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Tracer } from "@opentelemetry/api";
import Fastify from "fastify";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import type { Metric } from "prom-client";
import { BODY_BYTES_MAX, isRefusal, NAME_CHARACTERS_MAX, refuse } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import { methodsAt } from "@quorate/protocol";
import type { AuditLog } from "../audit/audit-log.ts";
import { createAudited } from "../audit/audited.ts";
import type { MemberApi } from "../member/api.ts";
import type { Log } from "../member/ports.ts";
import type { TokenBook } from "../member/token-keeper.ts";
import { createAccess, doorStatus } from "./access.ts";
import type { ClientsDoor, Door } from "./access.ts";
import { createAddressLimits } from "./address-limits.ts";
import { addAdministratorRoutes } from "./administrator-routes.ts";
import { NOT_JSON } from "./body-reader.ts";
import type { BodyBounds } from "./body-reader.ts";
import { createClientLimits } from "./client-limits.ts";
import type { ClientShare } from "./client-limits.ts";
import { addConsoleRoutes, readConsole } from "./console-files.ts";
import { crossOriginOf, isForeignTo, poolOriginsOf } from "./cross-origin.ts";
import { createLagMeter } from "./event-loop-lag.ts";
import type { LagMeter } from "./event-loop-lag.ts";
import { createEventStreams } from "./events.ts";
import { createHotPath, isHeartbeatHere } from "./hot-path.ts";
import { HTTP_LIMITS } from "./http-limits.ts";
import type { HttpLimits } from "./http-limits.ts";
import { addLoginRoutes } from "./login-routes.ts";
import { createLogins } from "./logins.ts";
import { createMetrics } from "./metrics.ts";
import { addPeerRoutes } from "./peer-routes.ts";
import { createOidcBearer } from "./oidc-bearer.ts";
import { createIssuer, type OidcOptions } from "./oidc-issuer.ts";
import { createOidcLogin, OIDC_CALLBACK_PATH, OIDC_LOGIN_PATH } from "./oidc-login.ts";
import {
  INTERNAL_ERROR,
  problemReply,
  sendProblem,
  sendProblemToSocket,
} from "./problem-replies.ts";
import { openQuickLane } from "./quick-lane.ts";
import { rawHeader, type RequestHead } from "./raw-header.ts";
import { addReadRoutes, EVENTS_PATH } from "./read-routes.ts";
import type { Reply } from "./reply.ts";
import { readBodiesOf, RefusedError } from "./request-bodies.ts";
import { unknownMember } from "./session-bodies.ts";
import { traceCalls } from "../tracing/tracing.ts";
import { createTally } from "./tally.ts";
import { createWebServer, renewTls } from "./tls.ts";
import type { TlsMaterial } from "./tls.ts";

export interface HttpServerOptions {
  readonly member: MemberApi;
  /** Null: nobody is an administrator over HTTP. */
  readonly adminToken: string | null;
  /** Who logs people in beside the pool's tokens; null or missing: nobody. */
  readonly oidc?: OidcOptions | null;
  /** Where changes are noted; null or missing: nowhere. */
  readonly audit?: AuditLog | null;
  /** Further tokens, pool-wide. Null or missing: there are none. */
  readonly tokens?: TokenBook | null;
  /** Who may check out, and who may read; missing: whoever reaches this server. */
  readonly clients?: ClientsDoor;
  readonly readers?: Door;
  readonly log: Log;
  readonly host: string;
  /** 0: the system chooses a free one. */
  readonly port: number;
  /** Where the built web console is; null or nothing there: no console. */
  readonly consoleFolder?: string | null;
  /** How late the event loop is; measured here when it is missing. */
  readonly lagMs?: () => number;
  readonly limits?: Partial<HttpLimits>;
  /** What `/metrics` shows beside its own. */
  readonly metrics?: readonly Metric[];
  /** Null or missing: nothing is traced. */
  readonly tracer?: Tracer | null;
  /** Null or missing: HTTP without TLS. */
  readonly tls?: TlsMaterial | null;
}

export interface HttpServer {
  readonly url: string;
  readonly port: number;
  /** Connections that begin from now on get the new certificate. */
  renewTls(material: TlsMaterial): void;
  /** Ends streams, waits a moment for answers that are on their way, then cuts the rest. */
  close(): Promise<void>;
}

export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { member, log, host, port } = options;
  const limits: HttpLimits = { ...HTTP_LIMITS, ...options.limits };
  let meter: LagMeter | null = null;
  const lagMs = options.lagMs ?? (() => meter?.lagMs() ?? 0);
  const addresses = createAddressLimits(limits);
  const clients = createClientLimits(limits);
  const logins = createLogins();
  const isOfPool = poolOriginsOf(() => member.pool());
  const isForeign = isForeignTo(isOfPool);
  const issuer = options.oidc == null ? null : createIssuer(options.oidc, log);
  const bearer = issuer === null ? null : createOidcBearer(issuer);
  const access = createAccess({
    bearer,
    limits: clients,
    guesses: addresses.guesses,
    logins,
    isForeign,
    adminToken: options.adminToken,
    tokens: options.tokens ?? null,
    clients: options.clients ?? "open",
    readers: options.readers ?? "open",
  });
  const audited = createAudited(options.audit ?? null, log);
  const tally = createTally();
  const streams = createEventStreams((listener) => member.subscribe(listener), limits);
  const bodies: BodyBounds = {
    drainBytesMax: limits.drainBytesMax,
    pendingBytesMax: limits.pendingBytesMax,
    pendingBytes: 0,
  };
  const crossOrigin = crossOriginOf(isOfPool);
  /** What its own client had no share left for is not the address's doing. */
  const limitClient = (request: RequestHead): void => {
    addresses.giveBack(request);
    tally.limited.client += 1;
  };
  const hotPath = createHotPath({
    member,
    access,
    audited,
    limits,
    bodies,
    lagMs,
    log,
    tally,
    limitClient,
  });
  const server = createWebServer(options.tls ?? null, {
    maxHeaderSize: limits.headersBytesMax,
    headersTimeout: limits.headersMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(1_000, limits.requestMs),
    // Checked below, with a problem document.
    requireHostHeader: false,
    noDelay: true,
  });
  server.maxConnections = limits.connectionsMax;
  const lane = openQuickLane(server, limits, (request, reply) => {
    // Verifying waits for the issuer's keys, and nothing waits here.
    if (bearer?.isUnverified(request) === true) return false;
    const excess = excessOf(request);
    if (excess === null) return hotPath(request, reply);
    limitAddress(reply, excess);
    return true;
  });
  addresses.watch(server);

  const app = Fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    exposeHeadRoutes: true,
    // A token is revoked by its name as well.
    routerOptions: { maxParamLength: NAME_CHARACTERS_MAX },
    return503OnClosing: false,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
    serverFactory: (handler) => {
      server.on("request", (request: IncomingMessage, response: ServerResponse) => {
        if (rawHeader(request, "host") === undefined && request.httpVersion === "1.1") {
          sendProblem(response, HOST_MISSING);
          return;
        }
        const excess = excessOf(request);
        if (excess !== null) {
          limitAddress(response, excess);
          return;
        }
        const answer = (): void => {
          if (crossOrigin(request, response) || hotPath(request, response)) return;
          handler(request, response);
        };
        const checked = bearer?.prepare(request) ?? null;
        if (checked === null) answer();
        // Whoever is gone by then needs no answer.
        else void checked.then(() => response.destroyed || answer());
      });
      return server;
    },
    clientErrorHandler: refuseUnparsed,
    frameworkErrors: (_error, _request, reply) => {
      sendRefusal(reply, refuse("bad-request", "The path of the request is not well-formed."));
    },
  });
  refuseExoticRequests(server);

  function excessOf(request: RequestHead): Refusal | null {
    const excess = addresses.request(request);
    if (excess === null) return null;
    return isHeartbeatHere(member, request) && addresses.heartbeat(request) ? null : excess;
  }

  function limitAddress(reply: Reply, excess: Refusal): void {
    tally.limited.address += 1;
    tally.refused(excess.refused);
    sendProblem(reply, excess, 429);
  }

  function hold(share: ClientShare, request: FastifyRequest, reply: FastifyReply): void {
    const { raw, routeOptions } = request;
    const kind = routeOptions.url === EVENTS_PATH ? "streams" : "requests";
    const excess = clients.hold(share, kind, raw, reply.raw);
    if (excess === null) return;
    limitClient(raw);
    throw new RefusedError(excess, 429);
  }

  function sendRefusal(reply: FastifyReply, refusal: Refusal, status?: number): void {
    tally.refused(refusal.refused);
    const problem = problemReply(refusal, status);
    void reply.code(problem.status).headers(pairsOf(problem.headers)).send(problem.text);
  }

  const { tracer = null } = options;
  if (tracer !== null) traceCalls(app, tracer);
  app.addHook("onRequest", async (request, reply) => {
    void reply.headers({ "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff" });
    const { method, is404, raw, routeOptions } = request;
    if (is404 || (method !== "GET" && method !== "HEAD")) return;
    // By the route that was found, not by what was written: a path has many spellings.
    const path = routeOptions.url ?? "";
    if (!PUBLIC_PATHS.has(path)) {
      const reader = access.reader(raw, path);
      if (reader === null) return;
      if (isRefusal(reader)) throw new RefusedError(reader, doorStatus(reader));
      hold(reader, request, reply);
    }
  });
  const bytesOf = readBodiesOf(app, bodies);

  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "";
    const methods = methodsAt(path);
    if (methods.length === 0) {
      return sendRefusal(
        reply,
        refuse("not-found", "Nothing is at this path. GET /openapi.json lists what there is."),
      );
    }
    const allowed = methods.includes("GET") ? [...methods, "HEAD"] : methods;
    void reply.header("Allow", allowed.join(", "));
    return sendRefusal(reply, refuse("method-not-allowed", `Here go ${allowed.join(", ")}.`));
  });

  app.setErrorHandler((error: FastifyError, _request: FastifyRequest, reply) => {
    if (error instanceof RefusedError) return sendRefusal(reply, error.refusal, error.status);
    if (error.code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") return sendRefusal(reply, NOT_JSON);
    if (error.validation !== undefined) {
      return sendRefusal(reply, refuse("bad-request", complaintOf(error)));
    }
    const status = error.statusCode ?? 500;
    if (error.code?.startsWith("FST_") && status >= 400 && status < 500) {
      return sendRefusal(reply, refuse("bad-request", "The request is not well-formed."), status);
    }
    log.error("a call failed", { error });
    return sendRefusal(reply, INTERNAL_ERROR);
  });

  const ownUrl = (): string => member.pool().members.find(({ id }) => id === member.id)?.url ?? "";
  const more = options.metrics ?? [];
  const metrics = createMetrics({ member, tally, streams, lagMs, more });
  const files = readConsole(options.consoleFolder ?? null);
  addReadRoutes(app, { member, streams, logins, access, metrics, files, sendRefusal });
  addLoginRoutes(app, {
    access,
    logins,
    isForeign,
    audited,
    audit: options.audit ?? null,
    readers: options.readers ?? "open",
    oidc: issuer === null ? null : createOidcLogin(issuer, ownUrl, log),
    log,
    sendRefusal,
  });
  if (files !== null) addConsoleRoutes(app, files);
  addAdministratorRoutes(app, {
    member,
    access,
    audited,
    audit: options.audit ?? null,
    tokens: options.tokens ?? null,
    hold,
    bytesOf,
    sendRefusal,
  });
  addPeerRoutes(app, { member, bytesOf, sendRefusal });

  try {
    await app.listen({ host, port });
  } catch (error) {
    // The port is taken, say: whoever asked gets the reason, and nothing goes on in the background.
    metrics.close();
    logins.close();
    streams.close();
    lane.cut();
    await app.close();
    throw error;
  }
  // Only now: setting up takes the event loop for longer than a busy server would.
  if (options.lagMs === undefined) meter = createLagMeter(() => lane.waitedMs());
  const address = addressOf(server);
  return {
    url: `${options.tls == null ? "http" : "https"}://${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`,
    port: address.port,
    renewTls: (material) => renewTls(server, material),
    close: async () => {
      meter?.close();
      metrics.close();
      logins.close();
      streams.close();
      lane.close();
      const cut = setTimeout(() => {
        lane.cut();
        server.closeAllConnections();
      }, limits.closeGraceMs);
      await app.close();
      clearTimeout(cut);
      lane.cut();
    },
  };
}

/** The page that asks for a token, its files, probes, and the description: nothing of the pool is in them. */
const PUBLIC_PATHS: ReadonlySet<string> = new Set([
  "/",
  "/assets/:name",
  "/livez",
  "/readyz",
  "/openapi.json",
  "/v1/login",
  OIDC_LOGIN_PATH,
  OIDC_CALLBACK_PATH,
]);

const HOST_MISSING = refuse("bad-request", "The header Host is missing.");
const HEADERS_TOO_LARGE = refuse("too-large", "The headers of the request are too large.");
const TOO_SLOW = refuse("bad-request", "The request did not arrive in time.");
const NOT_HTTP = refuse("bad-request", "This is not a well-formed HTTP request.");
const NO_TUNNELS = refuse("method-not-allowed", "CONNECT is not served here.");
const NO_EXPECTATIONS = refuse("bad-request", "Only Expect: 100-continue can be met.");

/** What Node's parser refuses before there is a request. */
function refuseUnparsed(error: Error & { code?: string }, socket: Socket): void {
  // A part of an answer may be on the wire already; Node's own handler looks at the same field.
  const current: unknown = "_httpMessage" in socket ? socket._httpMessage : null;
  const begun =
    typeof current === "object" &&
    current !== null &&
    "headersSent" in current &&
    current.headersSent === true;
  // Whoever failed to shake hands cannot read words either.
  const unreadable = error.code === "ECONNRESET" || error.code?.startsWith("ERR_SSL_") === true;
  if (!socket.writable || begun || unreadable) {
    socket.destroy();
    return;
  }
  switch (error.code ?? "") {
    case "HPE_HEADER_OVERFLOW":
      return sendProblemToSocket(socket, HEADERS_TOO_LARGE, 431);
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return sendProblemToSocket(socket, TOO_SLOW, 408);
    default:
      return sendProblemToSocket(socket, NOT_HTTP);
  }
}

/** Two things that Node answers without a body, or not at all, unless somebody listens. */
function refuseExoticRequests(server: Server): void {
  server.on("connect", (_request: IncomingMessage, socket: Duplex) => {
    socket.on("error", () => socket.destroy());
    sendProblemToSocket(socket, NO_TUNNELS);
  });
  server.on("checkExpectation", (_request: IncomingMessage, response: ServerResponse) => {
    sendProblem(response, NO_EXPECTATIONS, 417);
  });
}

/** Names the place that is wrong and never the value. */
function complaintOf(error: FastifyError): string {
  const first = error.validation?.[0];
  const where = `${error.validationContext ?? "request"}${first?.instancePath ?? ""}`;
  const unknown = first?.params["additionalProperty"];
  if (typeof unknown === "string") return `${where}: ${unknownMember(unknown)}`;
  return `${where} ${first?.message ?? "is not well-formed"}.`;
}

function pairsOf(flat: readonly string[]): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (let index = 0; index + 1 < flat.length; index += 2) {
    const [name, value] = [flat[index], flat[index + 1]];
    if (name !== undefined && value !== undefined) pairs[name] = value;
  }
  return pairs;
}

function addressOf(server: Server): AddressInfo {
  const address = server.address();
  if (address === null || typeof address === "string") {
    throw new Error("the server listens on no TCP port");
  }
  return address;
}
