/**
 * Calls to an etcd cluster: its members in turn, the user's token, and the certainty whether a failed call may
 * have been carried out.
 *
 * Rule: a call that may have reached etcd is never repeated, except one that only reads. What certainly did
 * not reach it, or was refused undone, goes to another member until the deadline.
 */
import { type ChannelCredentials, Metadata, status } from "@grpc/grpc-js";
import { EtcdEndpoint } from "./etcd-endpoint.ts";
import { AUTHENTICATE, type Header, type Method } from "./etcd-messages.ts";
import {
  EtcdCallError,
  awaySentence,
  boundSentence,
  isRefusedUndone,
  isStaleToken,
} from "./etcd-trouble.ts";
import { StoreLostError } from "./store.ts";

export interface EtcdUser {
  readonly name: string;
  readonly password: string;
}

/** No good answer: it may have been carried out, and may still be. The message is for people. */
export class EtcdUnknown extends Error {
  override readonly name = "EtcdUnknown";
}

/** Between two rounds over all members while none can be asked, ms. */
const ROUND_PAUSE_MS = 50;
/** A member whose connection is not ready gets at least this much of the deadline, ms. */
const READY_MS_MIN = 50;
/** Changes of token within one call; a second refusal of a fresh one is no question of age. */
const TOKENS_MAX = 2;
const AUTHENTICATE_MS_MAX = 2_000;
/** etcd's answer to this call, whichever member gives it; no failure of the member. */
const FINAL = new Set<status>([
  status.INVALID_ARGUMENT,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.CANCELLED,
]);

export class EtcdClient {
  readonly endpoints: readonly EtcdEndpoint[];
  readonly #name: string;
  readonly #user: EtcdUser | null;
  readonly #closed = new AbortController();
  #preferred = 0;
  #clusterId: bigint | null = null;
  #lost: StoreLostError | null = null;
  #token: Promise<string> | null = null;

  constructor(
    name: string,
    urls: readonly string[],
    credentialsOf: (url: string) => ChannelCredentials,
    user: EtcdUser | null,
  ) {
    this.#name = name;
    this.#user = user;
    this.endpoints = urls.map(
      (url) => new EtcdEndpoint(url, credentialsOf(url), (header) => this.inspect(header)),
    );
  }

  get isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  get lost(): StoreLostError | null {
    return this.#lost;
  }

  /**
   * Rejects with EtcdUnknown, with RangeError past a bound of etcd's, and with StoreLostError when another
   * cluster answers.
   */
  async call<Out extends { readonly header: Header | null }, In>(
    method: Method<Out, In>,
    request: In,
    deadlineMs: number,
    onlyReads: boolean,
  ): Promise<Out> {
    const deadlineAtMs = performance.now() + deadlineMs;
    let why = `${this.#name} gave no answer within ${deadlineMs} ms`;
    let tried = new Set<EtcdEndpoint>();
    let tokens = 0;
    for (;;) {
      if (this.#lost !== null) throw this.#lost;
      if (this.isClosed) throw new EtcdUnknown("the store was closed");
      const leftMs = deadlineAtMs - performance.now();
      if (leftMs <= 0) throw new EtcdUnknown(why);
      const endpoint = this.#pick(tried);
      if (endpoint === null) {
        tried = new Set();
        await this.pause(Math.min(ROUND_PAUSE_MS, leftMs));
        continue;
      }
      let metadata: Metadata;
      try {
        const shareMs = Math.max(leftMs / (this.endpoints.length - tried.size), READY_MS_MIN);
        await endpoint.ready(Math.min(shareMs, leftMs));
        metadata = await this.metadata(endpoint);
      } catch (error) {
        // Nothing was sent.
        why = this.#failed(endpoint, error);
        tried.add(endpoint);
        continue;
      }
      // BEFORE the send: what is late now must stay unsent.
      const callMs = deadlineAtMs - performance.now();
      if (callMs <= 0) throw new EtcdUnknown(why);
      try {
        const { signal } = this.#closed;
        const response = await endpoint.call(method, request, metadata, callMs, signal);
        this.inspect(response.header);
        this.#preferred = this.endpoints.indexOf(endpoint);
        return response;
      } catch (error) {
        const bound = boundSentence(error);
        if (bound !== null) throw new RangeError(bound, { cause: error });
        if (isStaleToken(error) && this.#user !== null && tokens < TOKENS_MAX) {
          tokens += 1;
          this.forgetToken();
          continue;
        }
        why = this.#failed(endpoint, error);
        tried.add(endpoint);
        if (!isRefusedUndone(error) && !onlyReads) throw new EtcdUnknown(why, { cause: error });
        if (isFinal(error)) throw new EtcdUnknown(why, { cause: error });
      }
    }
  }

  /** For every connection with TLS that is made from now on. */
  useCredentials(credentials: ChannelCredentials): void {
    for (const endpoint of this.endpoints) {
      if (endpoint.url.startsWith("https:")) endpoint.useCredentials(credentials);
    }
  }

  /** A member over whose connection a stream can start, or an EtcdUnknown. */
  async readyEndpoint(waitMs: number): Promise<EtcdEndpoint> {
    const endpoint = this.#pick(new Set());
    if (endpoint === null) throw new EtcdUnknown("no member of etcd is known");
    try {
      await endpoint.ready(waitMs);
      return endpoint;
    } catch (error) {
      throw new EtcdUnknown(this.#failed(endpoint, error), { cause: error });
    }
  }

  /**
   * With the user's token, and the wish to be refused by a member without a leader: a watch on a member that is
   * cut off would stay silent otherwise.
   */
  async metadata(endpoint: EtcdEndpoint): Promise<Metadata> {
    const metadata = new Metadata();
    metadata.set("hasleader", "true");
    if (this.#user === null) return metadata;
    const { name, password } = this.#user;
    if (this.#token === null) {
      // All calls share it, so it has a deadline of its own; each caller counts its own beside it.
      const { signal } = this.#closed;
      const asked = endpoint
        .call(AUTHENTICATE, { name, password }, metadata, AUTHENTICATE_MS_MAX, signal)
        .then(({ token }) => token);
      this.#token = asked;
      // Whoever waits for it is told of the failure; the next one asks anew.
      asked.catch(() => {
        if (this.#token === asked) this.#token = null;
      });
    }
    metadata.set("token", await this.#token);
    return metadata;
  }

  forgetToken(): void {
    this.#token = null;
  }

  /** Throws StoreLostError, now and from now on, when the header is another cluster's than the first one seen. */
  inspect(header: Header | null): void {
    if (header === null) return;
    this.#clusterId ??= header.clusterId;
    if (header.clusterId === this.#clusterId) return;
    this.#lost ??= new StoreLostError(
      `Another etcd cluster (${header.clusterId.toString(16)}) answers at ${this.#name} than before (${this.#clusterId.toString(16)}). Correct the addresses; if the old cluster is really gone, start this member again and run: quorate pool rebuild`,
    );
    throw this.#lost;
  }

  /** Ends early when the client is closed. */
  async pause(ms: number): Promise<void> {
    const { signal } = this.#closed;
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(end, ms);
      function end(): void {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      }
      signal.addEventListener("abort", end, { once: true });
    });
  }

  close(): void {
    this.#closed.abort();
    for (const endpoint of this.endpoints) endpoint.close();
  }

  /** The one that answered last, then those after it; ready ones first, and those that failed lately last. */
  #pick(tried: ReadonlySet<EtcdEndpoint>): EtcdEndpoint | null {
    if (this.isClosed) return null;
    const nowMs = performance.now();
    const inTurn = this.endpoints.map(
      (_, i) => this.endpoints[(i + this.#preferred) % this.endpoints.length]!,
    );
    let best: EtcdEndpoint | null = null;
    let bestRank = Infinity;
    for (const endpoint of inTurn) {
      // Asked of all, so that the connections to all of them stand before they are needed.
      const ready = endpoint.isReady();
      if (tried.has(endpoint)) continue;
      const rank = endpoint.downUntilMs > nowMs ? 1 + endpoint.downUntilMs : ready ? 0 : 1;
      if (rank < bestRank) [best, bestRank] = [endpoint, rank];
    }
    return best;
  }

  /** Marks the member down when it is its failure; returns the reason in words. */
  #failed(endpoint: EtcdEndpoint, error: unknown): string {
    if (error instanceof StoreLostError) throw error;
    if (!(error instanceof EtcdCallError)) throw error;
    if (!FINAL.has(error.code)) endpoint.down();
    return awaySentence(endpoint.url, error);
  }
}

/** Asking another member would give the same. */
function isFinal(error: unknown): boolean {
  return error instanceof EtcdCallError && FINAL.has(error.code) && !isRefusedUndone(error);
}
