/** Sends load to one port and counts the answers. Program; does one task after the other. */
import { openSocket, RawConnection } from "./raw-connection.ts";
import { HeldSessions, makeSessions } from "./session-requests.ts";

export type LoadTask =
  /** Checks out so many sessions and keeps them. */
  | { readonly task: "hold"; readonly port: number; readonly sessions: number }
  /** Heartbeats of the sessions held last, over and over. */
  | { readonly task: "heartbeats"; readonly port: number; readonly seconds: number }
  /** Fresh sessions, each checked out and released. */
  | { readonly task: "checkouts"; readonly port: number; readonly seconds: number };

export interface LoadAnswer {
  /** Answers of the expected kind. */
  readonly answers: number;
  readonly seconds: number;
  /** Status and count of all others; 0 is a connection that was closed. */
  readonly refusals: readonly (readonly [status: number, count: number])[];
}

/** Each has one request on its way. */
export const CONNECTIONS = 256;
/** More pairs a second than any server here answers: prebuilt sessions never run out. */
const PAIRS_A_SECOND_MAX = 25_000;
/** A client that is told to back off does so. */
const REFUSED_PAUSE_MS = 100;
const HOLD_SECONDS_MAX = 300;

let held: HeldSessions | null = null;

async function run(task: LoadTask): Promise<LoadAnswer> {
  switch (task.task) {
    case "hold": {
      const sessions = new HeldSessions(task.sessions);
      held = sessions;
      const asking: (Buffer | null)[] = Array.from({ length: CONNECTIONS }, () => null);
      let next = 0;
      return load(task.port, HOLD_SECONDS_MAX, (connection, isRefused) => {
        // What was refused is asked again: so many sessions are wanted, not so many requests.
        if (!isRefused)
          asking[connection] = next < sessions.count ? sessions.checkout(next++) : null;
        return asking[connection] ?? null;
      });
    }
    case "heartbeats": {
      const sessions = held;
      if (sessions === null) throw new Error("nothing is held: the task hold comes first");
      const templates = Array.from({ length: CONNECTIONS }, () => sessions.template());
      return load(task.port, task.seconds, (connection) => {
        const template = templates[connection];
        return template === undefined ? null : sessions.nextInto(template);
      });
    }
    case "checkouts": {
      const sessions = makeSessions(Math.ceil(task.seconds * PAIRS_A_SECOND_MAX));
      const inUse: (Buffer | null)[] = Array.from({ length: CONNECTIONS }, () => null);
      let next = 0;
      return load(task.port, task.seconds, (connection, isRefused) => {
        const release = inUse[connection] ?? null;
        inUse[connection] = null;
        // A session that was refused has nothing to release, and a release of nothing would flatter.
        if (release !== null && !isRefused) return release;
        const session = sessions[next++];
        inUse[connection] = session?.release ?? null;
        return session?.checkout ?? null;
      });
    }
  }
}

/** Runs until the time is over or every connection is told null. */
async function load(
  port: number,
  seconds: number,
  next: (connection: number, isRefused: boolean) => Buffer | null,
): Promise<LoadAnswer> {
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => openSocket(port)));
  const refusals = new Map<number, number>();
  let answers = 0;
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1_000;
  await Promise.all(
    sockets.map(
      (socket, index) =>
        new Promise<void>((resolve) => {
          const end = (): void => {
            connection.close();
            resolve();
          };
          const send = (isRefused: boolean): void => {
            const request = performance.now() < endMs ? next(index, isRefused) : null;
            if (request === null) end();
            else connection.send(request);
          };
          const connection = new RawConnection(socket, (status) => {
            if (status >= 200 && status < 300) {
              answers += 1;
              send(false);
              return;
            }
            refusals.set(status, (refusals.get(status) ?? 0) + 1);
            if (status === 0) end();
            else setTimeout(() => send(true), REFUSED_PAUSE_MS);
          });
          send(false);
        }),
    ),
  );
  return { answers, seconds: (performance.now() - startedMs) / 1_000, refusals: [...refusals] };
}

process.on("message", (task: LoadTask) => {
  void run(task).then((answer) => process.send?.(answer));
});
process.on("disconnect", () => process.exit());
