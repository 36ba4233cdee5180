/**
 * The SDK's entry: knows the servers, makes sessions, watches the clocks of all of them, and gives
 * everything back when the program leaves.
 */
import { CLIENT_SERVERS_MAX, WAIT_MS_MAX, type Clocks } from "@quorate/core";
import type { Holder } from "@quorate/protocol";
import { Authorization } from "./authorization.ts";
import { onPageHide, webEnvironment, webHolder, webWire } from "./defaults.ts";
import { deferred } from "./deferred.ts";
import type { ClientClocks, ClientTimers, Environment, SessionIdentity } from "./environment.ts";
import { ClosedError, NoServerError } from "./errors.ts";
import { LicenseCheck } from "./license-check.ts";
import { orderServers, type Pick } from "./pick-server.ts";
import type { DriverHost } from "./session-driver.ts";
import type { Wire } from "./wire.ts";

/** A checkout goes on this long when no server can answer it, unless it waits for a seat anyway. */
const PATIENCE_MS_DEFAULT = 5_000;
/** `close` waits no longer than this for the servers to hear of it. */
const CLOSE_MS_MAX = 2_000;
/**
 * Timers stand still while a machine sleeps. The clocks are compared this often, within the margin of a
 * client's belief, so that a program on a machine that wakes up hears soon that its seats are lost.
 */
const CLOCK_WATCH_MS = 250;
/** Clocks that differ by less than this since the last look did not jump. */
const CLOCK_JUMP_MS = 100;

export interface ClientOptions {
  /** URLs of some or all members. */
  readonly servers?: readonly string[];
  /** The vendor's public key the program was built with: a grant that can't be followed to it is refused. */
  readonly vendorKey?: string;
  /** A token of the role client, for pools that let in only who has one. Not used with a `wire` of your own. */
  readonly token?: string;
  /** Which server a new session asks first; default `first`. */
  readonly pick?: Pick;
  readonly holder?: Holder;
  readonly patienceMs?: number;
  readonly wire?: Wire;
  readonly clocks?: ClientClocks;
  readonly timers?: ClientTimers;
  readonly random?: () => number;
  readonly newSession?: () => Promise<SessionIdentity>;
}

export interface CheckoutOptions {
  readonly feature: string;
  readonly version?: string;
  /** Default 1. */
  readonly seats?: number;
  readonly holder?: Holder;
  /** How long to wait for a seat when all are in use; default 0. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
  /** Hears the place in the queue (null: not known) each time a server tells it. */
  readonly onQueued?: (place: number | null) => void;
}

export class QuorateClient implements AsyncDisposable {
  readonly #host: DriverHost;
  readonly #options: ClientOptions;
  readonly #live = new Set<Authorization>();
  readonly #forgetPage: () => void;
  #servers: readonly string[];
  #seen: Clocks;
  #cancelWatch: (() => void) | null = null;
  #closed = false;

  constructor(options: ClientOptions = {}) {
    const environment: Environment = {
      clocks: options.clocks ?? webEnvironment.clocks,
      timers: options.timers ?? webEnvironment.timers,
      random: options.random ?? (() => webEnvironment.random()),
      newSession: options.newSession ?? (() => webEnvironment.newSession()),
    };
    const wire = options.wire ?? webWire(environment.timers, options.token ?? null);
    const { vendorKey } = options;
    const licenseCheck = vendorKey === undefined ? null : new LicenseCheck(wire, vendorKey);
    this.#host = { environment, wire, licenseCheck };
    this.#options = options;
    const servers = (options.servers ?? []).map((server) => server.replace(/\/+$/, ""));
    this.#servers = [...new Set(servers)].slice(0, CLIENT_SERVERS_MAX);
    this.#seen = environment.clocks.now();
    this.#forgetPage = onPageHide(() => void this.close());
  }

  /** The servers this client knows: those it was given, then those that members named. */
  get servers(): readonly string[] {
    return this.#servers;
  }

  /** What is held, or being asked for, at this moment. */
  get authorizations(): readonly Authorization[] {
    return [...this.#live];
  }

  /**
   * Resolves when the seats are held. Rejects with RefusedError (the pool said no), NoServerError (nobody
   * answered), ClosedError (`close` was called), or the signal's reason.
   */
  async checkout(options: CheckoutOptions): Promise<Authorization> {
    const { signal, feature, version } = options;
    signal?.throwIfAborted();
    this.#mustBeOpen();
    if (this.#servers.length === 0) throw new NoServerError([]);
    const { environment, wire } = this.#host;
    const { pick = "first" } = this.#options;
    const [servers, identity] = await Promise.all([
      orderServers(pick, this.#servers, feature, wire, () => environment.random()),
      environment.newSession(),
    ]);
    signal?.throwIfAborted();
    this.#mustBeOpen();
    const wants = {
      feature,
      ...(version === undefined ? {} : { version }),
      seats: options.seats ?? 1,
      holder: options.holder ?? this.#options.holder ?? webHolder(),
      waitMs: Math.min(WAIT_MS_MAX, Math.max(0, options.waitMs ?? 0)),
      patienceMs: this.#options.patienceMs ?? PATIENCE_MS_DEFAULT,
      hasBootClock: environment.clocks.hasBootClock,
    };
    const authorization = new Authorization(this.#host, wants, servers, identity, (changed) => {
      this.#onChange(changed);
      if (changed.isQueued) options.onQueued?.(changed.place);
    });
    this.#live.add(authorization);
    this.#watchClocks();
    const abort = (): void => void authorization.release();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      await authorization.granted();
      // It may be granted and given up in the same moment.
      signal?.throwIfAborted();
      return authorization;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Releases everything; resolves when the servers know, after two seconds at the latest. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#forgetPage();
    const { timers } = this.#host.environment;
    const late = deferred<void>();
    const cancel = timers.after(CLOSE_MS_MAX, () => late.resolve(), false);
    const releases = [...this.#live].map((authorization) => authorization.release());
    await Promise.race([Promise.all(releases), late.promise]);
    cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new ClosedError("The client was closed");
  }

  #onChange(authorization: Authorization): void {
    if (authorization.isOver) {
      this.#live.delete(authorization);
      return;
    }
    const added = authorization.servers.filter((server) => !this.#servers.includes(server));
    if (added.length > 0) {
      this.#servers = [...this.#servers, ...added].slice(0, CLIENT_SERVERS_MAX);
    }
  }

  /** One timer for all sessions, as long as there are any. */
  #watchClocks(): void {
    if (this.#cancelWatch !== null) return;
    const { clocks, timers } = this.#host.environment;
    this.#seen = clocks.now();
    const look = (): void => {
      this.#cancelWatch = this.#live.size === 0 ? null : timers.after(CLOCK_WATCH_MS, look, true);
      const before = this.#seen;
      const now = clocks.now();
      this.#seen = now;
      const passedMs = now.monotonicMs - before.monotonicMs;
      const jumpMs = Math.max(
        Math.abs(now.wallMs - before.wallMs - passedMs),
        now.bootMs - before.bootMs - passedMs,
      );
      if (jumpMs < CLOCK_JUMP_MS) return;
      for (const authorization of this.#live) authorization.clockJumped();
    };
    this.#cancelWatch = timers.after(CLOCK_WATCH_MS, look, true);
  }
}
