/**
 * The administrator's token, kept in this page's memory alone: no cookie, no storage. It is gone when the page
 * is reloaded or closed, and goes out only with what changes the pool, to servers of the pool.
 */
export class Administrator {
  #token: string | null = null;
  readonly #listeners = new Set<() => void>();

  get token(): string | null {
    return this.#token;
  }

  enter(token: string | null): void {
    this.#token = token === null || token.trim() === "" ? null : token.trim();
    for (const listener of this.#listeners) listener();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
