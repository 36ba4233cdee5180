/**
 * What one address (of IPv6 a network of 64 bits) may take of this server, so that a machine that runs wild takes nothing from the others:
 * connections, requests in a stretch of time, and guesses at the administrator's token.
 *
 * Whoever is on this machine has no limit of the first two: a proxy or a busy build host is one address. The
 * third holds for everybody: nobody needs ten wrong tokens in a row.
 */
import type { Socket } from "node:net";
import type { Server } from "node:http";
import { type Refusal, refuse } from "@quorate/core";
import { Bucket } from "./bucket.ts";
import { addressKey, isLoopback } from "./client-address.ts";
import type { HttpLimits } from "./http-limits.ts";
import type { RequestHead } from "./raw-header.ts";

export interface AddressLimits {
  /** Counts connections from now on; those above the bound are closed at once. */
  watch(server: Server): void;
  /** Takes one request of the sender's share: no look-up and no text is made on the way. */
  request(request: RequestHead): Refusal | null;
  /** For a session that is there, once nothing else is left: whether there is one of that share. */
  heartbeat(request: RequestHead): boolean;
  /** For a request that its own client had no share left for: others of the address go on. */
  giveBack(request: RequestHead): void;
  /** Whether this sender guessed too often lately, and whether the guess that follows was wrong. */
  readonly guesses: Guesses;
}

export interface Guesses {
  refusal(request: RequestHead): Refusal | null;
  wrong(request: RequestHead): void;
}

interface Share {
  connections: number;
  readonly requests: Bucket;
  readonly heartbeats: Bucket;
}

interface Failures {
  count: number;
  untilMs: number;
}

/** So many addresses are remembered; the one that was heard of longest ago is forgotten first. */
const ADDRESSES_MAX = 10_000;
const FREE_GUESSES = 10;
const FIRST_WAIT_MS = 1_000;
const WAIT_MS_MAX = 60_000;
/** Without a wrong guess for so long, an address begins anew. */
const FORGET_MS = 15 * 60_000;

export function createAddressLimits(
  limits: HttpLimits,
  nowMs: () => number = () => performance.now(),
): AddressLimits {
  const requests = { perSecond: limits.addressRequestsPerSecond, burst: limits.addressBurst };
  const heartbeats = {
    perSecond: limits.addressHeartbeatsPerSecond,
    burst: limits.addressHeartbeatBurst,
  };
  const shares = new Map<string, Share>();
  /** By the connection, so that a request costs no look-up by text. Not there: no limit. */
  const shareOf = new WeakMap<Socket, Share>();

  const open = (socket: Socket): void => {
    const { remoteAddress } = socket;
    if (remoteAddress === undefined || isLoopback(remoteAddress)) return;
    const address = addressKey(remoteAddress);
    const share = shares.get(address) ?? {
      connections: 0,
      requests: new Bucket(requests, nowMs),
      heartbeats: new Bucket(heartbeats, nowMs),
    };
    if (share.connections >= limits.addressConnectionsMax) {
      // There is no request yet to be answered, and over TLS no way to say a word.
      socket.destroy();
      return;
    }
    share.connections += 1;
    shares.set(address, share);
    shareOf.set(socket, share);
    socket.once("close", () => {
      share.connections -= 1;
      // An address without a connection whose share is full again is as good as new; others wait their turn.
      if (share.connections === 0) tidy(shares, address, share);
    });
  };
  const tidy = (all: Map<string, Share>, address: string, share: Share): void => {
    if (share.requests.isFull() && share.heartbeats.isFull()) all.delete(address);
    if (all.size <= ADDRESSES_MAX) return;
    for (const [each, { connections }] of all) {
      if (connections === 0) all.delete(each);
      if (all.size <= ADDRESSES_MAX) return;
    }
  };
  return {
    watch: (server) => {
      server.on("connection", open);
      // Over TLS requests come on a socket that wraps the one that was counted.
      server.on("secureConnection", (secure: Socket) => {
        const { remoteAddress = "" } = secure;
        const share = isLoopback(remoteAddress) ? undefined : shares.get(addressKey(remoteAddress));
        if (share !== undefined) shareOf.set(secure, share);
      });
    },
    request: ({ socket }) => {
      const share = shareOf.get(socket);
      if (share === undefined) return null;
      return share.requests.take() ? null : TOO_MANY;
    },
    heartbeat: ({ socket }) => shareOf.get(socket)?.heartbeats.take() ?? true,
    giveBack: ({ socket }) => shareOf.get(socket)?.requests.giveBack(),
    guesses: createGuesses(nowMs),
  };
}

function createGuesses(nowMs: () => number): Guesses {
  const failures = new Map<string, Failures>();
  return {
    refusal: ({ socket }) => {
      const known = failures.get(addressKey(socket.remoteAddress));
      if (known === undefined) return null;
      const leftMs = known.untilMs - nowMs();
      if (leftMs <= 0) return null;
      return refuse("busy", "Too many wrong tokens came from this address. Wait, then try again.", {
        retryAfterMs: leftMs,
      });
    },
    wrong: ({ socket }) => {
      const address = addressKey(socket.remoteAddress);
      const at = nowMs();
      const before = failures.get(address);
      const stale = before === undefined || at - before.untilMs > FORGET_MS;
      const count = stale ? 1 : before.count + 1;
      const over = count - FREE_GUESSES;
      const waitMs = over < 0 ? 0 : Math.min(WAIT_MS_MAX, FIRST_WAIT_MS * 2 ** Math.min(over, 10));
      // Put in anew, so that the order of the map is the order of the last wrong guess.
      failures.delete(address);
      failures.set(address, { count, untilMs: at + waitMs });
      if (failures.size <= ADDRESSES_MAX) return;
      const oldest = failures.keys().next();
      if (oldest.done !== true) failures.delete(oldest.value);
    },
  };
}

const TOO_MANY = refuse(
  "busy",
  "Too many requests come from this address. Back off, then try again.",
  { retryAfterMs: 1_000 },
);
