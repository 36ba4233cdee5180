/**
 * `GET /v1/events`: server-sent events. Each event is one `data:` line with a MemberEvent; there are no
 * event names, so that a browser's `onmessage` sees them all, and no ids, because nothing is replayed: a
 * reader that was cut reads the lists again.
 *
 * A reader that is slow is cut when its buffer is full. It never slows the member or the other readers.
 */
import type { ServerResponse } from "node:http";
import { refuse } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import type { MemberEvent } from "@quorate/protocol";
import type { HttpLimits } from "./http-limits.ts";

export interface EventStreams {
  /** Null when the stream is open; the response then belongs to it. */
  open(response: ServerResponse): Refusal | null;
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
    if (streams.size > 0) write(`data: ${JSON.stringify(event)}\n\n`);
  });
  const keepAlive = setInterval(() => write(": still here\n\n"), limits.eventKeepAliveMs);
  keepAlive.unref();

  return {
    open: (response) => {
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
      return null;
    },
    count: () => streams.size,
    close: () => {
      clearInterval(keepAlive);
      unsubscribe();
      for (const response of streams) response.end();
      streams.clear();
    },
  };
}
