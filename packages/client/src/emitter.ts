/** A small typed emitter, because Node's is not there in browsers and `EventTarget` is not typed. */
export class Emitter<Events extends Record<string, unknown>> {
  readonly #listeners: { [Name in keyof Events]?: Set<(event: Events[Name]) => void> } = {};

  /** Calls `listener` at every such event; the returned function stops that. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void {
    const listeners = this.#listeners[name] ?? new Set<(event: Events[Name]) => void>();
    this.#listeners[name] = listeners;
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of this.#listeners[name] ?? []) {
      try {
        listener(event);
      } catch (error) {
        // A listener that throws must not stop the heartbeats; the program still hears of its own bug.
        void Promise.reject(error);
      }
    }
  }
}
