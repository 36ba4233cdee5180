/**
 * The port `Peers` over HTTP: signs a call and posts it to another member.
 *
 * There is no retry here: whether a call may be said twice is the member's business, not the transport's.
 * Answers are not signed. Over TLS or on loopback they come from whom was called; on an open network
 * somebody in between could forge one, which can cost a move of seats but never grant one: what counts is
 * in the store.
 */
import { Agent, request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { Agent as TlsAgent, request as httpsRequest } from "node:https";
import { isRefusal, PEER_BODY_BYTES_MAX, REFUSALS } from "@quorate/core";
import { PEER_PATH, SIGNATURE_HEADER } from "@quorate/protocol";
import { NOT_REACHED, type PeerAnswer, type PeerCall } from "../member/peer-calls.ts";
import type { Peers } from "../member/ports.ts";
import { signedBytes } from "./peer-envelope.ts";
import type { PeerEnvelope } from "./peer-envelope.ts";
import { contextOf } from "./tls.ts";
import type { TlsMaterial } from "./tls.ts";

export interface PeerIdentity {
  readonly id: string;
  /** The Ed25519 signature as base64url, by the member's key. */
  sign(bytes: Uint8Array): string;
  /** Headers that go with a call beside its own; nobody relies on them. */
  headers?(): Record<string, string>;
  /** Told once per reason when another member's certificate is not accepted, or ours is not by it. */
  onUntrusted?(url: string, code: string): void;
}

export interface HttpPeers extends Peers {
  /** Whom to trust from now on, and the certificate to show. */
  useTls(material: TlsMaterial): void;
  close(): void;
}

/** Connections to one member; more calls than that wait, within their deadline. */
const SOCKETS_PER_MEMBER_MAX = 8;
/** Shorter than servers keep an idle connection, so that a call rarely meets one that is closing. */
const IDLE_SOCKET_MS = 20_000;
/** Sequences begin at the microseconds since 1970, so that they grow over restarts. */
const SEQUENCES_PER_MS = 1_000;

const TLS_TROUBLE = /CERT|SSL|TLS|VERIFY|ISSUER/;

export function createPeers(identity: PeerIdentity): HttpPeers {
  const agentOptions = {
    keepAlive: true,
    maxSockets: SOCKETS_PER_MEMBER_MAX,
    timeout: IDLE_SOCKET_MS,
  };
  const agent = new Agent(agentOptions);
  let tlsAgent = new TlsAgent(agentOptions);
  const untrusted = new Map<string, string>();
  let sequence = Date.now() * SEQUENCES_PER_MS;

  return {
    call: async (url, to, call, deadlineMs) => {
      sequence += 1;
      const target = targetOf(url, call);
      if (target === null) return null;
      const envelope: PeerEnvelope = {
        from: identity.id,
        to,
        sequence,
        sentAtMs: Date.now(),
        call,
      };
      const body = Buffer.from(JSON.stringify(envelope));
      if (body.length > PEER_BODY_BYTES_MAX) return null;
      const secure = target.protocol === "https:";
      return new Promise<PeerAnswer | null>((resolve) => {
        const request = (secure ? httpsRequest : httpRequest)(target, {
          method: "POST",
          agent: secure ? tlsAgent : agent,
          headers: {
            ...identity.headers?.(),
            "Content-Type": "application/json",
            "Content-Length": body.length,
            [SIGNATURE_HEADER]: identity.sign(signedBytes(body)),
          },
        });
        const settle = (answer: PeerAnswer | null): void => {
          clearTimeout(deadline);
          resolve(answer);
        };
        const giveUp = (): void => {
          settle(null);
          request.destroy();
        };
        const deadline = setTimeout(giveUp, deadlineMs);
        request.on("error", (error) => {
          // A kept connection that was cut may have carried the call; a refused one has not.
          const code = "code" in error ? String(error.code) : "";
          if (code === "ECONNREFUSED") return settle(NOT_REACHED);
          if (secure && TLS_TROUBLE.test(code) && untrusted.get(to) !== code) {
            // By member, so that there are never more of them than members.
            untrusted.set(to, code);
            identity.onUntrusted?.(url, code);
          }
          return giveUp();
        });
        request.on("response", (response) => readAnswer(response, settle, giveUp));
        request.end(body);
      });
    },
    useTls: (material) => {
      const old = tlsAgent;
      tlsAgent = new TlsAgent({ ...agentOptions, ...contextOf(material) });
      untrusted.clear();
      // Calls that are on their way end by themselves; what is idle after that is closed.
      setTimeout(() => old.destroy(), IDLE_SOCKET_MS).unref();
    },
    close: () => {
      agent.destroy();
      tlsAgent.destroy();
    },
  };
}

function targetOf(url: string, call: PeerCall): URL | null {
  const target = URL.parse(`${url.replace(/\/+$/, "")}${PEER_PATH}/${call.kind}`);
  if (target?.protocol !== "http:" && target?.protocol !== "https:") return null;
  return target;
}

function readAnswer(
  response: IncomingMessage,
  settle: (answer: PeerAnswer | null) => void,
  giveUp: () => void,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > PEER_BODY_BYTES_MAX) giveUp();
    else chunks.push(chunk);
  });
  response.on("error", giveUp);
  // A problem document means that the call itself was not taken: for the caller that is no answer.
  response.on("end", () => settle(response.statusCode === 200 ? answerIn(chunks) : null));
}

function answerIn(chunks: readonly Buffer[]): PeerAnswer | null {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    // Whatever answered, it was no member.
    return null;
  }
  return isPeerAnswer(value) ? value : null;
}

function isPeerAnswer(value: unknown): value is PeerAnswer {
  if (typeof value !== "object" || value === null || !("ok" in value)) return false;
  if (value.ok === true) return true;
  if (value.ok !== false || !("refusal" in value)) return false;
  const { refusal } = value;
  return isRefusal(refusal) && Object.hasOwn(REFUSALS, refusal.refused);
}
