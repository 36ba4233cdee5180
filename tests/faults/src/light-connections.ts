/**
 * Many requests from few connections, on bare sockets: a hundred thousand clients of the SDK would cost more
 * than the pool that they are to load. Each connection has one request on its way at a time; the rest waits.
 */
import { connect, type Socket } from "node:net";

export interface LightAnswer {
  readonly status: number;
  readonly body: string;
}

/** Null: the server did not answer. */
type Done = (answer: LightAnswer | null) => void;

interface Waiting {
  readonly text: string;
  readonly done: Done;
}

interface Line {
  socket: Socket | null;
  asked: Waiting | null;
  bytes: Buffer[];
  readonly from: string;
}

const HEAD_END = "\r\n\r\n";
const REFUSED_PAUSE_MS = 200;

export class LightConnections {
  readonly #host: string;
  readonly #port: number;
  readonly #idle: Line[];
  readonly #all: Line[];
  readonly #waiting: Waiting[] = [];
  #next = 0;
  #refusedUntilMs = 0;

  /** `from`: addresses of this side, one connection for each. */
  constructor(url: string, from: readonly string[]) {
    const { hostname, port } = new URL(url);
    this.#host = hostname;
    this.#port = Number(port);
    this.#all = from.map((address) => ({ socket: null, asked: null, bytes: [], from: address }));
    this.#idle = [...this.#all];
  }

  get waiting(): number {
    return this.#waiting.length - this.#next;
  }

  send(method: string, path: string, secret: string, body: string, done: Done): void {
    if (performance.now() < this.#refusedUntilMs) {
      queueMicrotask(() => done(null));
      return;
    }
    const content =
      body === ""
        ? ""
        : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
    const text =
      `${method} ${path} HTTP/1.1\r\nHost: ${this.#host}\r\nAccept: application/json\r\n` +
      `Quorate-Session: ${secret}\r\n${content}\r\n${body}`;
    this.#waiting.push({ text, done });
    this.#go();
  }

  close(): void {
    for (const { socket } of this.#all) socket?.destroy();
  }

  #go(): void {
    while (this.#next < this.#waiting.length) {
      const line = this.#idle.pop();
      if (line === undefined) return;
      line.asked = this.#waiting[this.#next]!;
      this.#next += 1;
      if (this.#next === this.#waiting.length) this.#waiting.length = this.#next = 0;
      line.socket ??= this.#open(line);
      line.socket.write(line.asked.text);
    }
  }

  #open(line: Line): Socket {
    const { from: localAddress } = line;
    const socket = connect({ host: this.#host, port: this.#port, localAddress, noDelay: true });
    socket.on("data", (chunk: Buffer) => this.#take(line, chunk));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") {
        this.#refusedUntilMs = performance.now() + REFUSED_PAUSE_MS;
        this.#refuseAll();
      }
    });
    socket.on("close", () => {
      if (line.socket !== socket) return;
      line.socket = null;
      line.bytes = [];
      this.#answer(line, null);
    });
    return socket;
  }

  /** Nobody listens there: whoever waits learns it now. */
  #refuseAll(): void {
    const waiting = this.#waiting.splice(0).slice(this.#next);
    this.#next = 0;
    for (const { done } of waiting) done(null);
  }

  #take(line: Line, chunk: Buffer): void {
    line.bytes.push(chunk);
    const bytes = line.bytes.length === 1 ? chunk : Buffer.concat(line.bytes);
    const headEnd = bytes.indexOf(HEAD_END);
    if (headEnd === -1) return;
    const head = bytes.toString("latin1", 0, headEnd);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    const bodyAt = headEnd + HEAD_END.length;
    if (bytes.length < bodyAt + length) return;
    line.bytes = [];
    const status = Number(head.slice(9, 12));
    this.#answer(line, { status, body: bytes.toString("utf8", bodyAt, bodyAt + length) });
  }

  #answer(line: Line, answer: LightAnswer | null): void {
    const { asked } = line;
    if (asked === null) return;
    line.asked = null;
    this.#idle.push(line);
    asked.done(answer);
    this.#go();
  }
}
