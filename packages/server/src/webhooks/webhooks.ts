/**
 * Tells receivers of the administrator's choice what happened, in the background: a grant never waits for one.
 *
 *   event ──> what concerns people ──> a queue per receiver ──> POST, signed ──2xx──> done
 *                                              └── else again, later and later, then given up
 *
 * Deliberately absent: a disk. What is not delivered when the process ends is not delivered.
 */
import { Counter, Gauge } from "prom-client";
import type { Metric } from "prom-client";
import type { MemberEvent } from "@quorate/protocol";
import type { Log } from "../member/ports.ts";
import { signatureHeaders } from "./signature.ts";

export interface WebhookTarget {
  readonly urls: readonly string[];
  readonly key: Buffer;
}

export interface WebhookOptions extends WebhookTarget {
  readonly member: string;
  readonly pool: () => string | null;
  readonly log: Log;
  readonly bounds?: Partial<WebhookBounds>;
}

export interface WebhookBounds {
  /** Messages that wait for one receiver; the oldest goes when there are more. */
  readonly queuedMax: number;
  readonly tries: number;
  /** Pause after the first failure; doubled after each further one. */
  readonly firstPauseMs: number;
  readonly pauseMsMax: number;
  readonly answerMs: number;
  /** Denials of one feature for one reason are told together, this often. */
  readonly denialsMs: number;
}

const BOUNDS: WebhookBounds = {
  queuedMax: 1_000,
  tries: 10,
  firstPauseMs: 1_000,
  pauseMsMax: 5 * 60_000,
  answerMs: 10_000,
  denialsMs: 60_000,
};
/** Features and reasons whose denials are counted at a time. */
const DENIALS_MAX = 1_000;

/** What people want to be woken or written to for; all else is in the stream of events. */
const WEBHOOK_TYPES: ReadonlySet<string> = new Set([
  "seat-limit-reached",
  "denied",
  "member-lost",
  "license-expires",
  "majority-lost",
  "majority-reached",
]);

export interface Webhooks {
  hear(event: MemberEvent): void;
  readonly metrics: readonly Metric[];
  close(): void;
}

interface Message {
  readonly id: string;
  readonly body: string;
}

type Outcome = "delivered" | "retried" | "dropped";

export function createWebhooks(options: WebhookOptions): Webhooks {
  const { member, pool, key, log } = options;
  const bounds = { ...BOUNDS, ...options.bounds };
  const ended = new AbortController();
  const deliveries = new Counter({
    name: "quorate_webhook_deliveries_total",
    help: "Webhook messages by what became of them",
    labelNames: ["outcome"],
    registers: [],
  });
  const count = (outcome: Outcome): void => deliveries.inc({ outcome });
  const receivers = options.urls.map(
    (url) => new Receiver({ url, key, bounds, log, count, signal: ended.signal }),
  );
  const queued = new Gauge({
    name: "quorate_webhooks_queued",
    help: "Webhook messages that wait to be delivered",
    registers: [],
    collect() {
      this.set(receivers.reduce((sum, receiver) => sum + receiver.waiting, 0));
    },
  });
  const denials = new Denials(bounds.denialsMs, (event) => send(event));
  let sequence = 0;

  function send(event: MemberEvent): void {
    sequence += 1;
    const id = `${pool() ?? "pool"}/${idOf(event) ?? `${event.type}/${member}/${event.at}/${sequence}`}`;
    const body = JSON.stringify({ id, pool: pool(), member, ...event });
    for (const receiver of receivers) receiver.send({ id, body });
  }

  return {
    metrics: [deliveries, queued],
    hear: (event) => {
      if (!WEBHOOK_TYPES.has(event.type) || ended.signal.aborted) return;
      if (event.type === "denied") denials.hear(event);
      else send(event);
    },
    close: () => {
      ended.abort();
      denials.close();
    },
  };
}

/** What two leaders may both tell has the same id at both, so that a receiver drops the second. */
function idOf({ type, data }: MemberEvent): string | null {
  const words = (...names: string[]): string =>
    [type, ...names.map((name) => String(data[name]))].join("/");
  if (type === "member-lost") return words("member", "epoch");
  if (type === "license-expires") return words("feature", "expires", "days");
  return null;
}

interface ReceiverOptions {
  readonly url: string;
  readonly key: Buffer;
  readonly bounds: WebhookBounds;
  readonly log: Log;
  readonly count: (outcome: Outcome) => void;
  readonly signal: AbortSignal;
}

/** One receiver: its messages go one after the other, so that they arrive in order. */
class Receiver {
  private readonly options: ReceiverOptions;
  private readonly queue: Message[] = [];
  private working = false;
  /** For the log: what is behind the host may be a secret. */
  private readonly name: string;

  constructor(options: ReceiverOptions) {
    this.options = options;
    this.name = new URL(options.url).origin;
  }

  get waiting(): number {
    return this.queue.length;
  }

  send(message: Message): void {
    const { bounds, count, log } = this.options;
    this.queue.push(message);
    if (this.queue.length > bounds.queuedMax) {
      // The first one may be on its way at this moment; the next oldest is not.
      const [lost] = this.queue.splice(1, 1);
      count("dropped");
      log.warn("a webhook message was dropped: too many wait", {
        receiver: this.name,
        id: lost?.id,
      });
    }
    if (!this.working) void this.work();
  }

  private async work(): Promise<void> {
    const { bounds, count, log, signal } = this.options;
    this.working = true;
    for (let first = this.queue[0]; first !== undefined; first = this.queue[0]) {
      const failure = await this.deliver(first);
      if (signal.aborted) return;
      if (failure === null) count("delivered");
      else {
        count("dropped");
        const told = { receiver: this.name, id: first.id, reason: failure };
        log.warn(`a webhook message was given up after ${bounds.tries} tries`, told);
      }
      this.queue.shift();
    }
    this.working = false;
  }

  /** Null when it was taken, else why not, after all tries. */
  private async deliver(message: Message): Promise<string | null> {
    const { bounds, count, signal } = this.options;
    for (let tries = 1; ; tries += 1) {
      const failure = await this.post(message);
      if (failure === null || tries >= bounds.tries || signal.aborted) return failure;
      count("retried");
      // Half of it is chance, so that the servers of a pool don't all come back at one moment.
      const pauseMs = Math.min(bounds.firstPauseMs * 2 ** (tries - 1), bounds.pauseMsMax);
      await pause(pauseMs * (0.5 + Math.random() / 2), signal);
      if (signal.aborted) return failure;
    }
  }

  private async post({ id, body }: Message): Promise<string | null> {
    const { url, key, bounds, signal } = this.options;
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...signatureHeaders(key, id, Math.floor(Date.now() / 1_000), body),
        },
        body,
        // A redirect would carry the message to wherever it points.
        redirect: "manual",
        signal: AbortSignal.any([signal, AbortSignal.timeout(bounds.answerMs)]),
      });
      // What it says is nobody's business; unread, it would keep the connection.
      await response.body?.cancel();
      return response.ok ? null : `it answered ${response.status}`;
    } catch (error) {
      const cause = error instanceof Error ? (error.cause ?? error) : error;
      return cause instanceof Error ? cause.message : String(cause);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    // A message that waits must not keep the process.
    timer.unref();
    signal.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}

/** The first denial is told at once; those that follow within the time are told together at its end. */
class Denials {
  private readonly counting = new Map<
    string,
    { latest: MemberEvent | null; count: number; readonly timer: NodeJS.Timeout }
  >();
  private readonly everyMs: number;
  private readonly send: (event: MemberEvent) => void;

  constructor(everyMs: number, send: (event: MemberEvent) => void) {
    this.everyMs = everyMs;
    this.send = send;
  }

  hear(event: MemberEvent): void {
    const { feature, code } = event.data;
    // The name of a feature that nobody licensed is whatever somebody typed.
    const key = code === "unknown-feature" ? code : `${String(code)}/${String(feature)}`;
    const known = this.counting.get(key);
    if (known !== undefined) {
      known.latest = event;
      known.count += 1;
      return;
    }
    if (this.counting.size < DENIALS_MAX) this.begin(key);
    this.send({ ...event, data: { ...event.data, count: 1 } });
  }

  close(): void {
    for (const { timer } of this.counting.values()) clearTimeout(timer);
    this.counting.clear();
  }

  private begin(key: string): void {
    const timer = setTimeout(() => this.end(key), this.everyMs).unref();
    this.counting.set(key, { latest: null, count: 0, timer });
  }

  private end(key: string): void {
    const known = this.counting.get(key);
    this.counting.delete(key);
    if (known === undefined || known.latest === null) return;
    this.begin(key);
    const { latest, count } = known;
    this.send({ ...latest, data: { ...latest.data, count } });
  }
}
