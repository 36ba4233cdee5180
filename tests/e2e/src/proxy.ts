/** A TCP proxy that can drop the answers of a server: the request arrives, the client never hears. */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { TestContext } from "vitest";

export class Proxy {
  readonly url: string;
  /** While true, nothing that the server says comes through, and the connection ends instead. */
  dropAnswers = false;
  /** Requests whose answers were dropped. */
  dropped = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  static async before(context: TestContext, target: string): Promise<Proxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const proxy = new Proxy(server, new URL(target));
    context.onTestFinished(() => proxy.close());
    return proxy;
  }

  private constructor(server: Server, target: URL) {
    this.#server = server;
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy has no port");
    this.url = `http://127.0.0.1:${address.port}`;
    server.on("connection", (client) => this.#join(client, target));
  }

  #join(client: Socket, target: URL): void {
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (chunk) => upstream.write(chunk));
    upstream.on("data", (chunk) => {
      if (!this.dropAnswers) {
        client.write(chunk);
        return;
      }
      this.dropped += 1;
      client.destroy();
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
