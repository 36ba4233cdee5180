/** The wire over HTTP (design section 5). How bytes travel is the transport's business. */
import {
  AUTHORIZATIONS_PATH,
  SESSION_HEADER,
  authorizationPath,
  heartbeatPath,
} from "@quorate/protocol";
import {
  answerOf,
  featuresAnswerOf,
  type HttpAnswer,
  licenseAnswerOf,
  poolAnswerOf,
  releaseAnswerOf,
} from "./http-answers.ts";
import type { Wire } from "./wire.ts";

/** A longer answer is no answer. */
export const RESPONSE_BYTES_MAX = 1024 * 1024;

export interface HttpCall {
  readonly method: "GET" | "POST" | "DELETE";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  readonly timeoutMs: number;
}

/** Sends one call. Resolves null when nothing of at most RESPONSE_BYTES_MAX came in time. */
export type Transport = (call: HttpCall) => Promise<HttpAnswer | null>;

/** `token` is the program's own, for pools whose clients need one; it goes with every call. */
export function httpWire(transport: Transport, token: string | null = null): Wire {
  async function call<A>(
    server: string,
    method: HttpCall["method"],
    path: string,
    sent: { readonly secret?: string; readonly body?: object },
    timeoutMs: number,
    parse: (answer: HttpAnswer) => A | null,
  ): Promise<A | null> {
    const headers: Record<string, string> = { accept: "application/json" };
    if (token !== null) headers["authorization"] = `Bearer ${token}`;
    if (sent.secret !== undefined) headers[SESSION_HEADER] = sent.secret;
    if (sent.body !== undefined) headers["content-type"] = "application/json";
    const body = sent.body === undefined ? null : JSON.stringify(sent.body);
    const url = server.replace(/\/+$/, "") + path;
    try {
      const answer = await transport({ method, url, headers, body, timeoutMs });
      return answer === null ? null : parse(answer);
    } catch {
      // Whatever a transport throws (a refused connection, a wrong URL) is no answer.
      return null;
    }
  }

  return {
    checkout(server, { secret, ...body }, timeoutMs) {
      return call(server, "POST", AUTHORIZATIONS_PATH, { secret, body }, timeoutMs, answerOf);
    },
    heartbeat(server, { secret, session, ...body }, timeoutMs) {
      return call(server, "POST", heartbeatPath(session), { secret, body }, timeoutMs, answerOf);
    },
    release(server, { session, secret, n, only }, timeoutMs) {
      const query = [
        ...(n === undefined ? [] : [`n=${n}`]),
        ...(only === undefined ? [] : [`only=${encodeURIComponent(only)}`]),
      ].join("&");
      const path = authorizationPath(session) + (query === "" ? "" : `?${query}`);
      return call(server, "DELETE", path, { secret }, timeoutMs, releaseAnswerOf);
    },
    pool(server, timeoutMs) {
      return call(server, "GET", "/v1/pool", {}, timeoutMs, poolAnswerOf);
    },
    features(server, timeoutMs) {
      return call(server, "GET", "/v1/features", {}, timeoutMs, featuresAnswerOf);
    },
    license(server, timeoutMs) {
      return call(server, "GET", "/v1/license", {}, timeoutMs, licenseAnswerOf);
    },
  };
}
