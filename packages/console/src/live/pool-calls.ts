/**
 * Calls to the pool, whichever of its servers answers. The console starts with the server that it came from;
 * when that one does not answer, it goes on with another and stays there.
 */
import type { PoolAnswer } from "@quorate/protocol";
import { refusalOf } from "@quorate/protocol";

const READ_MS_MAX = 3_000;
const CHANGE_MS_MAX = 15_000;
const SERVERS_MAX = 16;

/** No server of the pool answered. */
export class NoServerError extends Error {
  constructor() {
    super("No server of the pool answers.");
  }
}

/** A server answered with a refusal. */
export class RefusedError extends Error {
  readonly code: string;

  constructor(code: string, detail: string) {
    super(detail);
    this.code = code;
  }
}

export interface Read<T> {
  readonly value: T;
  /** The server that answered. */
  readonly from: string;
}

export class PoolCalls {
  readonly #origin: string;
  #servers: readonly string[];
  #current: string;

  constructor(origin: string) {
    this.#origin = origin;
    this.#servers = [origin];
    this.#current = origin;
  }

  /** The server that answers now. */
  get current(): string {
    return this.#current;
  }

  /** Takes in which servers there are. The page's own may bear another name there (localhost, say). */
  know(pool: PoolAnswer, from: string): void {
    const others = pool.members
      .filter((member) => !(from === this.#origin && member.id === pool.self))
      .map((member) => member.url)
      .filter((url) => url !== "" && url !== this.#origin);
    this.#servers = [this.#origin, ...others].slice(0, SERVERS_MAX);
  }

  /** Where this member is reached from this page. */
  urlOf(pool: PoolAnswer, from: string, id: string): string | null {
    if (from === this.#origin && id === pool.self) return this.#origin;
    return pool.members.find((member) => member.id === id)?.url ?? null;
  }

  /** From the current server; from the next that answers if it does not, which is then the current one. */
  async read<T>(path: string): Promise<Read<T>> {
    return this.#ask<T>({ path, method: "GET", timeoutMs: READ_MS_MAX });
  }

  /** From every server but the current one, at the same time; those that do not answer are left out. */
  async readOthers<T>(path: string): Promise<Read<T>[]> {
    const others = this.#servers.filter((url) => url !== this.#current);
    const settled = await Promise.allSettled(
      others.map(async (url): Promise<Read<T>> => {
        const asked = { path, method: "GET", timeoutMs: READ_MS_MAX } as const;
        return { value: await this.#askOne<T>(url, asked), from: url };
      }),
    );
    return settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  }

  goOnWith(url: string): void {
    this.#current = url;
  }

  /** What changes the pool. Both calls are the same the second time, so the next server may be asked. */
  async change<T>(
    method: "PUT" | "DELETE",
    path: string,
    token: string,
    body?: string,
  ): Promise<T> {
    const more = body === undefined ? {} : { body };
    const { value } = await this.#ask<T>({
      path,
      method,
      token,
      timeoutMs: CHANGE_MS_MAX,
      ...more,
    });
    return value;
  }

  async #ask<T>(asked: Asked): Promise<Read<T>> {
    const order = [this.#current, ...this.#servers.filter((url) => url !== this.#current)];
    let refusal: RefusedError | null = null;
    for (const url of order) {
      try {
        const value = await this.#askOne<T>(url, asked);
        this.#current = url;
        return { value, from: url };
      } catch (error) {
        if (error instanceof RefusedError) {
          // Another server may be able to: this one lacks a mandate or a majority, or is overloaded.
          if (!ASK_ANOTHER.has(error.code)) throw error;
          refusal ??= error;
        }
      }
    }
    throw refusal ?? new NoServerError();
  }

  async #askOne<T>(url: string, asked: Asked): Promise<T> {
    const { path, method, token, body, timeoutMs } = asked;
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      ...(body === undefined ? {} : { body }),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    if (response.ok) return (text === "" ? null : JSON.parse(text)) as T;
    const found = refusalOf(parsed(text));
    throw new RefusedError(
      found?.refused ?? `status-${response.status}`,
      found?.detail ?? `The server answered with status ${response.status}.`,
    );
  }
}

interface Asked {
  readonly path: string;
  readonly method: "GET" | "PUT" | "DELETE";
  readonly token?: string;
  readonly body?: string;
  readonly timeoutMs: number;
}

const ASK_ANOTHER = new Set(["no-mandate", "no-majority", "not-leader", "busy", "internal-error"]);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A proxy's error page: no refusal of ours is in it.
    return null;
  }
}
