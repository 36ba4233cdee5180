/**
 * Clients that say what the SDK says and keep no more than they must: checkout at one server, a heartbeat each
 * third of a life, and when their server does not serve, the others in turn, whoever leads, and `confirm`.
 */
import { execFileSync } from "node:child_process";
import { hash, randomBytes } from "node:crypto";
import { clientLifeMs, heartbeatMs } from "@quorate/core";
import {
  AUTHORIZATIONS_PATH,
  authorizationPath,
  type Granted,
  heartbeatPath,
} from "@quorate/protocol";
import { nowMs } from "@quorate/e2e/wait";
import { type LightAnswer, LightConnections } from "./light-connections.ts";

export interface LightOptions {
  readonly servers: readonly string[];
  readonly feature: string;
  readonly lifeMs: number;
}

export interface LightClient {
  readonly session: string;
  readonly secret: string;
  n: number;
  token: string;
  /** Index of the server that holds the session. */
  server: number;
  /** From its first send of the last answered message on. */
  believesUntilMs: number;
  dueAtMs: number;
  /** When the first call in vain was sent; null: it is served. */
  noticedAtMs: number | null;
  movedAtMs: number | null;
}

const ADDRESSES = Array.from({ length: 16 }, (_, i) => `198.18.0.${120 + i}`);
/** A conversion holds its connection while the record is written, as each client of the SDK holds its own. */
const CONNECTIONS_EACH = 128;
const SECRET_BYTES = 32;
const TICK_MS = 5;
/** As the SDK, which adds little to what the server says. */
const BUSY_MS = 500;
const ROUND_MS = 250;
/** Those behind the place of the queue are dropped together. */
const DUE_KEPT_MAX = 50_000;
const HOLDER = { user: "load", host: "clients" };

export class LightClients {
  readonly #options: LightOptions;
  readonly #connections: readonly LightConnections[];
  /** In the order in which they are due: all have one interval. */
  readonly #due: LightClient[] = [];
  #dueAt = 0;
  /** As the answers say: who is asked next, as the SDK does. */
  #leader = 0;
  readonly all: LightClient[] = [];
  /** Authorizations that ended before anybody renewed them, and sessions that a server called over. */
  lost = 0;
  /** Answers by status and code, for people. */
  readonly heard = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: LightOptions) {
    this.#options = options;
    addAddresses();
    const from = Array.from({ length: CONNECTIONS_EACH }, () => ADDRESSES).flat();
    this.#connections = options.servers.map((url) => new LightConnections(url, from));
    this.#timer = setInterval(() => this.#beat(), TICK_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const each of this.#connections) each.close();
  }

  /** A new session at that server, kept by heartbeats; resolves false when it was refused. */
  checkout(server: number): Promise<LightClient | null> {
    const client = newClient(server);
    return this.#checkout(client).then((granted) => {
      if (!granted) return null;
      this.all.push(client);
      this.#served(client);
      return client;
    });
  }

  /** Checked out, held for a while and given back; false when either was refused. */
  async use(server: number, heldMs: number): Promise<boolean> {
    const client = newClient(server);
    if (!(await this.#checkout(client))) return false;
    await new Promise((resolve) => setTimeout(resolve, heldMs));
    client.n += 1;
    const path = `${authorizationPath(client.session)}?n=${client.n}`;
    return new Promise((done) => {
      const { secret } = client;
      this.#connections[server]!.send("DELETE", path, secret, "", (answer) =>
        done(answer?.status === 204),
      );
    });
  }

  #checkout(client: LightClient): Promise<boolean> {
    const { session, secret } = client;
    const sentMs = nowMs();
    client.n += 1;
    const { feature } = this.#options;
    const body = JSON.stringify({ session, n: client.n, feature, holder: HOLDER });
    return new Promise((done) => {
      this.#connections[client.server]!.send(
        "POST",
        AUTHORIZATIONS_PATH,
        secret,
        body,
        (answer) => {
          if (answer?.status === 201) this.#granted(client, answer, sentMs);
          else this.#note(answer);
          done(answer?.status === 201);
        },
      );
    });
  }

  #beat(): void {
    const now = nowMs();
    while (this.#dueAt < this.#due.length && this.#due[this.#dueAt]!.dueAtMs <= now) {
      const client = this.#due[this.#dueAt]!;
      this.#dueAt += 1;
      this.#heartbeat(client, client.server, undefined, 0);
    }
    if (this.#dueAt < DUE_KEPT_MAX) return;
    this.#due.splice(0, this.#dueAt);
    this.#dueAt = 0;
  }

  /** `tried`: how many servers of this round did not serve. */
  #heartbeat(
    client: LightClient,
    server: number,
    confirm: string | undefined,
    tried: number,
  ): void {
    const sentMs = nowMs();
    if (sentMs >= client.believesUntilMs) {
      this.lost += 1;
      this.heard.set("ended", (this.heard.get("ended") ?? 0) + 1);
      return;
    }
    client.n += 1;
    const { n, token, session, secret } = client;
    const isHome = server === client.server && confirm === undefined;
    const { feature } = this.#options;
    const body = JSON.stringify(
      isHome
        ? { n }
        : { n, token, feature, holder: HOLDER, ...(confirm === undefined ? {} : { confirm }) },
    );
    this.#connections[server]!.send("POST", heartbeatPath(session), secret, body, (answer) => {
      if (answer?.status === 200 || answer?.status === 201) {
        if (server !== client.server) client.movedAtMs = nowMs();
        client.server = server;
        this.#granted(client, answer, sentMs);
        this.#served(client);
        return;
      }
      client.noticedAtMs ??= sentMs;
      const code = this.#note(answer);
      const problem = answer === null ? {} : (JSON.parse(answer.body) as Problem);
      if (code === "confirm") this.#heartbeat(client, server, problem.nonce, tried);
      else if (code === "not-leader" && problem.leader !== undefined) {
        const leader = this.#options.servers.indexOf(problem.leader);
        if (leader !== -1) this.#leader = leader;
        this.#later(client, leader === -1 ? server + 1 : leader, tried + 1);
      } else if (code === "busy") {
        const ms = (problem.retryAfterMs ?? 0) + BUSY_MS * (0.2 + Math.random() / 2);
        setTimeout(() => this.#heartbeat(client, server, undefined, 0), ms);
      } else if (code === "over") this.lost += 1;
      else
        this.#later(
          client,
          tried === 0 && this.#leader !== server ? this.#leader : server + 1,
          tried + 1,
        );
    });
  }

  #later(client: LightClient, server: number, tried: number): void {
    const at = server % this.#connections.length;
    if (tried < this.#connections.length) this.#heartbeat(client, at, undefined, tried);
    else
      setTimeout(() => this.#heartbeat(client, at, undefined, 0), ROUND_MS * (1 + Math.random()));
  }

  #granted(client: LightClient, { body }: LightAnswer, sentMs: number): void {
    const { token, pool } = JSON.parse(body) as Granted;
    if (pool.leader !== null) this.#leader = this.#options.servers.indexOf(pool.leader);
    if (token !== undefined) client.token = token;
    client.believesUntilMs = sentMs + clientLifeMs(this.#options.lifeMs);
    client.dueAtMs = sentMs + heartbeatMs(this.#options.lifeMs);
  }

  #served(client: LightClient): void {
    client.noticedAtMs = null;
    this.#due.push(client);
  }

  #note(answer: LightAnswer | null): string {
    const code = answer === null ? "none" : codeOf(answer);
    this.heard.set(code, (this.heard.get(code) ?? 0) + 1);
    return answer?.status === 410 || answer?.status === 403 ? "over" : code;
  }
}

interface Problem {
  readonly code?: string;
  readonly nonce?: string;
  readonly leader?: string;
  readonly retryAfterMs?: number;
}

function codeOf({ status, body }: LightAnswer): string {
  return (JSON.parse(body) as Problem).code ?? String(status);
}

function newClient(server: number): LightClient {
  const secret = randomBytes(SECRET_BYTES).toString("base64url");
  return {
    session: hash("sha256", secret, "base64url"),
    secret,
    n: 0,
    token: "",
    server,
    believesUntilMs: Infinity,
    dueAtMs: 0,
    noticedAtMs: null,
    movedAtMs: null,
  };
}

/** A site has many machines, and one address may ask a server only so often. */
function addAddresses(): void {
  for (const address of ADDRESSES) {
    execFileSync("ip", ["address", "add", `${address}/24`, "dev", "wire"]);
  }
}
