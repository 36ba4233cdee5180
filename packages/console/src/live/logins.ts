/**
 * Who this page is logged in as, at each server: a login is kept by the server that gave it, in a cookie that no
 * script reads. The page keeps no token, neither in memory nor in storage: it is sent once, and forgotten.
 */
import type { LoginState, Role } from "@quorate/protocol";

export interface Me {
  readonly name: string;
  readonly role: Role;
  readonly expiresAt: string;
}

export class Logins {
  readonly #states = new Map<string, LoginState>();
  readonly #listeners = new Set<() => void>();

  /** Null: this server was not asked yet. */
  at(url: string): LoginState | null {
    return this.#states.get(url) ?? null;
  }

  me(url: string): Me | null {
    const state = this.at(url);
    return state === null || state.role === null ? null : state;
  }

  /** Goes into a header with each call that changes something; null without a login. */
  csrf(url: string): string | null {
    const state = this.at(url);
    return state === null || state.role === null ? null : state.csrf;
  }

  /** Whether it lets nobody read who is not logged in, as this page is not. */
  isClosed(url: string): boolean {
    const state = this.at(url);
    return state !== null && state.readers === "token" && state.role === null;
  }

  isAdministrator(url: string): boolean {
    return this.me(url)?.role === "administrator";
  }

  /** Servers where this page is logged in. */
  urls(): string[] {
    return [...this.#states].filter(([, { role }]) => role !== null).map(([url]) => url);
  }

  take(url: string, state: LoginState): void {
    const before = JSON.stringify(this.at(url));
    if (before === JSON.stringify(state)) return;
    this.#states.set(url, state);
    for (const listener of this.#listeners) listener();
  }

  /** The login there is over. */
  forget(url: string): void {
    const state = this.at(url);
    if (state !== null) this.take(url, { role: null, ways: state.ways, readers: state.readers });
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
