/** The public face over plain fetch, for calls that the SDK would not make or would repeat by itself. */
import { randomBytes } from "node:crypto";
import type {
  AuthorizationRow,
  AuthorizationsPage,
  FeatureRow,
  FeaturesAnswer,
  Granted,
  LicenseAnswer,
  PoolAnswer,
  Problem,
} from "@quorate/protocol";
import { authorizationPath, heartbeatPath, newSecret, sessionOf } from "@quorate/protocol";

const CALL_MS_MAX = 5_000;

/** Null: no answer. */
export interface Reply<T> {
  readonly status: number;
  readonly body: T;
  /** The stable code of a refusal; null for an answer. */
  readonly code: string | null;
  readonly detail: string;
}

export async function call<T>(
  method: "GET" | "POST" | "PUT" | "DELETE",
  url: string,
  sent: {
    readonly body?: unknown;
    readonly text?: string;
    readonly headers?: Record<string, string>;
    readonly timeoutMs?: number;
  } = {},
): Promise<Reply<T> | null> {
  const text = sent.text ?? (sent.body === undefined ? null : JSON.stringify(sent.body));
  try {
    const response = await fetch(url, {
      method,
      headers: {
        ...(text === null ? {} : { "content-type": "application/json" }),
        ...sent.headers,
      },
      ...(text === null ? {} : { body: text }),
      signal: AbortSignal.timeout(sent.timeoutMs ?? CALL_MS_MAX),
    });
    const answer = await response.text();
    const body = (answer === "" ? null : JSON.parse(answer)) as T;
    const problem = body as Problem | null;
    return {
      status: response.status,
      body,
      code: response.ok ? null : (problem?.code ?? null),
      detail: response.ok ? "" : (problem?.detail ?? ""),
    };
  } catch {
    // Refused, reset, silent: a test that needs an answer waits for one.
    return null;
  }
}

export async function poolOf(url: string): Promise<PoolAnswer | null> {
  return (await call<PoolAnswer>("GET", `${url}/v1/pool`))?.body ?? null;
}

export async function featureOf(url: string, name = "cad"): Promise<FeatureRow | null> {
  const reply = await call<FeaturesAnswer>("GET", `${url}/v1/features`);
  return reply?.body.features.find((row) => row.name === name) ?? null;
}

export async function authorizationsOf(url: string, query = ""): Promise<AuthorizationsPage> {
  const reply = await call<AuthorizationsPage>(
    "GET",
    `${url}/v1/authorizations?limit=1000${query}`,
  );
  if (reply === null || reply.status !== 200) throw new Error(`no list from ${url}`);
  return reply.body;
}

export async function rowOf(url: string, session: string): Promise<AuthorizationRow | null> {
  const { authorizations } = await authorizationsOf(url);
  return authorizations.find((row) => row.session === session) ?? null;
}

export async function licenseSequenceOf(url: string): Promise<number | null> {
  return (await call<LicenseAnswer>("GET", `${url}/v1/license`))?.body.sequence ?? null;
}

/** One session spoken by hand: every message is one call, nothing is repeated. */
export class HandMade {
  readonly secret: string;
  readonly session: string;
  n = 0;
  token: string | null = null;

  static async create(): Promise<HandMade> {
    const secret = newSecret(randomBytes(32));
    return new HandMade(secret, await sessionOf(secret));
  }

  private constructor(secret: string, session: string) {
    this.secret = secret;
    this.session = session;
  }

  get headers(): Record<string, string> {
    return { "quorate-session": this.secret };
  }

  async checkout(
    url: string,
    more: { readonly feature?: string; readonly seats?: number; readonly waitMs?: number } = {},
    timeoutMs?: number,
  ): Promise<Reply<Granted> | null> {
    this.n += 1;
    const holder = { user: "hand", host: "made" };
    const body = { session: this.session, n: this.n, feature: "cad", holder, ...more };
    const reply = await call<Granted>("POST", `${url}/v1/authorizations`, {
      headers: this.headers,
      body,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    return this.keep(reply);
  }

  async heartbeat(url: string, more: Record<string, unknown> = {}): Promise<Reply<Granted> | null> {
    this.n += 1;
    const reply = await call<Granted>("POST", url + heartbeatPath(this.session), {
      headers: this.headers,
      body: { n: this.n, ...(this.token === null ? {} : { token: this.token }), ...more },
    });
    return this.keep(reply);
  }

  async release(url: string, query = ""): Promise<Reply<unknown> | null> {
    this.n += 1;
    return call("DELETE", `${url}${authorizationPath(this.session)}?n=${this.n}${query}`, {
      headers: this.headers,
    });
  }

  private keep(reply: Reply<Granted> | null): Reply<Granted> | null {
    if (reply?.code === null) this.token = reply.body.token ?? this.token;
    return reply;
  }
}
