/** What a program holds after a checkout: its seats, as long as the servers can be heard. */
import { beliefLeftMs, believes, isBelieving } from "@quorate/core";
import type { ClientWants, ClientWord, Refusal } from "@quorate/core";
import type { OfflineVerdict } from "@quorate/protocol";
import { deferred } from "./deferred.ts";
import { Emitter } from "./emitter.ts";
import type { SessionIdentity } from "./environment.ts";
import { ClosedError, NoServerError, RefusedError } from "./errors.ts";
import { type DriverHost, SessionDriver } from "./session-driver.ts";

// A type, not an interface: only a type is a record of events to the emitter.
export type AuthorizationEvents = {
  /** The seats are not held any more: stop using them. Unless `retrying` is false, a new one is tried. */
  readonly lost: { readonly reason: string; readonly retrying: boolean };
  /** After `lost`: there are seats again, under a new session. */
  readonly regained: { readonly session: string; readonly member: string };
  /** Another member counts the session now; nothing changes for the program. */
  readonly moved: { readonly member: string };
  readonly renewed: { readonly expiresInMs: number };
  /** An administrator or a policy ended it; comes after `lost`. */
  readonly revoked: { readonly reason: string };
};

/** The refusal of a server that did not prove that it is one of the vendor's. */
function distrusted(detail: string): Refusal {
  return { refused: "license-invalid", detail };
}

export class Authorization implements AsyncDisposable {
  readonly feature: string;
  readonly seats: number;
  readonly #host: DriverHost;
  readonly #driver: SessionDriver;
  readonly #events = new Emitter<AuthorizationEvents>();
  readonly #granted = deferred<void>();
  readonly #over = deferred<void>();
  readonly #onChange: (authorization: Authorization) => void;
  readonly #asked: readonly string[];

  /** Made by `QuorateClient.checkout`; `onChange` hears of every word to the program. */
  constructor(
    host: DriverHost,
    wants: ClientWants,
    servers: readonly string[],
    identity: SessionIdentity,
    onChange: (authorization: Authorization) => void,
  ) {
    this.feature = wants.feature;
    this.seats = wants.seats;
    this.#host = host;
    this.#asked = servers;
    this.#onChange = onChange;
    // Somebody who only releases never asks whether it was granted.
    this.#granted.promise.catch(() => undefined);
    this.#driver = new SessionDriver(host, wants, servers, identity, (word, reason) =>
      this.#hear(word, reason),
    );
  }

  /** Changes when seats are regained after they were lost. */
  get session(): string {
    return this.#driver.state.session;
  }

  /** The member that counts it; null while lost and after the end. */
  get member(): string | null {
    const { state } = this.#driver;
    return isBelieving(state) ? state.authorization.member : null;
  }

  /** Signed by the member, for `verify` and for third parties; null while lost and after the end. */
  get token(): string | null {
    const { state } = this.#driver;
    return isBelieving(state) ? state.authorization.token : null;
  }

  /** Whether the seats may be used right now, by the clocks as they are now. */
  get held(): boolean {
    return believes(this.#driver.state, this.#host.environment.clocks.now());
  }

  /** Milliseconds of authorization left if no server answers any more; 0 when not held. */
  expiresInMs(): number {
    const { state } = this.#driver;
    if (!isBelieving(state)) return 0;
    return Math.max(0, beliefLeftMs(state.authorization, this.#host.environment.clocks.now()));
  }

  on<Name extends keyof AuthorizationEvents>(
    name: Name,
    listener: (event: AuthorizationEvents[Name]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  /** Gives the seats back. Resolves when a server knows, or after a few bounded tries; never rejects. */
  release(): Promise<void> {
    this.#driver.release();
    return this.#over.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /**
   * Follows the token to the vendor's key, with the license of the own server. `chain` says whether the
   * chain reaches the vendor's key or, without a pool key in the license, ends at the pool.
   */
  async verify(): Promise<OfflineVerdict> {
    const { state } = this.#driver;
    const { licenseCheck, environment } = this.#host;
    if (licenseCheck === null) return { valid: false, reason: "the client has no vendor key" };
    if (!isBelieving(state) || state.authorization.token === null) {
      return { valid: false, reason: "there is no authorization to verify" };
    }
    const { server, token } = state.authorization;
    return licenseCheck.verify(server, token, state.session, environment.clocks.now().wallMs);
  }

  /** Resolves when granted; rejects with RefusedError, NoServerError or ClosedError. */
  granted(): Promise<void> {
    return this.#granted.promise;
  }

  /** True once it is released or refused for good. */
  get isOver(): boolean {
    const { name } = this.#driver.state;
    return name === "released" || name === "refused";
  }

  get isQueued(): boolean {
    return this.#driver.state.name === "queued";
  }

  /** The place in the queue, from 1; null when there is none, or it is not known. */
  get place(): number | null {
    const { state } = this.#driver;
    return state.name === "queued" ? state.place : null;
  }

  /** The servers that the session has heard of. */
  get servers(): readonly string[] {
    const { state } = this.#driver;
    return "servers" in state ? state.servers : [];
  }

  /** A clock jumped: belief is looked at now and not at the next timer. */
  clockJumped(): void {
    this.#driver.tick();
  }

  #hear(word: ClientWord, reason: string | null): void {
    switch (word) {
      case "granted":
        this.#granted.resolve();
        break;
      case "renewed":
        this.#events.emit("renewed", { expiresInMs: this.expiresInMs() });
        break;
      case "moved":
        this.#events.emit("moved", { member: this.member ?? "" });
        break;
      case "lost":
        this.#events.emit("lost", { reason: reason ?? "expired", retrying: !this.isOver });
        break;
      case "regained":
        this.#events.emit("regained", { session: this.session, member: this.member ?? "" });
        break;
      case "revoked":
        this.#events.emit("revoked", { reason: reason ?? "revoked" });
        this.#end();
        break;
      case "refused":
      case "released":
        this.#end();
        break;
      case "queued":
        break;
    }
    this.#onChange(this);
  }

  #end(): void {
    this.#over.resolve();
    // After a grant this is of no effect: a promise is settled once.
    this.#granted.reject(this.#whyNotGranted());
  }

  #whyNotGranted(): Error {
    const { state, distrust } = this.#driver;
    if (state.name !== "refused") return new ClosedError("The checkout was given up");
    if (state.refusal !== null) return new RefusedError(state.refusal);
    if (distrust !== null) return new RefusedError(distrusted(distrust));
    return new NoServerError(this.#asked);
  }
}
