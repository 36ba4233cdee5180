/** A dozen people at work: each takes a seat through the SDK, holds it a while, gives it back, rests. */
import { setTimeout as delay } from "node:timers/promises";
import { nodeClient, NoServerError, type QuorateClient, RefusedError } from "@quorate/client/node";

interface Person {
  readonly user: string;
  readonly host: string;
  readonly feature: string;
}

/** Four want one of three solver seats, so that somebody always waits. */
const PEOPLE: readonly Person[] = [
  { user: "anna", host: "design-01", feature: "cad" },
  { user: "bogdan", host: "design-02", feature: "cad" },
  { user: "chiara", host: "design-03", feature: "cad" },
  { user: "dmitri", host: "design-04", feature: "cad" },
  { user: "esther", host: "design-05", feature: "cad" },
  { user: "farid", host: "lab-01", feature: "sim" },
  { user: "grace", host: "lab-02", feature: "sim" },
  { user: "hiroshi", host: "lab-03", feature: "sim" },
  { user: "ines", host: "compute-01", feature: "solver" },
  { user: "jonas", host: "compute-02", feature: "solver" },
  { user: "kavya", host: "compute-03", feature: "solver" },
  { user: "liam", host: "compute-04", feature: "solver" },
];

const HOLD_MS_LEAST = 20_000;
const HOLD_MS_MORE = 40_000;
const REST_MS_LEAST = 500;
const REST_MS_MORE = 2_500;
const WAIT_MS = 10 * 60_000;
/** The first checkouts come one after another, as people come to work. */
const ARRIVAL_MS = 100;

export interface Move {
  readonly user: string;
  readonly feature: string;
  readonly from: string;
  readonly to: string;
}

export interface UserCounts {
  readonly people: number;
  readonly holding: number;
  readonly waiting: number;
  /** How often somebody at work lost the seat, since the start. */
  readonly lost: number;
}

interface Hands {
  state: "resting" | "waiting" | "holding";
  member: string | null;
}

export class DemoUsers {
  readonly #clients: QuorateClient[] = [];
  readonly #hands = new Map<string, Hands>();
  readonly #stopping = new AbortController();
  readonly #onMove: (move: Move) => void;
  #lost = 0;

  constructor(onMove: (move: Move) => void) {
    this.#onMove = onMove;
  }

  start(servers: readonly string[], vendorKey: string): void {
    for (const [index, person] of PEOPLE.entries()) {
      const client = nodeClient({
        servers,
        vendorKey,
        pick: "random",
        holder: { user: person.user, host: person.host, process: String(4_000 + 37 * index) },
        releaseOnExit: false,
      });
      this.#clients.push(client);
      void this.#work(person, client, index * ARRIVAL_MS);
    }
  }

  get counts(): UserCounts {
    const states = [...this.#hands.values()].map(({ state }) => state);
    return {
      people: PEOPLE.length,
      holding: states.filter((state) => state === "holding").length,
      waiting: states.filter((state) => state === "waiting").length,
      lost: this.#lost,
    };
  }

  /** How many work with a seat that this server granted. */
  workingAt(member: string): number {
    return [...this.#hands.values()].filter(
      (hands) => hands.state === "holding" && hands.member === member,
    ).length;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #work(person: Person, client: QuorateClient, arrivalMs: number): Promise<void> {
    const { signal } = this.#stopping;
    const hands: Hands = { state: "resting", member: null };
    this.#hands.set(person.user, hands);
    try {
      await delay(arrivalMs, undefined, { signal });
      for (;;) {
        hands.state = "waiting";
        await this.#useOnce(person, client, hands);
        hands.state = "resting";
        await delay(between(REST_MS_LEAST, REST_MS_MORE), undefined, { signal });
      }
    } catch (error) {
      // The end of the demo interrupts whatever anybody does; anything else is a bug and must be seen.
      if (!signal.aborted) throw error;
    }
  }

  async #useOnce(person: Person, client: QuorateClient, hands: Hands): Promise<void> {
    const { signal } = this.#stopping;
    const { feature, user } = person;
    try {
      const authorization = await client.checkout({ feature, waitMs: WAIT_MS, signal });
      hands.state = "holding";
      hands.member = authorization.member;
      authorization.on("moved", ({ member }) => {
        this.#onMove({ user, feature, from: hands.member ?? "?", to: member });
        hands.member = member;
      });
      authorization.on("lost", () => {
        this.#lost += 1;
        hands.state = "waiting";
      });
      authorization.on("regained", ({ member }) => {
        hands.state = "holding";
        hands.member = member;
      });
      await delay(between(HOLD_MS_LEAST, HOLD_MS_MORE), undefined, { signal });
      await authorization.release();
    } catch (error) {
      // No seat and no server are what a demo may show; the person tries again after a rest.
      if (!(error instanceof RefusedError || error instanceof NoServerError)) throw error;
    }
  }
}

function between(leastMs: number, moreMs: number): number {
  return leastMs + Math.random() * moreMs;
}
