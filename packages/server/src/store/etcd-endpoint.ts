/**
 * One member of an etcd cluster: one channel, what is known of its connection, and single calls.
 *
 * A call is sent only on a connection over which this cluster has answered before (`ready`), so that a failure
 * of `ready` is known to have sent nothing. There is deliberately no retry here and none in the transport.
 */
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  Metadata,
  type ServiceError,
  connectivityState,
  status,
} from "@grpc/grpc-js";
import { type Header, type Method, STATUS } from "./etcd-messages.ts";
import { EtcdCallError } from "./etcd-trouble.ts";

/** A member that failed is not asked for this long, ms, while others are left. */
const DOWN_MS = 1_000;
/** How long one attempt to connect and to be answered may take, ms; it goes on when its caller gave up. */
const CONNECT_MS_MAX = 2_000;
/** One answer; a page of a prefix at 32 KiB a value fits. etcd has no such bound of its own. */
const RECEIVE_BYTES_MAX = 32 * 1024 * 1024;
/** etcd closes the connection of a client that pings more often than every 5 s. */
const PING_EVERY_MS = 10_000;
const PING_ANSWER_MS = 2_000;
const RECONNECT_MS_FIRST = 100;
const RECONNECT_MS_MAX = 1_000;

const CHANNEL_OPTIONS = {
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_http_proxy": 0,
  // A channel that replaces another must not get the old one's connection.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.max_receive_message_length": RECEIVE_BYTES_MAX,
  "grpc.keepalive_time_ms": PING_EVERY_MS,
  "grpc.keepalive_timeout_ms": PING_ANSWER_MS,
  "grpc.keepalive_permit_without_calls": 0,
  "grpc.initial_reconnect_backoff_ms": RECONNECT_MS_FIRST,
  "grpc.max_reconnect_backoff_ms": RECONNECT_MS_MAX,
};

export class EtcdEndpoint {
  readonly url: string;
  /** Told of every header; throws when it is another cluster's. */
  readonly #inspect: (header: Header | null) => void;
  #credentials: ChannelCredentials;
  /** The channel was made with credentials of before: once its connection breaks it is replaced. */
  #isStale = false;
  readonly #onDown = new Set<() => void>();
  #client: Client;
  #verified = false;
  #verifying: Promise<void> | null = null;
  #downUntilMs = Number.NEGATIVE_INFINITY;
  #answeredAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(
    url: string,
    credentials: ChannelCredentials,
    inspect: (header: Header | null) => void,
  ) {
    this.url = url;
    this.#credentials = credentials;
    this.#inspect = inspect;
    this.#client = this.#connect();
  }

  get downUntilMs(): number {
    return this.#downUntilMs;
  }

  /** A connection that stands keeps what it began with. */
  useCredentials(credentials: ChannelCredentials): void {
    this.#credentials = credentials;
    this.#isStale = true;
    this.isReady();
  }

  /** Whether a call would go out at once; starts connecting when not. */
  isReady(): boolean {
    const state = this.#client.getChannel().getConnectivityState(true);
    if (this.#isStale && state !== connectivityState.READY) this.#replaceChannel();
    return this.#verified && state === connectivityState.READY;
  }

  /**
   * Resolves when the connection stands and the right cluster has answered over it. Rejects with EtcdCallError
   * when that fails, or is not so within `waitMs`; then nothing was asked but the status.
   */
  async ready(waitMs: number): Promise<void> {
    this.#assertOpen();
    if (this.isReady()) return;
    this.#verifying ??= this.#verify().finally(() => {
      this.#verifying = null;
    });
    await within(this.#verifying, waitMs);
  }

  /** One call; rejects with EtcdCallError. */
  async call<Out, In>(
    method: Method<Out, In>,
    request: In,
    metadata: Metadata,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<Out> {
    this.#assertOpen();
    const sentAtMs = performance.now();
    try {
      const response = await new Promise<Out>((resolve, reject) => {
        const call = this.#client.makeUnaryRequest<In, Out>(
          method.path,
          (value) => method.request.encode(value),
          (bytes) => method.response.decode(bytes),
          request,
          metadata,
          { deadline: Date.now() + deadlineMs },
          (error: ServiceError | null, value?: Out) => {
            signal?.removeEventListener("abort", cancel);
            if (error !== null) reject(new EtcdCallError(error.code, error.details));
            else if (value === undefined) reject(new EtcdCallError(status.INTERNAL, "no answer"));
            else resolve(value);
          },
        );
        const cancel = (): void => call.cancel();
        signal?.addEventListener("abort", cancel, { once: true });
      });
      this.#answeredAtMs = performance.now();
      return response;
    } catch (error) {
      if (!(error instanceof EtcdCallError)) throw error;
      if (error.code !== status.DEADLINE_EXCEEDED) this.#answeredAtMs = performance.now();
      // Nothing at all came back since the send: the connection may be cut without a sign of it.
      else if (this.#answeredAtMs < sentAtMs) this.#replaceChannel();
      throw error;
    }
  }

  /** A stream in both directions, which the caller ends. */
  stream<Out, In>(method: Method<Out, In>, metadata: Metadata): ClientDuplexStream<In, Out> {
    this.#assertOpen();
    return this.#client.makeBidiStreamRequest<In, Out>(
      method.path,
      (value) => method.request.encode(value),
      (bytes) => method.response.decode(bytes),
      metadata,
    );
  }

  /** It failed: others are asked for a while, and streams from it are told to move. */
  down(): void {
    this.#downUntilMs = performance.now() + DOWN_MS;
    for (const told of this.#onDown) told();
  }

  /** Returns how to stop being told. */
  onDown(told: () => void): () => void {
    this.#onDown.add(told);
    return () => this.#onDown.delete(told);
  }

  close(): void {
    this.#closed = true;
    this.#client.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw new EtcdCallError(status.CANCELLED, "the store was closed");
  }

  async #verify(): Promise<void> {
    const client = this.#client;
    const { header } = await this.call(STATUS, {}, new Metadata(), CONNECT_MS_MAX);
    this.#inspect(header);
    const channel = client.getChannel();
    if (client !== this.#client) throw new EtcdCallError(status.UNAVAILABLE, "reconnecting");
    if (channel.getConnectivityState(false) !== connectivityState.READY) {
      throw new EtcdCallError(status.UNAVAILABLE, "the connection broke");
    }
    this.#verified = true;
    // Whatever listens there after a break must prove again that it is the same cluster.
    channel.watchConnectivityState(connectivityState.READY, Infinity, () => {
      if (client === this.#client) this.#verified = false;
    });
  }

  #replaceChannel(): void {
    if (this.#closed) return;
    const old = this.#client;
    this.#isStale = false;
    this.#verified = false;
    this.#client = this.#connect();
    old.close();
  }

  #connect(): Client {
    return new Client(addressOf(this.url), this.#credentials, CHANNEL_OPTIONS);
  }
}

/** With the port even where it is the scheme's own, which URL leaves out and gRPC would take for another. */
function addressOf(url: string): string {
  const { hostname, port, protocol } = new URL(url);
  return `${hostname}:${port === "" ? (protocol === "https:" ? 443 : 80) : port}`;
}

async function within(promise: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new EtcdCallError(status.DEADLINE_EXCEEDED, "no answer to the connection")),
      ms,
    );
  });
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
