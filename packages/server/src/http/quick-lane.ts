/**
 * The way of plain requests about sessions, which are nearly all of a pool's traffic: read from the socket and
 * answered on it, at half of what a request and a response object of node:http cost.
 *
 *   connection ──> quick lane ──(anything but a plain request, once)──> node:http, for the rest of its life
 *
 * A connection is handed over with all bytes that were not answered, before anything was said, so node:http meets
 * it as if it had just come. What a request means is decided in one place for both, the hot path.
 */
import { STATUS_CODES, type Server } from "node:http";
import { Server as SecureServer } from "node:https";
import type { Socket } from "node:net";
import type { HttpLimits } from "./http-limits.ts";
import { type QuickRequest, readQuickRequest } from "./quick-request.ts";
import type { Reply } from "./reply.ts";
import { type InTurn, Turns } from "./turns.ts";

export interface QuickLane {
  /** Ends idle connections, and the others after their answer. */
  close(): void;
  /** Ends all at once. */
  cut(): void;
  /** How long requests wait that were read and are not looked at yet. */
  waitedMs(): number;
}

/** Connections that are silent for too long are found within this time. */
const LOOK_MS_MAX = 1_000;

/** False: nothing was said, and the request is node:http's. */
export type QuickAnswer = (request: QuickRequest, reply: Reply) => boolean;

type Limits = Pick<HttpLimits, "headersMs" | "keepAliveMs" | "headersBytesMax">;

/** Puts itself before the parser of `server`; to be called before others listen for its connections. */
export function openQuickLane(server: Server, limits: Limits, answer: QuickAnswer): QuickLane {
  const event = server instanceof SecureServer ? "secureConnection" : "connection";
  const [parser, ...others] = server.listeners(event);
  if (parser === undefined || others.length > 0) {
    throw new Error("the quick lane must be the first that listens after node:http itself");
  }
  server.removeAllListeners(event);
  const lookMs = Math.min(LOOK_MS_MAX, limits.headersMs / 2, limits.keepAliveMs / 2);
  const lane: Lane = {
    connections: new Set(),
    isClosing: false,
    limits,
    answer,
    handOver: (socket) => Reflect.apply(parser, server, [socket]),
    keepAlive: `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(limits.keepAliveMs / 1_000)}\r\n`,
    turns: new Turns(),
    nowMs: performance.now(),
    // The last look was up to one ago: never sooner than the answer promised.
    keptMs: limits.keepAliveMs + lookMs,
  };
  // One look at all of them in a while: a timer of each socket would be put off twice in every request.
  const looking = setInterval(() => {
    lane.nowMs = performance.now();
    for (const connection of lane.connections) connection.endIfSilent(lane.nowMs);
  }, lookMs);
  looking.unref();
  server.on(event, (socket: Socket) => {
    lane.turns.connected();
    if (lane.isClosing) handOver(lane, socket, null);
    else lane.connections.add(new QuickConnection(lane, socket));
  });
  return {
    close: () => {
      lane.isClosing = true;
      for (const connection of lane.connections) connection.endWhenIdle();
    },
    cut: () => {
      clearInterval(looking);
      for (const connection of lane.connections) connection.destroy();
    },
    waitedMs: () => lane.turns.waitedMs(),
  };
}

interface Lane {
  readonly connections: Set<QuickConnection>;
  isClosing: boolean;
  readonly limits: Limits;
  readonly answer: QuickAnswer;
  readonly handOver: (socket: Socket) => void;
  /** What an answer says of the connection's future. */
  readonly keepAlive: string;
  readonly turns: Turns;
  /** When the connections were looked at last. */
  nowMs: number;
  readonly keptMs: number;
}

/** One connection, and the reply to the request that is being answered on it. */
class QuickConnection implements Reply, InTurn {
  readonly #lane: Lane;
  readonly #socket: Socket;
  #isBusy = false;
  #isEnded = false;
  /** It is ended when nothing was read or answered till then; counted from the last look. */
  #silentUntilMs: number;
  /** What came while a request was being answered; the socket is paused then. */
  #next: Buffer | null = null;
  /** What was read and waits for its turn; the connection is busy till then. */
  #chunk: Buffer | null = null;
  #head = "";

  constructor(lane: Lane, socket: Socket) {
    this.#lane = lane;
    this.#socket = socket;
    this.#silentUntilMs = performance.now() + lane.limits.headersMs;
    socket.on("data", this.#take);
    socket.on("end", this.#onEnd);
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
  }

  get headersSent(): boolean {
    return !this.#isBusy;
  }

  writeHead(status: number, headers: readonly string[]): void {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`;
    for (let index = 0; index < headers.length; index += 2) {
      head += `${headers[index]}: ${headers[index + 1]}\r\n`;
    }
    this.#head = head;
  }

  end(text = "", encoding: BufferEncoding = text === "" ? "latin1" : "utf8"): void {
    if (!this.#isBusy) return;
    // What was sent before the client's last word is answered; a server that closes says so and takes no more.
    const isLast = this.#lane.isClosing || (this.#isEnded && this.#next === null);
    const future = isLast ? "Connection: close\r\n" : this.#lane.keepAlive;
    const answer = `${this.#head}Date: ${dateNow()}\r\n${future}\r\n${text}`;
    this.#isBusy = false;
    const socket = this.#socket;
    if (isLast) {
      socket.end(answer, encoding);
      return;
    }
    const isHeard = socket.write(answer, encoding);
    this.#silentUntilMs = this.#lane.nowMs + this.#lane.keptMs;
    if (!isHeard) {
      // Whoever asks and reads no answers would fill the memory with them: nothing more is read till then.
      socket.pause();
      socket.once("drain", this.#goOn);
    } else if (this.#next !== null) this.#goOn();
  }

  readonly #goOn = (): void => {
    const next = this.#next;
    this.#next = null;
    this.#socket.resume();
    if (next !== null) this.#take(next);
    else if (this.#isEnded) this.#socket.end();
  };

  destroy(): void {
    this.#socket.destroy();
  }

  endIfSilent(nowMs: number): void {
    if (!this.#isBusy && nowMs > this.#silentUntilMs) this.#socket.destroy();
  }

  endWhenIdle(): void {
    if (!this.#isBusy) this.#socket.end();
  }

  readonly #take = (chunk: Buffer): void => {
    const socket = this.#socket;
    if (this.#isBusy || socket.writableNeedDrain) {
      this.#next = this.#next === null ? chunk : Buffer.concat([this.#next, chunk]);
      socket.pause();
      return;
    }
    // The last answer was given, and it said so.
    if (socket.writableEnded) return;
    this.#isBusy = true;
    this.#chunk = chunk;
    this.#lane.turns.take(this);
  };

  takeTurn(): void {
    const chunk = this.#chunk;
    this.#chunk = null;
    this.#isBusy = false;
    if (chunk !== null && !this.#socket.destroyed) this.#read(chunk);
  }

  #read(chunk: Buffer): void {
    const socket = this.#socket;
    const request = readQuickRequest(chunk, socket, this.#lane.limits.headersBytesMax);
    if (request !== null) {
      this.#isBusy = true;
      if (this.#lane.answer(request, this)) return;
      this.#isBusy = false;
    }
    // Node's parser takes nothing from a socket that has said its last word.
    if (this.#isEnded) return void socket.end();
    socket.off("data", this.#take);
    socket.off("end", this.#onEnd);
    socket.off("error", this.#onError);
    socket.off("close", this.#onClose);
    this.#lane.connections.delete(this);
    // More may have come while it waited for its turn.
    handOver(this.#lane, socket, this.#next === null ? chunk : Buffer.concat([chunk, this.#next]));
  }

  /** The client sends no more; it may still read. */
  readonly #onEnd = (): void => {
    this.#isEnded = true;
    if (!this.#isBusy && !this.#socket.writableNeedDrain) this.#socket.end();
  };

  readonly #onError = (): void => {
    this.#socket.destroy();
  };

  readonly #onClose = (): void => {
    this.#lane.connections.delete(this);
  };
}

function handOver(lane: Lane, socket: Socket, bytes: Buffer | null): void {
  // Paused, so that the bytes are met by the parser's listener and by nobody before.
  socket.pause();
  if (bytes !== null) socket.unshift(bytes);
  lane.handOver(socket);
  socket.resume();
}

let dateText = "";
let dateSecond = 0;

function dateNow(): string {
  const second = Math.floor(Date.now() / 1_000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1_000).toUTCString();
  }
  return dateText;
}
