/**
 * What one client may take of this server: whoever has proved by a token, a login or a certificate who it is. A
 * program that runs wild takes nothing from the others of its address, nor a token that is used from everywhere
 * from the others of the pool. Who has proved nothing is counted by its address alone (`address-limits.ts`).
 *
 * Heartbeats have a share of their own, so that new requests never take it from them, and it is the larger one: a
 * whole site may share one token.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { TLSSocket } from "node:tls";
import { type Refusal, refuse } from "@quorate/core";
import { Bucket } from "./bucket.ts";
import type { HttpLimits } from "./http-limits.ts";

/** `heartbeats`: of sessions that are there already; `streams`: requests that stay; all else are `requests`. */
export type ShareKind = "requests" | "heartbeats" | "streams";

export interface ClientShare {
  /** Takes one, if the client has not too many under way either. */
  take(kind: ShareKind): Refusal | null;
  /** One is under way from now on. */
  begin(kind: ShareKind): void;
  end(kind: ShareKind): void;
}

export interface ClientLimits {
  /** `source`: who it is, whichever way it says so: a token and the logins with it are one client. */
  of(source: string): ClientShare;
  /** By the certificate that TLS has verified. */
  ofCertificate(socket: TLSSocket): ClientShare;
  /**
   * Takes one request, which is under way until its answer is out. One that is looked at twice, as a reader's and
   * as an administrator's, counts once.
   */
  hold(
    share: ClientShare,
    kind: ShareKind,
    request: IncomingMessage,
    response: ServerResponse,
  ): Refusal | null;
}

/** So many clients are remembered at most, and of those that were heard of lately half as many at least. */
export const CLIENTS_MAX = 10_000;

export function createClientLimits(
  limits: HttpLimits,
  nowMs: () => number = () => performance.now(),
): ClientLimits {
  /**
   * Those that were heard of since the last change, and those that were before. Whoever is in neither begins anew;
   * whoever asks all the time is never forgotten. One map in the order of use would be written at each request.
   */
  let recent = new Map<string, Share>();
  let before = new Map<string, Share>();
  /** Reading a certificate takes longer than the rest of a request. */
  const sourceOf = new WeakMap<TLSSocket, string>();
  const counted = new WeakSet<IncomingMessage>();

  const of = (source: string): Share => {
    const known = recent.get(source);
    if (known !== undefined) return known;
    const share = before.get(source) ?? new Share(limits, nowMs);
    if (recent.size >= CLIENTS_MAX / 2) {
      before = recent;
      recent = new Map();
    }
    recent.set(source, share);
    return share;
  };

  return {
    of,
    ofCertificate: (socket) => {
      let source = sourceOf.get(socket);
      if (source === undefined) {
        source = `certificate ${socket.getPeerX509Certificate()?.fingerprint256 ?? ""}`;
        sourceOf.set(socket, source);
      }
      return of(source);
    },
    hold: (share, kind, request, response) => {
      if (counted.has(request)) return null;
      const excess = share.take(kind);
      if (excess !== null) return excess;
      counted.add(request);
      share.begin(kind);
      response.once("close", () => share.end(kind));
      return null;
    },
  };
}

class Share implements ClientShare {
  readonly #requests: Part;
  readonly #streams: Part;
  readonly #heartbeats: Part;

  constructor(limits: HttpLimits, nowMs: () => number) {
    const requests = { perSecond: limits.clientRequestsPerSecond, burst: limits.clientBurst };
    const bucket = new Bucket(requests, nowMs);
    this.#requests = new Part(bucket, limits.clientUnderWayMax);
    this.#streams = new Part(bucket, limits.clientStreamsMax);
    this.#heartbeats = new Part(
      new Bucket(
        { perSecond: limits.clientHeartbeatsPerSecond, burst: limits.clientHeartbeatBurst },
        nowMs,
      ),
      limits.clientHeartbeatsUnderWayMax,
    );
  }

  take(kind: ShareKind): Refusal | null {
    const part = this.#of(kind);
    if (part.underWay >= part.underWayMax) return TOO_MANY_UNDER_WAY;
    return part.bucket.take() ? null : TOO_MANY;
  }

  begin(kind: ShareKind): void {
    this.#of(kind).underWay += 1;
  }

  end(kind: ShareKind): void {
    this.#of(kind).underWay -= 1;
  }

  #of(kind: ShareKind): Part {
    if (kind === "heartbeats") return this.#heartbeats;
    return kind === "streams" ? this.#streams : this.#requests;
  }
}

class Part {
  readonly bucket: Bucket;
  readonly underWayMax: number;
  underWay = 0;

  constructor(bucket: Bucket, underWayMax: number) {
    this.bucket = bucket;
    this.underWayMax = underWayMax;
  }
}

const TOO_MANY = refuse(
  "busy",
  "Too many requests come with this token or certificate. Back off, then try again.",
  { retryAfterMs: 1_000 },
);
const TOO_MANY_UNDER_WAY = refuse(
  "busy",
  "Too many requests with this token or certificate wait for their answers. Back off, then try again.",
  { retryAfterMs: 1_000 },
);
