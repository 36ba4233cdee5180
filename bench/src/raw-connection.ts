/**
 * One HTTP connection that is kept, with one request on its way at a time, on a bare socket: a load
 * generator on `node:http` costs as much as the server it measures, and then measures itself.
 */
import { connect, type Socket } from "node:net";

const HEAD_END = "\r\n\r\n";
const LENGTH_NAME = "Content-Length: ";
const CARRIAGE_RETURN = 13;
const ZERO = 48;
/** "HTTP/1.1 " */
const STATUS_AT = 9;

export class RawConnection {
  readonly #socket: Socket;
  readonly #onAnswer: (status: number) => void;
  #pending: Buffer | null = null;

  /** `onAnswer` is called once for each request that was sent; it may send the next one. */
  constructor(socket: Socket, onAnswer: (status: number) => void) {
    this.#socket = socket;
    this.#onAnswer = onAnswer;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("close", () => onAnswer(0));
    socket.on("error", () => socket.destroy());
  }

  send(request: Buffer): void {
    this.#socket.write(request);
  }

  close(): void {
    this.#socket.removeAllListeners("close");
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    const bytes = this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk]);
    const headEnd = bytes.indexOf(HEAD_END);
    const length = headEnd === -1 ? null : bodyLength(bytes, headEnd);
    if (length === null || bytes.length < headEnd + HEAD_END.length + length) {
      this.#pending = bytes;
      return;
    }
    this.#pending = null;
    this.#onAnswer(statusOf(bytes));
  }
}

export function openSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

function statusOf(bytes: Buffer): number {
  let status = 0;
  for (let at = STATUS_AT; at < STATUS_AT + 3; at += 1) status = status * 10 + digit(bytes, at);
  return status;
}

function bodyLength(bytes: Buffer, headEnd: number): number {
  const name = bytes.indexOf(LENGTH_NAME);
  // 204 has neither body nor length.
  if (name === -1 || name > headEnd) return 0;
  let length = 0;
  for (let at = name + LENGTH_NAME.length; bytes[at] !== CARRIAGE_RETURN; at += 1) {
    length = length * 10 + digit(bytes, at);
  }
  return length;
}

function digit(bytes: Buffer, at: number): number {
  return (bytes[at] ?? 0) - ZERO;
}
