/**
 * How this process asks servers: `fetch`, or with the certificate that it was told to show. Node's `fetch` can't show
 * one, so its place is taken by `node:https` then.
 */
import type { IncomingMessage } from "node:http";

interface Ask {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | null;
  readonly signal: AbortSignal;
}

type OwnFetch = (url: string, ask: Ask) => Promise<Response>;

/** A redirect would carry secrets and tokens to wherever it points. */
let ownFetch: OwnFetch = (url, ask) =>
  fetch(url, { ...ask, body: ask.body ?? null, redirect: "error" });

/** Rejects as `fetch` does. */
export function askServer(url: string, ask: Ask): Promise<Response> {
  return ownFetch(url, ask);
}

/** From now on servers that ask for one are shown this certificate. PEM texts; throws when they do not fit. */
export async function useCertificate(cert: string, key: string): Promise<void> {
  const [{ request }, { Agent }, { createSecureContext }, { Readable }] = await Promise.all([
    import("node:https"),
    import("node:https"),
    import("node:tls"),
    import("node:stream"),
  ]);
  createSecureContext({ cert, key });
  const agent = new Agent({ cert, key });
  const plain = ownFetch;
  ownFetch = async (url, ask) => {
    if (!url.startsWith("https:")) return plain(url, ask);
    const { method, headers, body, signal } = ask;
    const message = await new Promise<IncomingMessage>((resolve, reject) => {
      const call = request(url, { agent, method, headers, signal }, resolve);
      call.on("error", (cause) => {
        reject(signal.aborted ? signal.reason : new TypeError("fetch failed", { cause }));
      });
      call.end(body ?? undefined);
    });
    const status = message.statusCode ?? 0;
    if (status >= 300 && status < 400) {
      message.destroy();
      throw new TypeError("fetch failed", { cause: new Error("unexpected redirect") });
    }
    // Those answers have no body, and `Response` takes none for them.
    const isEmpty = status === 204 || status === 205;
    if (isEmpty) message.resume();
    return new Response(isEmpty ? null : bodyOf(Readable.toWeb(message)), { status });
  };
}

/** The same thing by two names: Node's types tell its streams from those of the web. */
function bodyOf(stream: unknown): ReadableStream<Uint8Array> {
  return stream as ReadableStream<Uint8Array>;
}
