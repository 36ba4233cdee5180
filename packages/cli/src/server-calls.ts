/**
 * One question to one server, with a deadline. Deliberately light: `status` must not load the SDK or the schemas
 * of the wire to ask two questions.
 */
import { askServer } from "./own-fetch.ts";
import { ownToken } from "./own-token.ts";

const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/** What a server said. `body` is null when it is no JSON. */
export interface ServerAnswer {
  readonly status: number;
  readonly body: unknown;
}

export interface Silence {
  /** Why there is no answer, in a few words. */
  readonly silent: string;
}

export interface ServerCall {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object;
  readonly timeoutMs: number;
}

export async function callServer(
  server: string,
  path: string,
  call: ServerCall,
): Promise<ServerAnswer | Silence> {
  const token = ownToken();
  try {
    const response = await askServer(server + path, {
      method: call.method ?? "GET",
      headers: {
        accept: "application/json",
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(call.body === undefined ? {} : { "content-type": "application/json" }),
        ...call.headers,
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      signal: AbortSignal.timeout(call.timeoutMs),
    });
    return { status: response.status, body: await jsonOf(response) };
  } catch (error) {
    return { silent: reasonOf(error) };
  }
}

export interface Problem {
  readonly code: string | null;
  readonly detail: string;
}

/** Null when the server did what it was asked. */
export function problemIn(answer: ServerAnswer): Problem | null {
  if (answer.status < 400) return null;
  const text = (field: string): string | null => {
    const { body } = answer;
    const found: unknown =
      typeof body === "object" && body !== null ? Reflect.get(body, field) : null;
    return typeof found === "string" ? found : null;
  };
  const detail = text("detail") ?? text("title") ?? `the server answered ${answer.status}`;
  return { code: text("code"), detail };
}

async function jsonOf(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES_MAX) throw new Error("the answer is too long");
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    // Nothing at all (204), or something between us and the server answered in its own way.
    return null;
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "no answer";
  if (error.name === "TimeoutError") return "timeout";
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  const code = "code" in cause ? String(cause.code) : cause.message;
  return REASONS[code] ?? code;
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refused",
  CERT_HAS_EXPIRED: "its certificate has ended",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is not trusted",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is not trusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is not trusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is not trusted",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
  ECONNRESET: "connection lost",
  UND_ERR_SOCKET: "connection lost",
  EHOSTUNREACH: "unreachable",
  ENOTFOUND: "no such host",
  EAI_AGAIN: "no such host",
};
