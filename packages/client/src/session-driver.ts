/**
 * Carries out what the client's rules in core decide: sends, sets the one timer of the session, tells the
 * program. It decides nothing about seats by itself.
 */
import {
  REFUSALS,
  beginClientSession,
  isBelieving,
  isRefusal,
  stepClientSession,
  wakeAfterMs,
} from "@quorate/core";
import type {
  ClientEffect,
  ClientEvent,
  ClientState,
  ClientStep,
  ClientWants,
  ClientWord,
} from "@quorate/core";
import type { Answer, ReleaseAnswer } from "@quorate/protocol";
import type { Environment, SessionIdentity } from "./environment.ts";
import type { LicenseCheck } from "./license-check.ts";
import type { Wire } from "./wire.ts";

export interface DriverHost {
  readonly environment: Environment;
  readonly wire: Wire;
  /** Null when the program named no vendor key. */
  readonly licenseCheck: LicenseCheck | null;
}

type Unjittered<E> = E extends unknown ? Omit<E, "random"> : never;
type Event = Unjittered<ClientEvent>;
type Effect<T extends ClientEffect["type"]> = Extract<ClientEffect, { type: T }>;

export class SessionDriver {
  readonly #host: DriverHost;
  readonly #onWord: (word: ClientWord, reason: string | null) => void;
  readonly #queue: Event[] = [];
  #identity: SessionIdentity;
  #state: ClientState;
  #running = false;
  #cancelTimer: (() => void) | null = null;
  /** Why the last authorization was not believed, when a vendor key is given. */
  #distrust: string | null = null;

  /** The first message leaves at once; `onWord` is called when there is something to tell. */
  constructor(
    host: DriverHost,
    wants: ClientWants,
    servers: readonly string[],
    identity: SessionIdentity,
    onWord: (word: ClientWord, reason: string | null) => void,
  ) {
    this.#host = host;
    this.#onWord = onWord;
    this.#identity = identity;
    const now = host.environment.clocks.now();
    const first = beginClientSession(wants, servers, identity.session, now);
    this.#state = first.state;
    this.#running = true;
    this.#apply(first);
    this.#running = false;
    this.#arm();
  }

  get state(): ClientState {
    return this.#state;
  }

  get distrust(): string | null {
    return this.#distrust;
  }

  tick(): void {
    this.#dispatch({ type: "tick" });
  }

  release(): void {
    this.#dispatch({ type: "release" });
  }

  /** Events that arrive while one is handled (a listener that releases) wait for their turn. */
  #dispatch(event: Event): void {
    this.#queue.push(event);
    if (this.#running) return;
    this.#running = true;
    const { environment } = this.#host;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const random = environment.random();
      const now = environment.clocks.now();
      this.#apply(stepClientSession(this.#state, { ...next, random }, now));
    }
    this.#running = false;
    this.#arm();
  }

  #apply(step: ClientStep): void {
    this.#state = step.state;
    for (const effect of step.effects) this.#perform(effect);
  }

  #perform(effect: ClientEffect): void {
    switch (effect.type) {
      case "tell":
        this.#onWord(effect.word, effect.reason);
        return;
      case "checkout":
      case "heartbeat":
        void this.#ask(effect);
        return;
      case "release":
        void this.#release(effect);
        return;
      case "release-duplicate":
        void this.#releaseDuplicate(effect);
        return;
      case "new-session":
        void this.#renew();
    }
  }

  async #ask(effect: Effect<"checkout" | "heartbeat">): Promise<void> {
    const { server, timeoutMs } = effect;
    const { n } = effect.request;
    const { secret } = this.#identity;
    const { wire } = this.#host;
    const answer =
      effect.type === "checkout"
        ? await wire.checkout(server, { ...effect.request, secret }, timeoutMs)
        : await wire.heartbeat(server, { ...effect.request, secret }, timeoutMs);
    const trusted = answer === null ? null : await this.#trusted(server, answer);
    this.#dispatch(
      trusted === null ? { type: "no-answer", n } : { type: "answer", n, answer: trusted },
    );
  }

  /** The answer, or null for a grant of a server that can't prove itself. */
  async #trusted(server: string, answer: Answer): Promise<Answer | null> {
    const { licenseCheck } = this.#host;
    if (licenseCheck === null || isRefusal(answer)) return answer;
    const state = this.#state;
    const verifiedMember = isBelieving(state) ? state.authorization.member : null;
    this.#distrust = await licenseCheck.refusalOf(server, answer, verifiedMember);
    return this.#distrust === null ? answer : null;
  }

  async #release({ server, session, n, timeoutMs }: Effect<"release">): Promise<void> {
    const { secret } = this.#identity;
    const answer = await this.#host.wire.release(server, { session, secret, n }, timeoutMs);
    this.#dispatch({ type: "release-answered", n, done: isSettled(answer) });
  }

  async #releaseDuplicate(effect: Effect<"release-duplicate">): Promise<void> {
    const { server, session, n, timeoutMs, notMember } = effect;
    const { secret } = this.#identity;
    const { wire } = this.#host;
    const pool = await wire.pool(server, timeoutMs);
    // The same member under two addresses has granted once.
    let done = pool?.self === notMember;
    if (pool !== null && !done && this.#mayRelease(pool.self, server, session)) {
      const call = { session, secret, n, only: pool.self };
      done = isSettled(await wire.release(server, call, timeoutMs));
    }
    this.#dispatch({ type: "duplicate-answered", session, server, done });
  }

  /** Meanwhile the session may have moved to just this member, or be asking there: then it is no duplicate. */
  #mayRelease(member: string, server: string, session: string): boolean {
    const state = this.#state;
    return (
      isBelieving(state) &&
      state.session === session &&
      state.authorization.member !== member &&
      state.asked?.server !== server
    );
  }

  async #renew(): Promise<void> {
    const identity = await this.#host.environment.newSession();
    const state = this.#state;
    if (!("making" in state) || !state.making) return;
    this.#identity = identity;
    this.#dispatch({ type: "session-made", session: identity.session });
  }

  #arm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    const { clocks, timers } = this.#host.environment;
    const waitMs = wakeAfterMs(this.#state, clocks.now());
    if (waitMs === null) return;
    // A program that only waits for its end must not be kept alive by its heartbeats.
    const background = isBelieving(this.#state) || this.#state.name === "lost";
    this.#cancelTimer = timers.after(waitMs, () => this.tick(), background);
  }
}

/** Whether a release needs no further try: it reached whoever holds the seat, or was refused for good. */
function isSettled(answer: ReleaseAnswer | null): boolean {
  if (answer === null) return false;
  if (!isRefusal(answer)) return answer.reached;
  const { next } = REFUSALS[answer.refused];
  return next === "over" || next === "stop";
}
