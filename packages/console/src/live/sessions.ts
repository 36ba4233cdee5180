/**
 * The list of sessions as far as it is looked at: found and ordered by the servers, read page by page while the
 * reader scrolls. However many there are, no more than `SESSION_ROWS_MAX` of them are here.
 */
import type {
  AuthorizationRow,
  AuthorizationSort,
  AuthorizationsPage,
  AuthorizationsQuery,
} from "@quorate/protocol";
import type { PoolCalls } from "./pool-calls.ts";

const PAGE_ROWS = 200;
/** Who has scrolled this far does better to search. */
const SESSION_ROWS_MAX = 20_000;
/** Beyond these the list is not read again by itself: it would take the servers' time, and move under the reader. */
const RENEWED_ROWS_MAX = 1_000;
const RENEW_MS = 3_000;
/** A list that takes the servers long is read less often. */
const REST_PER_READ = 10;

export interface Asked {
  readonly search: string;
  readonly feature: string;
  readonly sort: AuthorizationSort;
  readonly descending: boolean;
}

export interface SessionsState {
  readonly rows: readonly AuthorizationRow[];
  /** What the rows are the answer to; null before the first answer. */
  readonly asked: Asked | null;
  /** How many fit what is asked, and how many there are at all. */
  readonly found: number;
  readonly total: number;
  /** Null: there is no more to read. */
  readonly next: string | null;
  readonly loading: boolean;
  readonly readAtMs: number | null;
  readonly missing: readonly string[];
  readonly failed: string | null;
}

const NOTHING: SessionsState = {
  rows: [],
  asked: null,
  found: 0,
  total: 0,
  next: null,
  loading: false,
  readAtMs: null,
  missing: [],
  failed: null,
};

export class Sessions {
  #state = NOTHING;
  #asked: Asked = { search: "", feature: "", sort: "grantedAt", descending: true };
  /** Raised by each new question: an answer to an older one is late, and dropped. */
  #question = 0;
  #timer: number | null = null;
  #stopped = false;
  readonly #calls: PoolCalls;
  readonly #onChange: (state: SessionsState) => void;

  constructor(calls: PoolCalls, onChange: (state: SessionsState) => void) {
    this.#calls = calls;
    this.#onChange = onChange;
  }

  stop(): void {
    this.#stopped = true;
    this.#question += 1;
    this.#rest(null);
  }

  /** Other words or another order: the rows stay until the answer is there. */
  async ask(asked: Asked): Promise<void> {
    this.#asked = asked;
    await this.#read(PAGE_ROWS);
  }

  /** As many rows as there are here, anew. */
  async renew(): Promise<void> {
    await this.#read(Math.max(PAGE_ROWS, this.#state.rows.length));
  }

  /** The next page, once the reader comes near the end. */
  async more(): Promise<void> {
    const { loading, next, rows } = this.#state;
    if (loading || next === null || rows.length >= SESSION_ROWS_MAX) return;
    await this.#work(async (isCurrent) => {
      const page = await this.#page(next, PAGE_ROWS);
      if (!isCurrent()) return;
      const known = new Set(rows.map((row) => row.session));
      // Between two pages a session may have moved in the order.
      const fresh = page.authorizations.filter((row) => !known.has(row.session));
      this.#show([...rows, ...fresh], page);
    });
  }

  async #read(wanted: number): Promise<void> {
    await this.#work(async (isCurrent) => {
      const rows: AuthorizationRow[] = [];
      let after: string | null = null;
      for (;;) {
        const page: AuthorizationsPage = await this.#page(after, Math.min(1_000, wanted));
        if (!isCurrent()) return;
        rows.push(...page.authorizations);
        after = page.next;
        if (after === null || rows.length >= wanted) return this.#show(rows, page);
      }
    });
  }

  async #work(work: (isCurrent: () => boolean) => Promise<void>): Promise<void> {
    if (this.#stopped) return;
    this.#question += 1;
    const question = this.#question;
    const isCurrent = (): boolean => question === this.#question && !this.#stopped;
    this.#rest(null);
    const beganAtMs = performance.now();
    this.#change({ loading: true });
    try {
      await work(isCurrent);
    } catch (error) {
      if (isCurrent())
        this.#change({ failed: error instanceof Error ? error.message : String(error) });
    }
    if (!isCurrent()) return;
    this.#change({ loading: false });
    this.#rest(Math.max(RENEW_MS, REST_PER_READ * (performance.now() - beganAtMs)));
  }

  #rest(ms: number | null): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (ms === null) return;
    this.#timer = window.setTimeout(() => {
      const isLong = this.#state.rows.length > RENEWED_ROWS_MAX;
      if (document.hidden || isLong) this.#rest(ms);
      else void this.renew();
    }, ms);
  }

  async #page(after: string | null, limit: number): Promise<AuthorizationsPage> {
    const { search, feature, sort, descending } = this.#asked;
    const asked: AuthorizationsQuery = {
      limit,
      sort,
      order: descending ? "descending" : "ascending",
      ...(search.trim() === "" ? {} : { search: search.trim() }),
      ...(feature === "" ? {} : { feature }),
      ...(after === null ? {} : { after }),
    };
    const query = new URLSearchParams(
      Object.entries(asked).map(([name, value]) => [name, String(value)]),
    );
    return (await this.#calls.read<AuthorizationsPage>(`/v1/authorizations?${query}`)).value;
  }

  #show(rows: readonly AuthorizationRow[], page: AuthorizationsPage): void {
    const { found, total, next, missing } = page;
    const readAtMs = Date.now();
    this.#change({ rows, asked: this.#asked, found, total, next, missing, readAtMs, failed: null });
  }

  #change(change: Partial<SessionsState>): void {
    this.#state = { ...this.#state, ...change };
    if (!this.#stopped) this.#onChange(this.#state);
  }
}
