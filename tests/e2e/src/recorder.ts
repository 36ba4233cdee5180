/**
 * An independent record of a run: for each client the intervals in which it certainly believed that it held
 * its seats, on the one clock of the machine. `check` holds them against the licensed seats (I1) and must be
 * called at the end of every test that has clients.
 */
import { clientLifeMs } from "@quorate/core";
import type { Authorization } from "@quorate/client";
import { type Hold, type Limit, overIssues } from "@quorate/simulation";
import { expect } from "vitest";
import type { HandMade, Reply } from "./http.ts";
import type { Granted } from "@quorate/protocol";
import { LIFE_MS } from "./pool.ts";
import { nowMs } from "./wait.ts";

interface Open {
  readonly feature: string;
  readonly seats: number;
  readonly fromMs: number;
  /** When the belief ends if nothing is heard any more. */
  untilMs: number;
}

/** What an SDK client's program heard. */
export interface Heard {
  readonly authorization: Authorization;
  readonly lost: string[];
  readonly moved: string[];
  readonly regained: string[];
  readonly revoked: string[];
  renewals: number;
}

export class Recorder {
  readonly #holds: Hold[] = [];
  readonly #limits: Limit[] = [];
  readonly #open = new Map<object, Open>();
  readonly #heard = new Map<Authorization, Heard>();

  constructor(seats: number, feature = "cad") {
    this.#limits.push({ atMs: 0, feature, seats });
  }

  /** Another license takes effect at `atMs`. */
  limit(seats: number, atMs: number, feature = "cad"): void {
    this.#limits.push({ atMs, feature, seats });
  }

  // ---- a client of the SDK --------------------------------------------------------------------------

  watch(authorization: Authorization): Heard {
    const heard = { authorization, lost: [], moved: [], regained: [], revoked: [], renewals: 0 };
    const said: Heard = heard;
    this.#heard.set(authorization, said);
    this.#begin(authorization, authorization.feature, authorization.seats);
    this.#extend(authorization, authorization.expiresInMs());
    authorization.on("renewed", ({ expiresInMs }) => {
      said.renewals += 1;
      this.#extend(authorization, expiresInMs);
    });
    authorization.on("moved", ({ member }) => {
      said.moved.push(member);
      this.#extend(authorization, authorization.expiresInMs());
    });
    authorization.on("lost", ({ reason }) => {
      said.lost.push(reason);
      this.end(authorization);
    });
    authorization.on("regained", ({ member }) => {
      said.regained.push(member);
      this.#begin(authorization, authorization.feature, authorization.seats);
      this.#extend(authorization, authorization.expiresInMs());
    });
    authorization.on("revoked", ({ reason }) => said.revoked.push(reason));
    return said;
  }

  heard(authorization: Authorization): Heard {
    const found = this.#heard.get(authorization);
    if (found === undefined) throw new Error("this authorization is not watched");
    return found;
  }

  /** Everything that any program of this test heard. */
  get all(): readonly Heard[] {
    return [...this.#heard.values()];
  }

  release(authorization: Authorization): Promise<void> {
    this.end(authorization);
    return authorization.release();
  }

  // ---- a session spoken by hand ---------------------------------------------------------------------

  /** Notes what the answer lets the hand-made client believe; `sentMs` is before its call was made. */
  answered(client: HandMade, reply: Reply<Granted> | null, sentMs: number): void {
    if (reply === null || reply.code !== null) return;
    const { feature, seats, lifeMs } = reply.body;
    this.#begin(client, feature, seats);
    const open = this.#open.get(client);
    if (open !== undefined) open.untilMs = sentMs + clientLifeMs(lifeMs ?? LIFE_MS);
  }

  // ---- a client in another process ------------------------------------------------------------------

  /** It believed since `fromMs` and does so until `untilMs`, unless it says otherwise. */
  believes(client: object, feature: string, seats: number, fromMs: number, untilMs: number): void {
    this.#begin(client, feature, seats, fromMs);
    const open = this.#open.get(client);
    if (open !== undefined) open.untilMs = untilMs;
  }

  /** The client stopped believing, at the latest now. */
  end(client: object, atMs = nowMs()): void {
    const open = this.#open.get(client);
    if (open === undefined) return;
    this.#open.delete(client);
    const { feature, seats, fromMs, untilMs } = open;
    this.#holds.push({ feature, seats, fromMs, toMs: Math.min(atMs, untilMs) });
  }

  /** I1 over the whole run. */
  check(): void {
    for (const client of this.#open.keys()) this.end(client);
    expect(overIssues(this.#holds, this.#limits)).toEqual([]);
    expect(this.#holds.length).toBeGreaterThan(0);
  }

  #begin(client: object, feature: string, seats: number, fromMs = nowMs()): void {
    const open = this.#open.get(client);
    // A belief that ended by itself before is another interval.
    if (open !== undefined && open.untilMs < fromMs) this.end(client);
    if (this.#open.has(client)) return;
    this.#open.set(client, { feature, seats, fromMs, untilMs: fromMs });
  }

  #extend(authorization: Authorization, expiresInMs: number): void {
    const open = this.#open.get(authorization);
    const untilMs = nowMs() + expiresInMs;
    if (open !== undefined) open.untilMs = Math.max(open.untilMs, untilMs);
  }
}
