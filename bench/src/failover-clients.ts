/**
 * A thousand SDK clients, each with its own connections, that keep a seat while their server is killed.
 * Program: checks out, then kills the server on demand and tells when each client was moved.
 */
import { httpWire, type QuorateClient, type Authorization } from "@quorate/client";
import { nodeClient } from "@quorate/client/node";
import { nodeTransport } from "../../packages/client/src/node-transport.ts";
import { FEATURE } from "./pool.ts";

export type FailoverTask =
  | {
      readonly task: "start";
      readonly servers: readonly string[];
      readonly clients: number;
      /** Checkouts are spread over this, and so are the heartbeats ever after. */
      readonly spreadMs: number;
    }
  | { readonly task: "kill"; readonly pid: number; readonly url: string; readonly waitMs: number };

/** When, in ms after the kill. */
export interface Moved {
  /** The first call that the dead server did not answer. Null: it moved without having met one. */
  readonly noticedMs: number | null;
  readonly movedMs: number;
}

export interface FailoverAnswer {
  readonly moved: readonly Moved[];
  /** Clients that were told `lost`: must be none. */
  readonly lost: number;
}

interface Held {
  readonly client: QuorateClient;
  readonly authorization: Authorization;
  noticedAtMs: number | null;
  movedAtMs: number | null;
}

const CHECKOUTS_AT_ONCE = 20;

let dead: string | null = null;
let lost = 0;
const holds: Held[] = [];
let onMoved = (): void => {};

async function start(servers: readonly string[], clients: number, spreadMs: number): Promise<void> {
  const startedMs = performance.now();
  for (let index = 0; index < clients; index += CHECKOUTS_AT_ONCE) {
    const dueMs = startedMs + (index / clients) * spreadMs;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
    const number = Math.min(CHECKOUTS_AT_ONCE, clients - index);
    await Promise.all(Array.from({ length: number }, () => hold(servers)));
  }
}

async function hold(servers: readonly string[]): Promise<void> {
  const transport = nodeTransport();
  let held: Held | null = null;
  const client = nodeClient({
    servers,
    releaseOnExit: false,
    wire: httpWire(async (call) => {
      const answer = await transport(call);
      if (answer === null && held !== null && dead !== null && call.url.startsWith(dead)) {
        held.noticedAtMs ??= performance.now();
      }
      return answer;
    }),
  });
  const authorization = await client.checkout({ feature: FEATURE, version: "2026.1" });
  const own: Held = { client, authorization, noticedAtMs: null, movedAtMs: null };
  held = own;
  authorization.on("moved", () => {
    own.movedAtMs ??= performance.now();
    onMoved();
  });
  authorization.on("lost", () => {
    lost += 1;
    onMoved();
  });
  holds.push(own);
}

async function kill(pid: number, url: string, waitMs: number): Promise<FailoverAnswer> {
  dead = url;
  const killedMs = performance.now();
  await new Promise<void>((resolve) => {
    const late = setTimeout(resolve, waitMs);
    onMoved = () => {
      if (holds.some(({ movedAtMs }) => movedAtMs === null) && lost === 0) return;
      clearTimeout(late);
      resolve();
    };
    process.kill(pid, "SIGKILL");
  });
  const moved = holds.flatMap(({ movedAtMs, noticedAtMs }) =>
    movedAtMs === null
      ? []
      : [
          {
            movedMs: movedAtMs - killedMs,
            noticedMs: noticedAtMs === null ? null : noticedAtMs - killedMs,
          },
        ],
  );
  return { moved, lost };
}

process.on("message", (task: FailoverTask) => {
  const work =
    task.task === "start"
      ? start(task.servers, task.clients, task.spreadMs)
      : kill(task.pid, task.url, task.waitMs);
  void work.then((answer) => process.send?.(answer ?? {}));
});
process.on("disconnect", () => process.exit());
