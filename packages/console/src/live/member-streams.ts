/**
 * One event stream to each live member: a member tells only what it did itself. A stream that breaks is the
 * first sign that its server is gone, long before the pool may say so.
 */
import type { MemberEvent } from "@quorate/protocol";

const REOPEN_MS = 2_000;

export interface StreamTarget {
  readonly id: string;
  readonly url: string;
}

export interface StreamListeners {
  readonly onEvent: (event: MemberEvent, from: string) => void;
  /** A seat was given or returned, which happens all the time: worth another look, not a line. */
  readonly onHint: () => void;
  readonly onChange: () => void;
  /** A stream tells nothing of what was before it. */
  readonly onOpen: (url: string, id: string) => void;
}

interface Stream {
  readonly url: string;
  source: EventSource | null;
  state: "opening" | "open" | "broken";
  timer: number | null;
}

/** Looked at before the text is parsed: a busy member sends thousands of them a second. */
const FREQUENT = ['{"type":"granted"', '{"type":"released"'];

export class MemberStreams {
  readonly #streams = new Map<string, Stream>();
  readonly #listeners: StreamListeners;

  constructor(listeners: StreamListeners) {
    this.#listeners = listeners;
  }

  /** Opens streams to these members and closes those to all others. */
  keep(targets: readonly StreamTarget[]): void {
    for (const [id, stream] of this.#streams) {
      if (targets.some((each) => each.id === id && each.url === stream.url)) continue;
      close(stream);
      this.#streams.delete(id);
    }
    for (const { id, url } of targets) {
      if (this.#streams.has(id)) continue;
      const stream: Stream = { url, source: null, state: "opening", timer: null };
      this.#streams.set(id, stream);
      this.#open(id, stream);
    }
  }

  /** Members whose stream is broken and has not come back. */
  broken(): ReadonlySet<string> {
    return new Set(
      [...this.#streams].filter(([, { state }]) => state === "broken").map(([id]) => id),
    );
  }

  get anyOpen(): boolean {
    return [...this.#streams.values()].some((stream) => stream.state === "open");
  }

  #open(id: string, stream: Stream): void {
    stream.timer = null;
    const source = new EventSource(`${stream.url}/v1/events`, { withCredentials: true });
    stream.source = source;
    source.addEventListener("open", () => {
      this.#become(stream, "open");
      this.#listeners.onOpen(stream.url, id);
    });
    source.addEventListener("error", () => {
      // Opened anew here and not by the browser, which gives up on some errors and not on others.
      source.close();
      if (stream.source !== source) return;
      stream.source = null;
      this.#become(stream, "broken");
      stream.timer = window.setTimeout(() => this.#open(id, stream), REOPEN_MS);
    });
    source.addEventListener("message", (message: MessageEvent<string>) => {
      if (FREQUENT.some((start) => message.data.startsWith(start))) return this.#listeners.onHint();
      const event = eventOf(message.data);
      if (event !== null) this.#listeners.onEvent(event, id);
    });
  }

  #become(stream: Stream, state: Stream["state"]): void {
    if (stream.state === state) return;
    stream.state = state;
    this.#listeners.onChange();
  }
}

function close(stream: Stream): void {
  stream.source?.close();
  stream.source = null;
  if (stream.timer !== null) clearTimeout(stream.timer);
}

function eventOf(text: string): MemberEvent | null {
  try {
    return JSON.parse(text) as MemberEvent;
  } catch {
    // Not a server of ours behind that address: nothing to tell.
    return null;
  }
}
