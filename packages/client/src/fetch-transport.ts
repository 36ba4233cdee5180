/** HTTP by `fetch`, for browsers, Electron and whatever else has it. */
import type { ClientTimers } from "./environment.ts";
import { RESPONSE_BYTES_MAX, type Transport } from "./http-wire.ts";

export function fetchTransport(fetch: typeof globalThis.fetch, timers: ClientTimers): Transport {
  return async ({ method, url, headers, body, timeoutMs }) => {
    const controller = new AbortController();
    const cancel = timers.after(timeoutMs, () => controller.abort(), false);
    try {
      const response = await fetch(url, {
        method,
        headers,
        body,
        signal: controller.signal,
        cache: "no-store",
        credentials: "omit",
        // A redirect would carry the secret of the session to somebody else.
        redirect: "error",
        // A release that leaves with the page must outlive it.
        keepalive: method === "DELETE",
      });
      const text = await boundedText(response);
      return text === null ? null : { status: response.status, body: text };
    } catch {
      // Refused, reset, aborted: there is no answer, which the caller handles like silence.
      return null;
    } finally {
      cancel();
    }
  };
}

async function boundedText(response: Response): Promise<string | null> {
  if (response.body === null) return "";
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.byteLength;
    if (bytes > RESPONSE_BYTES_MAX) {
      await reader.cancel();
      return null;
    }
    text += decoder.decode(value, { stream: true });
  }
}
