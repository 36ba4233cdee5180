/** A TCP proxy for tests that stands before one port and does harm: drops answers, cuts, refuses. */
import { once } from "node:events";
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";

export class EtcdProxy {
  /** What the server says is swallowed while this is true; the client's words still reach it. */
  dropsAnswers = false;
  /** New connections are hung up while this is true. */
  refuses = false;
  /** How many connections were taken. */
  taken = 0;
  /** How many times an answer was dropped. */
  dropped = 0;
  target: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #muted = new Set<Socket>();

  static async before(target: number): Promise<EtcdProxy> {
    const proxy = new EtcdProxy(target);
    await once(proxy.#server, "listening");
    return proxy;
  }

  private constructor(target: number) {
    this.target = target;
    this.#server = createServer((client) => this.#take(client)).listen(0, "127.0.0.1");
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** From now on nothing passes on the connections that stand, and nobody is told. */
  mute(): void {
    this.#muted = new Set(this.#sockets);
  }

  /** Resets every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #take(client: Socket): void {
    if (this.refuses) {
      client.resetAndDestroy();
      return;
    }
    this.taken += 1;
    const server = connect(this.target, "127.0.0.1");
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      // A broken half breaks the other; that is all there is to handle.
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (bytes) => {
      if (!this.#muted.has(client)) server.write(bytes);
    });
    server.on("data", (bytes) => {
      if (this.dropsAnswers) this.dropped += 1;
      else if (!this.#muted.has(client)) client.write(bytes);
    });
  }
}
