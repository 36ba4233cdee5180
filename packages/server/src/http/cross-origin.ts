/**
 * Which web pages may read answers: those that a member of this pool served. The console of a member that
 * died goes on with the others, so its origin, a member's URL, is let in; nobody else's is, and never `*`.
 *
 * The cookie of a login counts for pages of the member itself and of the pool's members, and for nobody else's;
 * what changes the pool needs the login's mark as well (`logins.ts`).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { PoolAnswer } from "@quorate/protocol";
import { rawHeader, type RequestHead } from "./raw-header.ts";

/** A pool's URLs change when a server is replaced; a browser's requests come several a second. */
const ORIGINS_KEPT_MS = 1_000;
const PREFLIGHT_SECONDS = 600;

/** Whether pages of this origin were served by a member of the pool. */
export type PoolOrigins = (origin: string) => boolean;

/** True when the request was a preflight and is answered. */
export type CrossOrigin = (request: IncomingMessage, response: ServerResponse) => boolean;

export function poolOriginsOf(pool: () => PoolAnswer): PoolOrigins {
  let origins: ReadonlySet<string> = new Set();
  let readAtMs = -Infinity;
  return (origin) => {
    const nowMs = performance.now();
    if (nowMs - readAtMs > ORIGINS_KEPT_MS) {
      origins = new Set(pool().members.flatMap((member) => originsOf(member.url)));
      readAtMs = nowMs;
    }
    return origins.has(origin);
  };
}

export function crossOriginOf(isOfPool: PoolOrigins): CrossOrigin {
  return (request, response) => {
    const origin = rawHeader(request, "origin");
    // Nearly all traffic is programs', which have none.
    if (origin === undefined) return false;
    if (!isOfPool(origin)) return false;
    response.setHeader("Access-Control-Allow-Origin", origin);
    response.setHeader("Access-Control-Allow-Credentials", "true");
    response.setHeader("Vary", "Origin");
    const asked = request.headers["access-control-request-method"];
    if (request.method !== "OPTIONS" || asked === undefined) return false;
    response.writeHead(204, {
      "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
      "Access-Control-Allow-Headers": "Authorization, Content-Type, Quorate-CSRF",
      "Access-Control-Max-Age": String(PREFLIGHT_SECONDS),
    });
    response.end();
    return true;
  };
}

/**
 * Whether the page that makes the browser send this is neither this member's own nor the pool's. Behind a proxy the
 * page has the proxy's name, which is the request's `Host`; whether TLS ends there cannot be seen from here.
 */
export function isForeignTo(isOfPool: PoolOrigins): (request: RequestHead) => boolean {
  return (request) => {
    const origin = rawHeader(request, "origin");
    if (origin === undefined) return rawHeader(request, "sec-fetch-site") === "cross-site";
    if (isOfPool(origin)) return false;
    const host = rawHeader(request, "host");
    return host === undefined || (origin !== `http://${host}` && origin !== `https://${host}`);
  };
}

/**
 * The origins of pages that a member at `url` serves. On the machine itself people type `localhost` for
 * 127.0.0.1, which is another origin to a browser although it is the same server.
 */
export function originsOf(url: string): string[] {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    // A member that has just made its record may not know its own URL yet.
    return [];
  }
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") return [];
  const { origin, hostname, port, protocol } = parsed;
  if (hostname !== "127.0.0.1" && hostname !== "[::1]") return [origin];
  return [origin, `${protocol}//localhost${port === "" ? "" : `:${port}`}`];
}
