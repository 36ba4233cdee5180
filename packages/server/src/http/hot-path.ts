/**
 * The three calls about a session, served on node:http directly.
 *
 *   POST   /v1/authorizations                       checkout
 *   POST   /v1/authorizations/{session}/heartbeat   heartbeat
 *   DELETE /v1/authorizations/{session}             release, or revoke
 *
 * They are nearly all of a pool's traffic, so nothing stands between them and the socket: no router, no
 * hooks, no compiled schema. There is no second implementation of them behind Fastify, so the two cannot
 * differ; everything this function does not know is Fastify's.
 *
 * Deliberately absent: the log of requests. Secrets travel in their headers and bodies.
 */
import type { IncomingMessage } from "node:http";
import { BODY_BYTES_MAX, isRefusal, refuse } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import { AUTHORIZATIONS_PATH, SESSION_HEADER } from "@quorate/protocol";
import type { Answer, Granted, ReleaseAnswer } from "@quorate/protocol";
import type { Audited } from "../audit/audited.ts";
import type { MemberApi } from "../member/api.ts";
import type { Log } from "../member/ports.ts";
import { doorStatus } from "./access.ts";
import type { Access, Caller } from "./access.ts";
import { isJsonMediaType, NOT_JSON, parseJson, readBody } from "./body-reader.ts";
import type { BodyBounds } from "./body-reader.ts";
import type { ClientShare, ShareKind } from "./client-limits.ts";
import type { HttpLimits } from "./http-limits.ts";
import { INTERNAL_ERROR, sendProblem } from "./problem-replies.ts";
import type { QuickRequest } from "./quick-request.ts";
import { countOfHeader, rawHeader, type RequestHead } from "./raw-header.ts";
import type { Reply } from "./reply.ts";
import {
  isSession,
  readCheckoutBody,
  readHeartbeatBody,
  readReleaseQuery,
} from "./session-bodies.ts";
import type { Tally } from "./tally.ts";

export interface HotPathOptions {
  readonly member: MemberApi;
  readonly access: Access;
  /** A revocation is an administrator's deed; what sessions do is in the journal. */
  readonly audited: Audited;
  readonly limits: HttpLimits;
  readonly bodies: BodyBounds;
  readonly lagMs: () => number;
  readonly log: Log;
  readonly tally: Tally;
  /** Told of each request that its own client had no share left for. */
  readonly limitClient: (request: RequestHead) => void;
}

/** Read by Node's parser or in the quick lane. */
type SessionRequest = IncomingMessage | QuickRequest;

/** False when the request is none of the three: nothing was done with it then. */
export type HotPath = (request: SessionRequest, response: Reply) => boolean;

const HEARTBEAT_END = "/heartbeat";

/** Whether it is a heartbeat of a session that holds a seat here. Whose it is shows later. */
export function isHeartbeatHere(
  member: Pick<MemberApi, "holds">,
  { method, url = "" }: RequestHead,
): boolean {
  const isHeartbeat =
    method === "POST" && url.startsWith(AUTHORIZATIONS_PATH) && url.endsWith(HEARTBEAT_END);
  if (!isHeartbeat) return false;
  return member.holds(url.slice(AUTHORIZATIONS_PATH.length + 1, -HEARTBEAT_END.length));
}

export function createHotPath(options: HotPathOptions): HotPath {
  const { member, access, audited, limits, bodies, lagMs, log, tally, limitClient } = options;
  const { client } = access;

  return (request, response) => {
    const url = request.url ?? "";
    if (!url.startsWith(AUTHORIZATIONS_PATH)) return false;
    const question = url.indexOf("?");
    const query = question === -1 ? "" : url.slice(question + 1);
    const rest = url.slice(AUTHORIZATIONS_PATH.length, question === -1 ? undefined : question);
    if (request.method === "POST") {
      if (rest === "") {
        checkout(request, response, query);
        return true;
      }
      if (rest.endsWith(HEARTBEAT_END) && isOneSegment(rest, HEARTBEAT_END.length)) {
        heartbeat(request, response, rest.slice(1, -HEARTBEAT_END.length), query);
        return true;
      }
    } else if (request.method === "DELETE" && isOneSegment(rest, 0)) {
      release(request, response, rest.slice(1), query);
      return true;
    }
    return false;
  };

  function checkout(request: SessionRequest, response: Reply, query: string): void {
    if (lagMs() > limits.lagNewMs) return refused(response, busy());
    const share = client === null ? null : client(request);
    if (share !== null) {
      if (isRefusal(share)) return refused(response, share, doorStatus(share));
      if (isLimited(request, response, share, "requests")) return;
    }
    const secret = secretOf(request);
    if (secret === null) return refused(response, SECRET_MISSING);
    if (query !== "") return refused(response, NO_QUERY);
    if (!isJsonMediaType(rawHeader(request, "content-type"))) return refused(response, NOT_JSON);
    readBody(request, BODY_BYTES_MAX, bodies, (refusal, bytes) => {
      if (refusal !== null) return refused(response, refusal);
      const parsed = parseJson(bytes);
      if (!("value" in parsed)) return refused(response, parsed);
      const body = readCheckoutBody(parsed.value);
      if (typeof body === "string") return refused(response, refuse("bad-request", body));
      // The body is fresh from the parser and nobody else's: the secret goes into it, not into a copy.
      const asked = Object.assign(body, { secret });
      return grant(response, () => member.checkout(asked), isCreated, share, "requests");
    });
  }

  function heartbeat(
    request: SessionRequest,
    response: Reply,
    session: string,
    query: string,
  ): void {
    if (lagMs() > limits.lagHeartbeatMs) return refused(response, busy());
    // A heartbeat of a session that is not known may become a new request: it takes the same.
    const share = client === null ? null : client(request);
    if (share !== null) {
      if (isRefusal(share)) return refused(response, share, doorStatus(share));
      if (isLimited(request, response, share, "heartbeats")) return;
    }
    const secret = secretOf(request);
    if (secret === null) return refused(response, SECRET_MISSING);
    if (!isSession(session)) return refused(response, NOT_A_SESSION);
    if (query !== "") return refused(response, NO_QUERY);
    const contentType = rawHeader(request, "content-type");
    if (contentType !== undefined && !isJsonMediaType(contentType)) {
      return refused(response, NOT_JSON);
    }
    readBody(request, BODY_BYTES_MAX, bodies, (refusal, bytes) => {
      if (refusal !== null) return refused(response, refusal);
      // Nothing in a heartbeat is required, so a body is not either.
      if (bytes.length > 0 && contentType === undefined) return refused(response, NOT_JSON);
      const parsed = bytes.length > 0 ? parseJson(bytes) : { value: {} };
      if (!("value" in parsed)) return refused(response, parsed);
      const body = readHeartbeatBody(parsed.value);
      if (typeof body === "string") return refused(response, refuse("bad-request", body));
      // Who has neither a seat here nor a token of one elsewhere asks for a new one.
      const isNew = share !== null && body.token === undefined && !member.holds(session);
      if (isNew && isLimited(request, response, share, "requests")) return;
      const heard = Object.assign(body, { session, secret });
      const kind = isNew ? "requests" : "heartbeats";
      return grant(response, () => member.heartbeat(heard), isConverted, share, kind);
    });
  }

  function release(request: SessionRequest, response: Reply, session: string, query: string): void {
    const secret = secretOf(request);
    let administrator: Caller | null = null;
    let share: ClientShare | null = null;
    if (secret === null) {
      const nobody = !access.bringsProof(request);
      if (nobody || countOfHeader(request, SESSION_HEADER) > 0) return refused(response, NOBODY);
      const caller = access.administrator(request);
      if (isRefusal(caller)) return refused(response, caller, doorStatus(caller));
      administrator = caller;
      share = caller.share;
    }
    if (!isSession(session)) return refused(response, NOT_A_SESSION);
    if (secret !== null && !member.holds(session)) {
      // A session that was never granted costs a line in every journal of the pool: not for whoever passes by. Who
      // holds a seat here gives it back in any case.
      if (lagMs() > limits.lagHeartbeatMs) return refused(response, busy());
      const known = client === null ? null : client(request);
      if (known !== null && isRefusal(known)) return refused(response, known, doorStatus(known));
      share = known;
    }
    if (share !== null && isLimited(request, response, share, "requests")) return;
    const words = readReleaseQuery(query);
    if (typeof words === "string") return refused(response, refuse("bad-request", words));
    const act = (): Promise<ReleaseAnswer> =>
      member.release({
        session,
        administrator: secret === null,
        ...(secret === null ? {} : { secret }),
        ...words,
      });
    try {
      const answered: Promise<ReleaseAnswer> =
        administrator === null
          ? act()
          : audited(
              {
                caller: administrator,
                request,
                what: "session-revoke",
                details: { session, ...words },
              },
              act,
            );
      share?.begin("requests");
      answered.then(
        (answer) => {
          share?.end("requests");
          sendReleased(response, answer);
        },
        (error: unknown) => {
          share?.end("requests");
          failed(response, error);
        },
      );
    } catch (error) {
      failed(response, error);
    }
  }

  function grant(
    response: Reply,
    ask: () => Answer | Promise<Answer>,
    isNew: (granted: Granted) => boolean,
    share: ClientShare | null,
    kind: ShareKind,
  ): void {
    try {
      const answer = ask();
      if (answer instanceof Promise) {
        share?.begin(kind);
        answer.then(
          (settled) => {
            share?.end(kind);
            sendAnswer(response, settled, isNew);
          },
          (error: unknown) => {
            share?.end(kind);
            failed(response, error);
          },
        );
      } else sendAnswer(response, answer, isNew);
    } catch (error) {
      failed(response, error);
    }
  }

  function sendAnswer(response: Reply, answer: Answer, isNew: (granted: Granted) => boolean): void {
    if (isRefusal(answer)) return refused(response, answer);
    tally.answered += 1;
    sendJson(response, isNew(answer) ? 201 : 200, textOf(answer));
  }

  function sendReleased(response: Reply, answer: ReleaseAnswer): void {
    if (isRefusal(answer)) return refused(response, answer);
    tally.answered += 1;
    if (answer.reached) {
      response.writeHead(204, NO_BODY_HEADERS);
      response.end();
    } else sendJson(response, 202, JSON.stringify(answer));
  }

  /** Takes one of the client's share; true: there is none left, and the client was told. */
  function isLimited(
    request: SessionRequest,
    response: Reply,
    share: ClientShare,
    kind: ShareKind,
  ): boolean {
    const excess = share.take(kind);
    if (excess === null) return false;
    limitClient(request);
    refused(response, excess, 429);
    return true;
  }

  function refused(response: Reply, refusal: Refusal, status?: number): void {
    tally.refused(refusal.refused);
    sendProblem(response, refusal, status);
  }

  function failed(response: Reply, error: unknown): void {
    log.error("a call about a session failed", { error });
    if (response.headersSent) response.destroy();
    else refused(response, INTERNAL_ERROR);
  }

  function busy(): Refusal {
    return refuse("busy", "This server is overloaded. Back off, then ask again or ask another.", {
      retryAfterMs: limits.busyRetryMs,
    });
  }
}

const NO_BODY_HEADERS = ["Cache-Control", "no-store", "X-Content-Type-Options", "nosniff"];

const SECRET_MISSING = refuse(
  "not-your-session",
  "Send the secret of the session, 43 characters of base64url, in the header Quorate-Session.",
);
const NOBODY = refuse(
  "not-your-session",
  "Send the secret of the session in the header Quorate-Session, or an administrator's token.",
);
const NOT_A_SESSION = refuse("bad-request", "A session is 43 characters of base64url.");
const NO_QUERY = refuse("bad-request", "This call takes no query; put everything into the body.");

function isCreated(granted: Granted): boolean {
  return granted.created;
}

function isConverted(granted: Granted): boolean {
  return granted.converted === true;
}

/** Whether `rest` without its end is a slash and then one segment that is not empty. */
function isOneSegment(rest: string, endLength: number): boolean {
  return (
    rest.length > 1 + endLength &&
    rest.charCodeAt(0) === 47 &&
    rest.indexOf("/", 1) === (endLength === 0 ? -1 : rest.length - endLength)
  );
}

/** A secret of another shape is treated like none, as are two: they cannot be the secret of any session. */
function secretOf(request: RequestHead): string | null {
  const secret = rawHeader(request, SESSION_HEADER);
  return isSession(secret) && countOfHeader(request, SESSION_HEADER) === 1 ? secret : null;
}

/**
 * The status says `created`; everything else is the body. Numbers and names that were checked are put
 * between fixed words: JSON.stringify of the whole takes three times as long.
 */
function textOf(granted: Granted): string {
  const { session, feature, seats, member, lifeMs, heartbeatMs, token, converted } = granted;
  return (
    `{"session":"${session}","feature":"${feature}","seats":${seats},` +
    `"member":"${member}","lifeMs":${lifeMs},"heartbeatMs":${heartbeatMs},` +
    (token === undefined ? "" : `"token":"${token}",`) +
    `"pool":${poolText(granted.pool)}${converted === undefined ? "" : `,"converted":${converted}`}}`
  );
}

/** The pool is the same for all clients until a member or the leader changes. */
let lastPool: { readonly leader: string | null; readonly servers: readonly string[] } | null = null;
let lastPoolText = "";

function poolText(pool: Granted["pool"]): string {
  const same =
    lastPool !== null && lastPool.servers === pool.servers && lastPool.leader === pool.leader;
  if (same) return lastPoolText;
  lastPool = pool;
  lastPoolText = JSON.stringify(pool);
  return lastPoolText;
}

function sendJson(response: Reply, status: number, text: string): void {
  const bytes = Buffer.byteLength(text);
  response.writeHead(status, [
    "Content-Type",
    "application/json",
    "Content-Length",
    String(bytes),
    "Cache-Control",
    "no-store",
    "X-Content-Type-Options",
    "nosniff",
  ]);
  // Text that is all ASCII, as nearly all is, goes out without being converted.
  response.end(text, bytes === text.length ? "latin1" : "utf8");
}
