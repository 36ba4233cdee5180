/**
 * What the clients believed and when, on the one clock of the machine: the intervals in which each certainly
 * held its seats (I1), and how long each went without an answer it could use.
 */
import type { Authorization, Wire } from "@quorate/client/node";
import type { Answer } from "@quorate/protocol";
import { type Hold, type Limit, type OverIssue, overIssues } from "@quorate/simulation";
import { nowMs } from "@quorate/e2e/wait";

/** Refusals that a pool gives while it can't serve; all others are its answer. */
const NOT_SERVED = new Set<string>(["no-majority", "no-mandate", "not-leader", "busy", "confirm"]);

interface Open {
  readonly seats: number;
  readonly fromMs: number;
  untilMs: number;
}

export interface Lost {
  readonly client: number;
  readonly atMs: number;
  readonly reason: string;
}

export class Recorder {
  readonly feature: string;
  readonly lost: Lost[] = [];
  moved = 0;
  regained = 0;
  readonly #holds: Hold[] = [];
  readonly #limits: Limit[] = [];
  readonly #open = new Map<Authorization, Open>();
  /** By client: since when it asks in vain. */
  readonly #troubleSinceMs = new Map<number, number>();
  readonly #longestTroubleMs = new Map<number, number>();
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
      this.lost.push({ client, atMs: nowMs(), reason });
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
    const heard = async (call: Promise<Answer | null>): Promise<Answer | null> => {
      const sentMs = nowMs();
      const answer = await call;
      const served = answer !== null && !("refused" in answer && NOT_SERVED.has(answer.refused));
      if (served) this.#served(client, sentMs);
      else this.#inVain(client, sentMs);
      return answer;
    };
    return {
      ...wire,
      checkout: (server, request, timeoutMs) => heard(wire.checkout(server, request, timeoutMs)),
      heartbeat: (server, request, timeoutMs) => heard(wire.heartbeat(server, request, timeoutMs)),
    };
  }

  #served(client: number, sentMs: number): void {
    this.#servedAtMs.set(client, Math.max(this.#servedAtMs.get(client) ?? 0, sentMs));
    const sinceMs = this.#troubleSinceMs.get(client);
    // An older call's answer, which came late, says nothing about now.
    if (sinceMs !== undefined && sentMs >= sinceMs) this.rest(client);
  }

  #inVain(client: number, sentMs: number): void {
    if (this.#troubleSinceMs.has(client)) return;
    if (sentMs < (this.#servedAtMs.get(client) ?? 0)) return;
    this.#troubleSinceMs.set(client, sentMs);
  }

  /** The client was served, or wants nothing for now. */
  rest(client: number): void {
    const sinceMs = this.#troubleSinceMs.get(client);
    if (sinceMs === undefined) return;
    this.#troubleSinceMs.delete(client);
    const tookMs = nowMs() - sinceMs;
    this.#longestTroubleMs.set(client, Math.max(tookMs, this.#longestTroubleMs.get(client) ?? 0));
  }

  /** Clients that since `sinceMs` sent no call that was served, or are in trouble now. */
  unserved(clients: readonly number[], sinceMs: number): number[] {
    return clients.filter(
      (client) => (this.#servedAtMs.get(client) ?? 0) < sinceMs || this.#troubleSinceMs.has(client),
    );
  }

  forgetTroubles(): void {
    this.#longestTroubleMs.clear();
  }

  /** The longest time without service, for each client that had any; sorted. */
  troublesMs(): number[] {
    const atMs = nowMs();
    const all = new Map(this.#longestTroubleMs);
    for (const [client, sinceMs] of this.#troubleSinceMs) {
      all.set(client, Math.max(atMs - sinceMs, all.get(client) ?? 0));
    }
    return [...all.values()].sort((x, y) => x - y);
  }
}
