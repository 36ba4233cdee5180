/**
 * Memory of a running server after a full collection of garbage, through Node's own inspector
 * (`--inspect`): nothing is added to the server for the sake of measuring it.
 */
const INSPECT_PORT = 9_339;
export const INSPECT_FLAG = `--inspect=127.0.0.1:${INSPECT_PORT}`;

export interface MemoryUse {
  readonly heapBytes: number;
  readonly residentBytes: number;
}

/** A collection may leave to the next one what it has just unlinked. */
const COLLECTIONS = 3;

export async function memoryAfterCollection(): Promise<MemoryUse> {
  const list = await fetch(`http://127.0.0.1:${INSPECT_PORT}/json/list`);
  const [target] = (await list.json()) as { webSocketDebuggerUrl: string }[];
  if (target === undefined) throw new Error("the inspector has no target");
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  try {
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve, { once: true });
      socket.addEventListener("error", reject, { once: true });
    });
    for (let time = 0; time < COLLECTIONS; time += 1) {
      await call(socket, "HeapProfiler.collectGarbage", {});
    }
    const answer = (await call(socket, "Runtime.evaluate", {
      expression: "JSON.stringify(process.memoryUsage())",
    })) as { result: { value: string } };
    const { heapUsed, rss } = JSON.parse(answer.result.value) as { heapUsed: number; rss: number };
    return { heapBytes: heapUsed, residentBytes: rss };
  } finally {
    socket.close();
  }
}

/** One call at a time: the answer is the first message with its id. */
let lastId = 0;

function call(socket: WebSocket, method: string, params: object): Promise<unknown> {
  lastId += 1;
  const id = lastId;
  return new Promise((resolve, reject) => {
    const hear = ({ data }: MessageEvent): void => {
      const message = JSON.parse(String(data)) as {
        id?: number;
        result?: unknown;
        error?: unknown;
      };
      if (message.id !== id) return;
      socket.removeEventListener("message", hear);
      if (message.error === undefined) resolve(message.result);
      else reject(new Error(`${method}: ${JSON.stringify(message.error)}`));
    };
    socket.addEventListener("message", hear);
    socket.send(JSON.stringify({ id, method, params }));
  });
}
