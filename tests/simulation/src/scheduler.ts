/**
 * One heap of events and the virtual true time of the whole simulation, in milliseconds.
 *
 * One event runs at a time. All promises that it settles have run to their end before the next event
 * starts, so no order is left to the engine: the same seed gives the same story, byte for byte.
 *
 *   pop event -> run it -> microtasks drain -> afterEvent (the oracles look) -> pop event ...
 */
export interface ScheduledEvent {
  cancel(): void;
}

export class Scheduler {
  #nowMs = 0;
  #order = 0;
  #steps = 0;
  readonly #heap: Entry[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  steps(): number {
    return this.#steps;
  }

  /** Runs `callback` at `nowMs + delayMs`; equal times run in the order they were asked for. */
  after(delayMs: number, callback: () => void): ScheduledEvent {
    const entry: Entry = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      order: (this.#order += 1),
      callback,
    };
    push(this.#heap, entry);
    return {
      cancel: () => {
        entry.callback = null;
      },
    };
  }

  /**
   * Runs events until `done` says so. `afterEvent` sees the world after each event has settled; what it
   * throws ends the run. An event later than `untilMs` is left in the heap and the time stops there.
   */
  run(options: {
    readonly untilMs: number;
    readonly done: () => boolean;
    readonly afterEvent: () => void;
  }): Promise<void> {
    return new Promise((resolve, reject) => {
      let inBurst = 0;
      let ranOne = false;
      const turn = (): void => {
        try {
          if (ranOne) options.afterEvent();
          ranOne = false;
          if (options.done() || !this.#runOne(options.untilMs)) {
            resolve();
            return;
          }
          ranOne = true;
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
          return;
        }
        inBurst += 1;
        // Node empties the queue of microtasks before it looks at the queue of ticks again: a tick that
        // was asked for by a microtask therefore runs when no promise is left to settle. That is many
        // times faster than a turn of the event loop; one now and then lets the rest of the process live
        // and makes Node report promises that were rejected without a handler.
        if (inBurst % BURST_EVENTS === 0) setImmediate(turn);
        else queueMicrotask(() => process.nextTick(turn));
      };
      process.nextTick(turn);
    });
  }

  #runOne(untilMs: number): boolean {
    for (;;) {
      const entry = this.#heap[0];
      if (entry === undefined || entry.atMs > untilMs) {
        this.#nowMs = Math.max(this.#nowMs, Math.min(untilMs, entry?.atMs ?? untilMs));
        return false;
      }
      pop(this.#heap);
      if (entry.callback === null) continue;
      this.#nowMs = entry.atMs;
      this.#steps += 1;
      entry.callback();
      return true;
    }
  }
}

const BURST_EVENTS = 64;

interface Entry {
  readonly atMs: number;
  readonly order: number;
  callback: (() => void) | null;
}

function before(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function push(heap: Entry[], entry: Entry): void {
  let index = heap.push(entry) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    const above = heap[parent]!;
    if (!before(entry, above)) break;
    heap[index] = above;
    index = parent;
  }
  heap[index] = entry;
}

function pop(heap: Entry[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= heap.length) break;
    const right = heap[child + 1];
    if (right !== undefined && before(right, heap[child]!)) child += 1;
    const below = heap[child]!;
    if (!before(below, last)) break;
    heap[index] = below;
    index = child;
  }
  heap[index] = last;
}
