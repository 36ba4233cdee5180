/**
 * Calls to the pool, whichever of its servers answers. The console starts with the server that it came from;
 * when that one does not answer, it goes on with another and stays there.
 */
import type { LoginState, PoolAnswer } from "@quorate/protocol";
import { CSRF_HEADER, LOGIN_PATH, refusalOf } from "@quorate/protocol";
import { Logins } from "./logins.ts";

const READ_MS_MAX = 3_000;
/** A report over a long time is read from all journals. */
const REPORT_MS_MAX = 60_000;
const CHANGE_MS_MAX = 15_000;
const SERVERS_MAX = 16;
/** A token that every server of the pool knows; an administrator's own word may differ from server to server. */
const TOKEN_OF_POOL = /^qrt_/;

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
  readonly logins = new Logins();
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

  /** Where the page itself came from: what it is logged in to first. */
  get origin(): string {
    return this.#origin;
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

  /** The same for what takes the servers long to add up. */
  async readReport<T>(path: string): Promise<Read<T>> {
    return this.#ask<T>({ path, method: "GET", timeoutMs: REPORT_MS_MAX });
  }

  async readFrom<T>(url: string, path: string): Promise<T> {
    return this.#askOne<T>(url, { path, method: "GET", timeoutMs: READ_MS_MAX });
  }

  /** From every server but the current one, at the same time; those that do not answer are left out. */
  async readOthers<T>(path: string): Promise<Read<T>[]> {
    const others = this.#servers.filter((url) => url !== this.#current);
    const settled = await Promise.allSettled(
      others.map(async (url): Promise<Read<T>> => ({
        value: await this.readFrom<T>(url, path),
        from: url,
      })),
    );
    return settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  }

  goOnWith(url: string): void {
    this.#current = url;
  }

  /**
   * What changes the pool, at a server where this page is logged in. The calls are the same the second time, so
   * the next such server may be asked.
   */
  async change<T>(method: "PUT" | "DELETE", path: string, body?: string): Promise<T> {
    const more = body === undefined ? {} : { body };
    const asked: Asked = { path, method, timeoutMs: CHANGE_MS_MAX, ...more };
    const order = this.#order().filter((url) => this.logins.isAdministrator(url));
    const { value } = await this.#ask<T>(asked, order.length === 0 ? [this.#current] : order);
    return value;
  }

  /** Asks a server who it takes this page for. */
  async askLogin(url: string): Promise<LoginState | null> {
    try {
      const state = await this.readFrom<LoginState>(url, LOGIN_PATH);
      this.logins.take(url, state);
      return state;
    } catch (error) {
      if (error instanceof RefusedError || isNoAnswer(error)) return null;
      throw error;
    }
  }

  /**
   * Logs in at the current server; with a token of the pool at all others as well, as long as it is at hand, so
   * that the page goes on when this server dies. Throws RefusedError or NoServerError.
   */
  async logIn(token: string): Promise<void> {
    const body = JSON.stringify({ token });
    const asked: Asked = { path: LOGIN_PATH, method: "POST", body, timeoutMs: CHANGE_MS_MAX };
    const url = this.#current;
    try {
      await this.#askOne(url, asked);
    } catch (error) {
      throw isNoAnswer(error) ? new NoServerError() : error;
    }
    const state = await this.askLogin(url);
    if (state === null || state.role === null) {
      throw new RefusedError(
        "unauthorized",
        `The browser keeps no login for ${url} in a page from elsewhere. Open the console of that server.`,
      );
    }
    if (TOKEN_OF_POOL.test(token)) {
      void this.#logInElsewhere(
        this.#servers.filter((each) => each !== url),
        asked,
      );
    }
  }

  /** Best effort: a server that is down or of another site asks by itself, should it be needed. */
  async #logInElsewhere(urls: readonly string[], asked: Asked): Promise<void> {
    await Promise.allSettled(
      urls.map(async (url) => {
        await this.#askOne(url, asked);
        await this.askLogin(url);
      }),
    );
  }

  async logOut(): Promise<void> {
    const urls = this.logins.urls();
    await Promise.allSettled(
      urls.map((url) =>
        this.#askOne(url, { path: LOGIN_PATH, method: "DELETE", timeoutMs: READ_MS_MAX }),
      ),
    );
    // One that is down has forgotten it, too: logins are kept in memory.
    for (const url of urls) this.logins.forget(url);
  }

  #order(): string[] {
    return [this.#current, ...this.#servers.filter((url) => url !== this.#current)];
  }

  async #ask<T>(asked: Asked, order: readonly string[] = this.#order()): Promise<Read<T>> {
    let refusal: RefusedError | null = null;
    let closed: string | null = null;
    for (const url of order) {
      try {
        const value = await this.#askOne<T>(url, asked);
        this.#current = url;
        return { value, from: url };
      } catch (error) {
        if (error instanceof RefusedError) {
          // Another server may be able to: this one lacks a mandate or a majority, is overloaded, or knows no login.
          if (error.code === "unauthorized") {
            await this.askLogin(url);
            closed ??= url;
          } else if (!ASK_ANOTHER.has(error.code)) throw error;
          refusal ??= error;
        }
      }
    }
    // It lives and only wants to know who asks: that is where to log in.
    if (closed !== null) this.#current = closed;
    throw refusal ?? new NoServerError();
  }

  async #askOne<T>(url: string, asked: Asked): Promise<T> {
    const { path, method, body, timeoutMs } = asked;
    const csrf = method === "GET" ? null : this.logins.csrf(url);
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(csrf === null ? {} : { [CSRF_HEADER]: csrf }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      ...(body === undefined ? {} : { body }),
      cache: "no-store",
      credentials: "include",
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
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly body?: string;
  readonly timeoutMs: number;
}

const ASK_ANOTHER = new Set(["no-mandate", "no-majority", "not-leader", "busy", "internal-error"]);

/** What `fetch` throws when nobody listens, or not in time. */
function isNoAnswer(error: unknown): boolean {
  return error instanceof TypeError || error instanceof DOMException;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A proxy's error page: no refusal of ours is in it.
    return null;
  }
}
