import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { beliefLeftMs } from "./client-belief.ts";
import { begin, believes, step, wakeAfterMs } from "./client-session.ts";
import type { ClientEffect, ClientEvent, ClientState, ClientWants } from "./client-types.ts";
import type { Clocks } from "./clocks.ts";
import { REFUSALS, type RefusalCode, refuse } from "./refusals.ts";
import { clientLifeMs } from "./timing.ts";

const WANTS: ClientWants = {
  feature: "cad",
  seats: 1,
  holder: { user: "ann", host: "desk" },
  waitMs: 0,
  patienceMs: 5_000,
  hasBootClock: true,
};
const SERVERS = ["http://a", "http://b", "http://c"];
const LIFE_MS = 6_000;

/** What the world may do next; `of` picks one of the messages that were sent so far. */
type Move =
  | { readonly do: "grant"; readonly of: number; readonly member: number; readonly token: boolean }
  | { readonly do: "refuse"; readonly of: number; readonly code: RefusalCode }
  | { readonly do: "lose"; readonly of: number }
  | { readonly do: "pass"; readonly ms: number }
  | { readonly do: "wake" }
  | { readonly do: "sleep"; readonly ms: number }
  | { readonly do: "set-wall"; readonly ms: number }
  | { readonly do: "session" }
  | { readonly do: "release" }
  | { readonly do: "dropped"; readonly of: number; readonly done: boolean };

const CODES = Object.keys(REFUSALS).filter((code): code is RefusalCode => code in REFUSALS);

type Unjittered<E> = E extends unknown ? Omit<E, "random"> : never;

const of = fc.nat(4);
const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("grant" as const),
      of,
      member: fc.nat(2),
      token: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("refuse" as const),
      of,
      code: fc.constantFrom(
        ...CODES,
        "confirm" as const,
        "not-leader" as const,
        "no-mandate" as const,
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("lose" as const), of }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.nat(3_000) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("wake" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sleep" as const), ms: fc.nat(9_000) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("set-wall" as const),
      ms: fc.integer({ min: -9_000, max: 9_000 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("session" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("release" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("dropped" as const), of, done: fc.boolean() }),
  },
);

interface Sent {
  readonly n: number;
  readonly server: string;
  readonly session: string;
  readonly at: Clocks;
}

/** Plays the moves and checks after each one all that must always hold. */
class Play {
  now: Clocks = { monotonicMs: 0, bootMs: 0, wallMs: 1e12 };
  state: ClientState;
  readonly asks: Sent[] = [];
  readonly duplicates: Sent[] = [];
  highest = 0;
  released = false;
  made = 0;
  /** Sessions whose belief ended once: nothing of them may be confirmed any more. */
  readonly endedSessions = new Set<string>();

  constructor() {
    const first = begin(WANTS, SERVERS, "s-0", this.now);
    this.state = first.state;
    this.check(first.effects);
  }

  play(next: Move): void {
    if (next.do === "pass") this.pass(next.ms, next.ms);
    if (next.do === "sleep") this.pass(0, next.ms);
    if (next.do === "set-wall") this.now = { ...this.now, wallMs: this.now.wallMs + next.ms };
    if (next.do === "wake") {
      const waitMs = wakeAfterMs(this.state, this.now);
      if (waitMs !== null) this.pass(waitMs, waitMs);
    }
    const event = this.eventOf(next);
    if (event === null) return;
    if (next.do === "release") this.released = true;
    const before = this.state;
    const result = step(before, { ...event, random: 0.5 }, this.now);
    this.state = result.state;
    if (result.effects.some((effect) => effect.type === "tell" && effect.word === "lost")) {
      if ("session" in before) this.endedSessions.add(before.session);
    }
    this.check(result.effects);
  }

  private pass(awakeMs: number, bootMs: number): void {
    const { monotonicMs, bootMs: before, wallMs } = this.now;
    this.now = {
      monotonicMs: monotonicMs + awakeMs,
      bootMs: before + bootMs,
      wallMs: wallMs + bootMs,
    };
  }

  private eventOf(next: Move): Unjittered<ClientEvent> | null {
    if (next.do === "release") return { type: "release" };
    if (next.do === "session") {
      this.made += 1;
      return { type: "session-made", session: `s-${this.made}` };
    }
    if (next.do === "dropped") {
      const sent = this.duplicates.at(-1 - next.of);
      return sent === undefined ? null : { type: "duplicate-answered", ...sent, done: next.done };
    }
    if (next.do !== "grant" && next.do !== "refuse" && next.do !== "lose") return { type: "tick" };
    const sent = this.asks.at(-1 - next.of);
    if (sent === undefined) return null;
    if (next.do === "lose") return { type: "no-answer", n: sent.n };
    if (next.do === "refuse") {
      const answer = refuse(next.code, "no", { nonce: "x", leader: "http://c" });
      return { type: "answer", n: sent.n, answer };
    }
    const answer = {
      session: sent.session,
      feature: "cad",
      seats: 1,
      member: `m-${next.member}`,
      lifeMs: LIFE_MS,
      heartbeatMs: LIFE_MS / 3,
      ...(next.token ? { token: "t" } : {}),
      pool: { leader: "http://c", servers: SERVERS },
    };
    return { type: "answer", n: sent.n, answer };
  }

  private check(effects: readonly ClientEffect[]): void {
    for (const effect of effects) {
      if (effect.type === "tell" || effect.type === "new-session") continue;
      const { n, session } = "request" in effect ? effect.request : effect;
      expect(n, "n grows with every message").toBeGreaterThan(this.highest);
      this.highest = n;
      const sent = { n, server: effect.server, session, at: this.now };
      if (effect.type === "release-duplicate") {
        this.duplicates.push(sent);
        if (!("authorization" in this.state)) throw new Error("a duplicate of nothing");
        expect(effect.server, "the own grant is kept").not.toBe(this.state.authorization.server);
      }
      if (effect.type === "checkout" || effect.type === "heartbeat") {
        this.asks.push(sent);
        expect(this.released, "nothing is asked after the release").toBe(false);
        expect(this.endedSessions.has(session), "an ended session is not used again").toBe(false);
      }
      if (effect.type === "heartbeat" && effect.request.confirm !== undefined) {
        const { state } = this;
        expect(state.name).toBe("recovering");
        if (state.name !== "recovering") continue;
        expect(beliefLeftMs(state.authorization, this.now)).toBeGreaterThan(0);
      }
    }
    // Every event, a release included, leaves a state that fits the clocks: `lost` is never told late.
    expect(believes(this.state, this.now)).toBe("authorization" in this.state);
    if (!believes(this.state, this.now)) return;
    // Belief rests on the answer to one message, for its life from that message's send by a clock that
    // nobody can set.
    const { state } = this;
    if (!("authorization" in state)) throw new Error("only an authorization is believed");
    const { since } = state.authorization;
    const founded = this.asks.some((sent) => sent.at === since && sent.session === state.session);
    expect(founded, "belief rests on a message of this session").toBe(true);
    const lifeMs = clientLifeMs(LIFE_MS);
    expect(this.now.monotonicMs - since.monotonicMs).toBeLessThan(lifeMs);
    expect(this.now.bootMs - since.bootMs).toBeLessThan(lifeMs);
    if (state.name !== "doubted") expect(this.now.wallMs - since.wallMs).toBeLessThan(lifeMs);
  }
}

describe("whatever the pool, the network and the clocks do", () => {
  test("a client never believes too long, repeats no number and confirms nothing that is over", () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
        const play = new Play();
        for (const next of moves) play.play(next);
      }),
      { numRuns: 3_000 },
    );
  });

  test("only the answer to the newest message is used", () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
        const play = new Play();
        for (const next of moves) play.play(next);
        const newest = "asked" in play.state ? play.state.asked?.n : undefined;
        const since = "authorization" in play.state ? play.state.authorization.since : null;
        for (const { n, session } of play.asks.filter((sent) => sent.n !== newest)) {
          const answer = {
            session,
            feature: "cad",
            seats: 1,
            member: "old",
            lifeMs: LIFE_MS,
            heartbeatMs: 1,
            pool: { leader: null, servers: [] },
          };
          const { state } = step(play.state, { type: "answer", n, answer, random: 0 }, play.now);
          if ("authorization" in state) expect(state.authorization.since).toBe(since);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("a waking machine always has something to do, so no timer runs in circles", () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
        const play = new Play();
        for (const next of moves) play.play(next);
        for (let ticks = 0; ticks < 5; ticks += 1) play.play({ do: "wake" });
        const sentBefore = play.highest;
        for (let ticks = 0; ticks < 20; ticks += 1) play.play({ do: "pass", ms: 0 });
        expect(play.highest - sentBefore).toBeLessThanOrEqual(SERVERS.length + 8);
        const waitMs = wakeAfterMs(play.state, play.now);
        expect(waitMs === null || waitMs > 0).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
