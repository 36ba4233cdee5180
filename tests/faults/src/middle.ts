/**
 * A process between the machines: one TCP proxy for each of their ports, which delays what passes or loses
 * answers. Its one argument is JSON, `Route[]`; orders come as messages of its parent.
 */
import { connect, createServer, type Socket } from "node:net";

export interface Route {
  readonly port: number;
  readonly host: string;
  readonly hostPort: number;
  /** Connections of etcd members among themselves: Raft repeats by itself, a lost answer is a delay there. */
  readonly keepAnswers: boolean;
}

export interface Order {
  /** Each way. */
  readonly delayMs: number;
  /** A piece of an answer is dropped, and its connection with it, with this probability. */
  readonly loss: number;
}

let order: Order = { delayMs: 0, loss: 0 };

function join(near: Socket, route: Route): void {
  const far = connect(route.hostPort, route.host);
  for (const socket of [near, far]) {
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      near.destroy();
      far.destroy();
    });
  }
  near.on("data", (chunk) => pass(far, chunk));
  far.on("data", (chunk) => {
    if (!route.keepAnswers && Math.random() < order.loss) near.destroy();
    else pass(near, chunk);
  });
}

/** Timers of one length keep their order, so the bytes of a connection do. */
function pass(to: Socket, chunk: Buffer): void {
  const { delayMs } = order;
  if (delayMs === 0) {
    if (!to.destroyed) to.write(chunk);
    return;
  }
  setTimeout(() => {
    if (!to.destroyed) to.write(chunk);
  }, delayMs);
}

const routes = JSON.parse(process.argv[2] ?? "[]") as readonly Route[];
process.on("message", (message) => {
  order = message as Order;
});
process.on("disconnect", () => process.exit(0));
await Promise.all(
  routes.map(
    (route) =>
      new Promise<void>((resolve) => {
        createServer((near) => join(near, route)).listen(route.port, resolve);
      }),
  ),
);
process.send?.("ready");
