/**
 * What the clients believed and when, on the one clock of the machine: the intervals in which each certainly
 * held its seats (I1), and how long each went without an answer it could use.
 */
import type { Authorization, Wire } from "@quorate/client/node";
import type { Answer } from "@quorate/protocol";
import { type Hold, type Limit, type OverIssue, overIssues } from "@quorate/simulation";
import { nowMs } from "@quorate/e2e/wait";

/**
 * Refusals of a new request that a pool gives while it can't serve; others are its answer. Who holds a seat is
 * served by a renewal alone.
 */
const NOT_SERVED = new Set<string>(["no-majority", "no-mandate", "not-leader", "busy", "confirm"]);

const ANSWERS_KEPT_MAX = 12;

interface Open {
  readonly seats: number;
  readonly fromMs: number;
  untilMs: number;
}

type Kind = "checkout" | "heartbeat";

/** A client asked in vain from its first such call until an answer that served it. */
export interface Trouble {
  readonly client: number;
  /** Whether it held seats (`heartbeat`) or wanted some. */
  readonly kind: Kind;
  readonly fromMs: number;
  readonly toMs: number;
  /** What it heard meanwhile, without repetitions in a row. */
  readonly answers: string[];
}

export interface Lost {
  readonly client: number;
  readonly atMs: number;
  readonly reason: string;
  /** The last answers that the client had, for people who look for the cause. */
  readonly answers: readonly string[];
}

export class Recorder {
  readonly feature: string;
  readonly lost: Lost[] = [];
  moved = 0;
  regained = 0;
  readonly #holds: Hold[] = [];
  readonly #limits: Limit[] = [];
  readonly #open = new Map<Authorization, Open>();
  readonly #inTrouble = new Map<number, Trouble>();
  readonly #troubles: Trouble[] = [];
  readonly #answers = new Map<number, string[]>();
  readonly #servedAtMs = new Map<number, number>();

  constructor(feature: string, seats: number) {
    this.feature = feature;
    this.limit(seats, 0);
  }

  limit(seats: number, atMs: number): void {
    this.#limits.push({ atMs, feature: this.feature, seats });
  }

  // ---- belief ---------------------------------------------------------------------------------------

  watch(client: number, authorization: Authorization): void {
    this.#believe(authorization, authorization.expiresInMs());
    authorization.on("renewed", ({ expiresInMs }) => this.#believe(authorization, expiresInMs));
    authorization.on("moved", () => {
      this.moved += 1;
      this.#believe(authorization, authorization.expiresInMs());
    });
    authorization.on("regained", () => {
      this.regained += 1;
      this.#believe(authorization, authorization.expiresInMs());
    });
    authorization.on("lost", ({ reason }) => {
      this.lost.push({ client, atMs: nowMs(), reason, answers: this.#answers.get(client) ?? [] });
      this.end(authorization);
    });
  }

  end(authorization: Authorization): void {
    const open = this.#open.get(authorization);
    if (open === undefined) return;
    this.#open.delete(authorization);
    this.#keep(open, nowMs());
  }

  /** I1 over all that was recorded. */
  overIssued(): OverIssue[] {
    const atMs = nowMs();
    for (const open of this.#open.values()) this.#keep(open, atMs);
    this.#open.clear();
    return overIssues(this.#holds, this.#limits);
  }

  get holds(): number {
    return this.#holds.length + this.#open.size;
  }

  #believe(authorization: Authorization, expiresInMs: number): void {
    const atMs = nowMs();
    const untilMs = atMs + expiresInMs;
    const open = this.#open.get(authorization);
    if (open !== undefined && open.untilMs >= atMs) {
      open.untilMs = Math.max(open.untilMs, untilMs);
      return;
    }
    if (open !== undefined) this.#keep(open, atMs);
    this.#open.set(authorization, { seats: authorization.seats, fromMs: atMs, untilMs });
  }

  #keep({ seats, fromMs, untilMs }: Open, atMs: number): void {
    const toMs = Math.min(atMs, untilMs);
    this.#holds.push({ feature: this.feature, seats, fromMs, toMs });
  }

  // ---- service --------------------------------------------------------------------------------------

  /** The wire of one client, listened to: when its calls were in vain and when they were answered. */
  listen(client: number, wire: Wire): Wire {
    const heard = async (kind: Kind, call: Promise<Answer | null>): Promise<Answer | null> => {
      const sentMs = nowMs();
      const answer = await call;
      this.#note(client, kind, sentMs, answer);
      const isRefused = answer !== null && "refused" in answer;
      const isAnswered = isRefused && kind === "checkout" && !NOT_SERVED.has(answer.refused);
      const isServed = answer !== null && (!isRefused || isAnswered);
      const what = answer === null ? "no answer" : "refused" in answer ? answer.refused : "granted";
      // A place in the queue was the client's from when it asked, however long the server then held the call.
      const queued = kind === "checkout" && answer !== null && "refused" in answer;
      if (isServed) this.#served(client, sentMs, queued ? sentMs : nowMs());
      // A checkout waits at its server for a seat: until it hears, nothing was in vain.
      else this.#inVain(client, kind, kind === "checkout" ? nowMs() : sentMs, what);
      return answer;
    };
    return {
      ...wire,
      checkout: (server, request, ms) => heard("checkout", wire.checkout(server, request, ms)),
      heartbeat: (server, request, ms) => heard("heartbeat", wire.heartbeat(server, request, ms)),
    };
  }

  #note(client: number, kind: Kind, sentMs: number, answer: Answer | null): void {
    const granted = (found: Answer): string =>
      "refused" in found
        ? `${found.refused}: ${found.detail}`
        : `${found.member}, life ${found.lifeMs}`;
    const said = answer === null ? "no answer" : granted(answer);
    const noted = this.#answers.get(client) ?? [];
    noted.push(`${kind} sent ${sentMs.toFixed(0)}, heard ${nowMs().toFixed(0)}: ${said}`);
    this.#answers.set(client, noted.slice(-ANSWERS_KEPT_MAX));
  }

  #served(client: number, sentMs: number, atMs: number): void {
    this.#servedAtMs.set(client, Math.max(this.#servedAtMs.get(client) ?? 0, sentMs));
    // An older call's answer, which came late, says nothing about now.
    if (sentMs >= (this.#inTrouble.get(client)?.fromMs ?? Infinity)) this.rest(client, atMs);
  }

  #inVain(client: number, kind: Kind, fromMs: number, answer: string): void {
    const trouble = this.#inTrouble.get(client);
    if (trouble !== undefined) {
      if (trouble.answers.at(-1) !== answer) trouble.answers.push(answer);
      return;
    }
    if (fromMs < (this.#servedAtMs.get(client) ?? 0)) return;
    this.#inTrouble.set(client, { client, kind, fromMs, toMs: Infinity, answers: [answer] });
  }

  /** The client was served, or wants nothing for now. */
  rest(client: number, atMs = nowMs()): void {
    const trouble = this.#inTrouble.get(client);
    if (trouble === undefined) return;
    this.#inTrouble.delete(client);
    this.#troubles.push({ ...trouble, toMs: atMs });
  }

  /** Clients that since `sinceMs` sent no call that was served, or are in trouble now. */
  unserved(clients: readonly number[], sinceMs: number): number[] {
    return clients.filter(
      (client) => (this.#servedAtMs.get(client) ?? 0) < sinceMs || this.#inTrouble.has(client),
    );
  }

  forgetTroubles(): void {
    this.#troubles.length = 0;
  }

  /** For each client that had any: its longest time without service. The longest is the last. */
  longestTroubles(kind: Kind): Trouble[] {
    const atMs = nowMs();
    const longest = new Map<number, Trouble>();
    const open = [...this.#inTrouble.values()].map((trouble) => ({ ...trouble, toMs: atMs }));
    for (const trouble of [...this.#troubles, ...open].filter((each) => each.kind === kind)) {
      const known = longest.get(trouble.client);
      if (known === undefined || lengthMs(known) < lengthMs(trouble)) {
        longest.set(trouble.client, trouble);
      }
    }
    return [...longest.values()].sort((x, y) => lengthMs(x) - lengthMs(y));
  }
}

export function lengthMs({ fromMs, toMs }: Trouble): number {
  return toMs - fromMs;
}
