/** A virtual clock and a few scripted servers, for the tests of the SDK: no test of it ever sleeps. */
import { refuse, type Clocks } from "@quorate/core";
import type { Answer, CheckoutRequest, HeartbeatRequest, PoolAnswer } from "@quorate/protocol";
import { type ClientOptions, QuorateClient } from "./client.ts";
import type { ReleaseCall, Wire } from "./wire.ts";

const LATENCY_MS = 5;

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

export type Call = {
  readonly atMs: number;
  readonly server: string;
} & (
  | { readonly kind: "checkout"; readonly request: CheckoutRequest }
  | { readonly kind: "heartbeat"; readonly request: HeartbeatRequest }
  | { readonly kind: "release"; readonly request: ReleaseCall }
);

type Script = (call: Call, server: FakeServer) => Answer | null | undefined;

/** One member: grants what fits its seats, renews what it granted, and sends all others to the leader. */
export class FakeServer {
  readonly url: string;
  readonly id: string;
  seats = 5;
  /** `deaf` does its work and its answers are lost; `down` does nothing. */
  mode: "up" | "down" | "deaf" = "up";
  readonly sessions = new Set<string>();
  /** Answers instead of the model; undefined leaves it to the model. */
  script: Script = () => undefined;

  constructor(id: string) {
    this.id = id;
    this.url = `http://${id}`;
  }
}

export class FakeWorld {
  readonly servers: readonly FakeServer[];
  readonly calls: Call[] = [];
  leader: FakeServer;
  lifeMs = 60_000;
  /** What the machine slept, and what somebody added to the wall clock. */
  sleptMs = 0;
  wallOffsetMs = 1_800_000_000_000;
  #nowMs = 0;
  #timers: Timer[] = [];
  #made = 0;

  constructor(ids: readonly string[]) {
    this.servers = ids.map((id) => new FakeServer(id));
    const [first] = this.servers;
    if (first === undefined) throw new RangeError("a world needs a server");
    this.leader = first;
  }

  server(id: string): FakeServer {
    const found = this.servers.find((server) => server.id === id);
    if (found === undefined) throw new RangeError(`no server ${id}`);
    return found;
  }

  client(options: ClientOptions = {}): QuorateClient {
    return new QuorateClient({
      servers: this.servers.map(({ url }) => url),
      holder: { user: "ann", host: "desk" },
      wire: this.wire,
      clocks: { hasBootClock: true, now: () => this.clocks() },
      timers: { after: (ms, callback) => this.after(ms, callback) },
      random: () => 0.5,
      newSession: async () => {
        this.#made += 1;
        return { secret: `secret-${this.#made}`, session: `session-${this.#made}` };
      },
      ...options,
    });
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  clocks(): Clocks {
    const bootMs = this.#nowMs + this.sleptMs;
    return { monotonicMs: this.#nowMs, bootMs, wallMs: bootMs + this.wallOffsetMs };
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  get timersSet(): number {
    return this.#timers.length;
  }

  /** Lets virtual time pass, timer by timer, with everything that follows from each. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      await settle();
      const next = this.#timers.toSorted((left, right) => left.atMs - right.atMs)[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  async passUntil(atMs: number): Promise<void> {
    await this.pass(atMs - this.#nowMs);
  }

  /** Passes time until the promise is settled, and gives its outcome. */
  async outcome<T>(promise: Promise<T>, withinMs = 120_000): Promise<T> {
    const settled = promise.then(
      () => true,
      () => true,
    );
    const endMs = this.#nowMs + withinMs;
    while (this.#nowMs < endMs) {
      if (await Promise.race([settled, settle().then(() => false)])) return promise;
      await this.pass(10);
    }
    throw new Error("not settled in time");
  }

  callsTo(id: string, kind: Call["kind"]): readonly Call[] {
    const { url } = this.server(id);
    return this.calls.filter((call) => call.server === url && call.kind === kind);
  }

  readonly wire: Wire = {
    checkout: (server, request) => this.#answer({ ...this.#at(server), kind: "checkout", request }),
    heartbeat: (server, request) =>
      this.#answer({ ...this.#at(server), kind: "heartbeat", request }),
    release: async (server, request) => {
      const asked = await this.#reach({ ...this.#at(server), kind: "release", request });
      if (asked === null) return null;
      const { only } = request;
      const released = this.servers.filter(
        ({ mode, id }) => mode !== "down" && (only === undefined || only === id),
      );
      for (const member of released) member.sessions.delete(request.session);
      if (asked.mode === "deaf") return null;
      return { released: true, reached: true };
    },
    pool: async (server) => {
      const asked = this.#serverAt(server);
      await this.#travel();
      return asked === undefined || asked.mode !== "up" ? null : this.#pool(asked);
    },
    features: async () => null,
    license: async () => null,
  };

  #at(server: string): { atMs: number; server: string } {
    return { atMs: this.#nowMs, server };
  }

  #serverAt(url: string): FakeServer | undefined {
    return this.servers.find((server) => server.url === url);
  }

  #travel(): Promise<void> {
    return new Promise((resolve) => {
      this.after(LATENCY_MS, resolve);
    });
  }

  async #reach(call: Call): Promise<FakeServer | null> {
    this.calls.push(call);
    await this.#travel();
    const server = this.#serverAt(call.server);
    return server === undefined || server.mode === "down" ? null : server;
  }

  async #answer(call: Exclude<Call, { kind: "release" }>): Promise<Answer | null> {
    const server = await this.#reach(call);
    if (server === null) return null;
    const scripted = server.script(call, server);
    const answer = scripted === undefined ? this.#grant(call, server) : scripted;
    await this.#travel();
    return server.mode === "deaf" ? null : answer;
  }

  #grant(call: Exclude<Call, { kind: "release" }>, server: FakeServer): Answer {
    const { session } = call.request;
    const known = server.sessions.has(session);
    if (!known && call.kind === "heartbeat" && server !== this.leader) {
      return refuse("not-leader", "ask the leader", { leader: this.leader.url });
    }
    if (!known && server.sessions.size >= server.seats) return refuse("no-seats", "all in use");
    server.sessions.add(session);
    return this.granted(call, server, !known);
  }

  granted(call: Call, server: FakeServer, created: boolean): Answer {
    const hasToken = created || (call.kind === "heartbeat" && call.request.token !== undefined);
    return {
      session: call.request.session,
      feature: "cad",
      seats: 1,
      member: server.id,
      lifeMs: this.lifeMs,
      heartbeatMs: this.lifeMs / 3,
      ...(hasToken ? { token: `token-of-${server.id}-at-${this.#nowMs}` } : {}),
      pool: { leader: this.leader.url, servers: this.servers.map(({ url }) => url) },
      created,
    };
  }

  #pool(self: FakeServer): PoolAnswer {
    return {
      pool: "p",
      self: self.id,
      size: this.servers.length,
      leader: { id: this.leader.id, url: this.leader.url },
      term: 1,
      leaseMs: 5_000,
      majority: { needed: 1, alive: 1, reached: true },
      members: [],
      store: { name: "fake", id: null, state: "ok" },
      alarms: [],
    };
  }
}

/** A turn of the real event loop: all promises that can go on have gone on. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
