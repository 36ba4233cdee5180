/**
 * `GET /v1/events`: server-sent events. Each event is one `data:` line with a MemberEvent; there are no
 * event names, so that a browser's `onmessage` sees them all.
 *
 * Each has an id, `<stream>.<number>`, of this process. A reader that was cut says the last one it has in
 * `Last-Event-ID`, as browsers do by themselves, and gets what it missed. If that is not kept any more, or was
 * another process's, it gets an event `gap` first: it reads the lists again.
 *
 * A reader that is slow is cut when its buffer is full. It never slows the member or the other readers.
 */
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { refuse } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import type { MemberEvent } from "@quorate/protocol";
import type { HttpLimits } from "./http-limits.ts";

export interface EventStreams {
  /**
   * Null when the stream is open; the response then belongs to it. `lastId`: the header Last-Event-ID.
   */
  open(response: ServerResponse, lastId: string | undefined): Refusal | null;
  /** What happened lately, but for what happens all the time; the oldest first. */
  recent(): readonly MemberEvent[];
  count(): number;
  close(): void;
}

export const EVENT_STREAM_HEADERS = {
  "Content-Type": "text/event-stream",
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  // Proxies such as nginx would hold events back until a buffer is full.
  "X-Accel-Buffering": "no",
} as const;

const RETRY_MS = 2_000;

export function createEventStreams(
  subscribe: (listener: (event: MemberEvent) => void) => () => void,
  limits: HttpLimits,
): EventStreams {
  const streams = new Set<ServerResponse>();
  const recent = new RecentEvents(limits.eventsKeptMax);
  const notable = new NotableEvents();

  const write = (text: string): void => {
    for (const response of streams) {
      response.write(text);
      if (response.writableLength > limits.eventBufferBytesMax) {
        streams.delete(response);
        response.destroy();
      }
    }
  };
  const unsubscribe = subscribe((event) => {
    notable.add(event);
    const number = recent.add(event);
    if (streams.size > 0) write(recent.text(number, event));
  });
  const keepAlive = setInterval(() => write(": still here\n\n"), limits.eventKeepAliveMs);
  keepAlive.unref();

  return {
    open: (response, lastId) => {
      if (streams.size >= limits.eventStreamsMax) {
        return refuse("busy", "All event streams of this server are taken.", {
          retryAfterMs: RETRY_MS,
        });
      }
      streams.add(response);
      response.on("close", () => streams.delete(response));
      response.on("error", () => streams.delete(response));
      response.writeHead(200, EVENT_STREAM_HEADERS);
      response.write(`retry: ${RETRY_MS}\n: events of this pool\n\n`);
      if (lastId !== undefined) response.write(recent.missedAfter(lastId));
      return null;
    },
    recent: () => notable.list(),
    count: () => streams.size,
    close: () => {
      clearInterval(keepAlive);
      unsubscribe();
      for (const response of streams) response.end();
      streams.clear();
    },
  };
}

/** A busy member gives and takes thousands of seats a second: nothing else would be left. */
const FREQUENT: ReadonlySet<string> = new Set(["granted", "released"]);
const NOTABLE_TYPES_MAX = 64;
const NOTABLE_OF_A_TYPE_MAX = 20;

/** The latest of each type, so that a flood of denials does not wash away a change of leader. */
class NotableEvents {
  private readonly byType = new Map<string, MemberEvent[]>();

  add(event: MemberEvent): void {
    if (FREQUENT.has(event.type)) return;
    const known = this.byType.get(event.type);
    if (known === undefined) {
      if (this.byType.size < NOTABLE_TYPES_MAX) this.byType.set(event.type, [event]);
      return;
    }
    known.push(event);
    if (known.length > NOTABLE_OF_A_TYPE_MAX) known.shift();
  }

  list(): MemberEvent[] {
    return [...this.byType.values()]
      .flat()
      .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  }
}

/** The latest events, as they were told: they become text only when somebody reads them. */
class RecentEvents {
  private readonly stream = randomBytes(6).toString("base64url");
  private readonly kept: (MemberEvent | undefined)[];
  /** Number of the latest; the first has 1. */
  private last = 0;

  constructor(keptMax: number) {
    this.kept = Array.from({ length: keptMax });
  }

  add(event: MemberEvent): number {
    this.last += 1;
    this.kept[this.last % this.kept.length] = event;
    return this.last;
  }

  text(number: number, event: MemberEvent): string {
    return `id: ${this.stream}.${number}\ndata: ${JSON.stringify(event)}\n\n`;
  }

  missedAfter(lastId: string): string {
    const [stream, number] = lastId.split(".");
    const seen = Number(number);
    const known = stream === this.stream && Number.isSafeInteger(seen) && seen <= this.last;
    const first = Math.max(1, this.last - this.kept.length + 1);
    if (!known || seen < first - 1) return this.gap(lastId);
    let text = "";
    for (let each = seen + 1; each <= this.last; each += 1) {
      const event = this.kept[each % this.kept.length];
      if (event !== undefined) text += this.text(each, event);
    }
    return text;
  }

  /** Nothing is replayed after it: the lists, which the reader reads now, are newer than all of it. */
  private gap(lastId: string): string {
    const at = new Date().toISOString();
    return this.text(this.last, { type: "gap", at, data: { after: lastId.slice(0, 100) } });
  }
}
