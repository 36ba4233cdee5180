/**
 * HTTP by `node:http` with connections that are kept: a heartbeat costs a fraction of what `fetch` takes, and
 * a program may hold thousands of sessions.
 */
import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { deferred } from "./deferred.ts";
import type { HttpAnswer } from "./http-answers.ts";
import { RESPONSE_BYTES_MAX, type Transport } from "./http-wire.ts";

const SOCKETS_MAX = 64;
const IDLE_SOCKETS_MAX = 8;

export interface NodeTransportOptions {
  /** PEM of who signs the servers' certificates; those alone are trusted then, instead of the system's list. */
  readonly ca?: string;
  /** PEM of a certificate to show to servers that ask for one, and its private key. */
  readonly cert?: string;
  readonly key?: string;
}

export function nodeTransport(tls: NodeTransportOptions = {}): Transport {
  const kept = { keepAlive: true, maxSockets: SOCKETS_MAX, maxFreeSockets: IDLE_SOCKETS_MAX };
  const agent = new Agent(kept);
  const secureAgent = new SecureAgent({ ...kept, ...tls });
  return ({ method, url, headers, body, timeoutMs }) => {
    const { promise, resolve } = deferred<HttpAnswer | null>();
    const secure = url.startsWith("https:");
    const options = { method, headers, signal: AbortSignal.timeout(timeoutMs) };
    const request = secure
      ? secureRequest(url, { ...options, agent: secureAgent })
      : httpRequest(url, { ...options, agent });
    // Refused, reset, aborted: there is no answer, which the caller handles like silence.
    request.on("error", () => resolve(null));
    request.on("response", (response) => collect(response, resolve));
    request.end(body ?? undefined);
    return promise;
  };
}

function collect(response: IncomingMessage, resolve: (answer: HttpAnswer | null) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.byteLength;
    if (bytes > RESPONSE_BYTES_MAX) response.destroy();
    else chunks.push(chunk);
  });
  response.on("error", () => resolve(null));
  response.on("close", () => {
    const status = response.statusCode ?? 0;
    const body = Buffer.concat(chunks).toString("utf8");
    resolve(response.complete && bytes <= RESPONSE_BYTES_MAX ? { status, body } : null);
  });
}
