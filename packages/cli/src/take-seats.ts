/** One checkout through the SDK, with refusals as words and exit codes. For `checkout` and `run`. */
import { REFUSALS, type RefusalCode } from "@quorate/core";
import {
  type Authorization,
  httpWire,
  nodeClient,
  nodeHolder,
  NoServerError,
  RefusedError,
  type QuorateClient,
  type SessionIdentity,
  type Transport,
  type Wire,
} from "@quorate/client/node";
import { type Granted, newSecret, sessionOf } from "@quorate/protocol";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { Failure } from "./failure.ts";
import { askServer } from "./own-fetch.ts";
import { ownToken } from "./own-token.ts";

export interface Wanted {
  readonly servers: readonly string[];
  readonly feature: string;
  readonly seats: number;
  readonly version?: string | undefined;
  readonly user?: string | undefined;
  readonly host?: string | undefined;
  /** The process that uses the seat, if it is not this one. */
  readonly process?: number;
  readonly waitMs: number;
}

export interface Taken {
  readonly client: QuorateClient;
  readonly authorization: Authorization;
  readonly identity: SessionIdentity;
  readonly granted: Granted;
  /** The highest number sent. */
  readonly n: number;
}

/** So many calls in a row without an answer are worth a word to a person who waits. */
const SILENCE_CALLS = 3;

/** Throws `Failure`: denied, or nobody answered. Interrupted by `signal`, it throws the signal's reason. */
export async function takeSeats(wanted: Wanted, signal?: AbortSignal): Promise<Taken> {
  const secret = newSecret(crypto.getRandomValues(new Uint8Array(32)));
  const identity = { secret, session: await sessionOf(secret) };
  const listening = listeningWire(wanted.waitMs > 0);
  let first = true;
  const client = nodeClient({
    servers: wanted.servers,
    wire: listening.wire,
    // Whoever asked decides what happens at the end.
    releaseOnExit: false,
    newSession: async () => {
      if (!first) return newIdentity();
      first = false;
      return identity;
    },
  });
  const own = nodeHolder();
  const holder = {
    user: wanted.user ?? own.user,
    host: wanted.host ?? own.host,
    process: String(wanted.process ?? process.pid),
  };
  try {
    const authorization = await client.checkout({
      feature: wanted.feature,
      seats: wanted.seats,
      ...(wanted.version === undefined ? {} : { version: wanted.version }),
      holder,
      waitMs: wanted.waitMs,
      ...(signal === undefined ? {} : { signal }),
      onQueued: tellPlace(wanted.feature),
    });
    const { granted } = listening;
    if (granted === null) throw new Error("a checkout that succeeded has an answer");
    return { client, authorization, identity, granted, n: listening.n };
  } catch (error) {
    await client.close();
    throw asFailure(error);
  }
}

async function newIdentity(): Promise<SessionIdentity> {
  const secret = newSecret(crypto.getRandomValues(new Uint8Array(32)));
  return { secret, session: await sessionOf(secret) };
}

interface ListeningWire {
  readonly wire: Wire;
  granted: Granted | null;
  n: number;
}

/** Notes what a later release needs, and tells somebody who waits that nobody answers. */
function listeningWire(tellSilence: boolean): ListeningWire {
  const inner = httpWire(fetchTransport, ownToken());
  let silentCalls = 0;
  const noted: ListeningWire = {
    granted: null,
    n: 0,
    wire: {
      ...inner,
      async checkout(server, request, timeoutMs) {
        noted.n = Math.max(noted.n, request.n ?? 0);
        const answer = await inner.checkout(server, request, timeoutMs);
        if (answer !== null && !("refused" in answer)) noted.granted = answer;
        silentCalls = answer === null ? silentCalls + 1 : 0;
        if (tellSilence && silentCalls === SILENCE_CALLS) {
          console.error("quorate: no license server answers; trying on until the wait is over");
        }
        return answer;
      },
      heartbeat(server, request, timeoutMs) {
        noted.n = Math.max(noted.n, request.n ?? 0);
        return inner.heartbeat(server, request, timeoutMs);
      },
    },
  };
  return noted;
}

const fetchTransport: Transport = async ({ method, url, headers, body, timeoutMs }) => {
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await askServer(url, { method, headers, body, signal });
  return { status: response.status, body: await response.text() };
};

/** A word on stderr each time the place changes. */
function tellPlace(feature: string): (place: number | null) => void {
  let told: number | null | undefined;
  return (place) => {
    if (place === told) return;
    told = place;
    const words = place === null ? "" : `, place ${place} in the queue`;
    console.error(`quorate: waiting for ${feature}${words}`);
  };
}

function asFailure(error: unknown): unknown {
  if (error instanceof NoServerError) return new Failure(error.message, EXIT.unreachable);
  if (!(error instanceof RefusedError)) return error;
  const words = error.detail === "" ? REFUSALS[error.code].title : error.detail;
  // The servers speak to programs of any kind; here a person can be told the option.
  return new Failure(
    words.replace(/\bwith waitMs\b/, "with --wait"),
    exitOf(error.code),
    error.code,
  );
}

function exitOf(code: RefusalCode): ExitCode {
  switch (REFUSALS[code].next) {
    case "try-others":
    case "go-to-leader":
      return EXIT.unreachable;
    case "again-later":
      return code === "busy" ? EXIT.unreachable : EXIT.denied;
    case "repeat":
    case "over":
      return EXIT.denied;
    case "stop":
      return code === "bad-request" ? EXIT.usage : EXIT.failure;
  }
}
