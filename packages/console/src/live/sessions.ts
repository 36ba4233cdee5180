/** All sessions of the pool, page by page, so that search and order are instant afterwards. */
import type { AuthorizationsPage } from "@quorate/protocol";
import { SessionList } from "../model/session-list.ts";
import type { PoolCalls } from "./pool-calls.ts";

const PAGE_ROWS = 1_000;
/** Beyond this a browser is the wrong tool: search by feature, user or host over the API. */
export const SESSION_ROWS_MAX = 200_000;
/** A list that took long to read is read again less often. */
const REST_PER_LOAD = 30;
const REST_MS_MIN = 3_000;
const REST_MS_MAX = 5 * 60_000;
/** While the first list comes in, it is shown as it grows, but not after each page. */
const PAGES_A_SHOW = 10;

export interface SessionsState {
  readonly list: SessionList;
  /** Grows with each change of the list. */
  readonly version: number;
  readonly loading: boolean;
  readonly complete: boolean;
  readonly loadedAtMs: number | null;
  readonly missing: readonly string[];
  readonly failed: string | null;
}

export class Sessions {
  #state: SessionsState = {
    list: new SessionList(),
    version: 0,
    loading: false,
    complete: false,
    loadedAtMs: null,
    missing: [],
    failed: null,
  };
  #timer: number | null = null;
  #stopped = false;
  readonly #calls: PoolCalls;
  readonly #onChange: (state: SessionsState) => void;

  constructor(calls: PoolCalls, onChange: (state: SessionsState) => void) {
    this.#calls = calls;
    this.#onChange = onChange;
  }

  get state(): SessionsState {
    return this.#state;
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Reads the whole list anew, now, and from then on again and again. */
  async load(): Promise<void> {
    if (this.#state.loading || this.#stopped) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const beganAtMs = performance.now();
    const isFirst = this.#state.loadedAtMs === null;
    const list = new SessionList();
    const missing = new Set<string>();
    this.#change({ loading: true });
    try {
      let after: string | null = null;
      let pages = 0;
      do {
        const value: AuthorizationsPage = await this.#page(after);
        if (this.#stopped) return;
        list.add(value.authorizations);
        for (const id of value.missing) missing.add(id);
        after = value.next;
        pages += 1;
        if (isFirst && (pages === 1 || pages % PAGES_A_SHOW === 0))
          this.#show(list, missing, false);
      } while (after !== null && list.length < SESSION_ROWS_MAX);
      this.#show(list, missing, after === null);
      this.#change({ loadedAtMs: Date.now(), failed: null });
    } catch (error) {
      this.#change({ failed: error instanceof Error ? error.message : String(error) });
    }
    this.#change({ loading: false });
    const tookMs = performance.now() - beganAtMs;
    const restMs = Math.min(REST_MS_MAX, Math.max(REST_MS_MIN, REST_PER_LOAD * tookMs));
    this.#timer = window.setTimeout(() => void this.load(), restMs);
  }

  async #page(after: string | null): Promise<AuthorizationsPage> {
    const query = after === null ? "" : `&after=${encodeURIComponent(after)}`;
    const path = `/v1/authorizations?limit=${PAGE_ROWS}${query}`;
    return (await this.#calls.read<AuthorizationsPage>(path)).value;
  }

  #show(list: SessionList, missing: ReadonlySet<string>, complete: boolean): void {
    this.#change({ list, version: this.#state.version + 1, missing: [...missing], complete });
  }

  #change(change: Partial<SessionsState>): void {
    this.#state = { ...this.#state, ...change };
    if (!this.#stopped) this.#onChange(this.#state);
  }
}
