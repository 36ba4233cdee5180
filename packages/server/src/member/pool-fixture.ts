/**
 * A pool of members inside one test: real members over a shared memory store, memory journals that survive
 * their processes, calls between members without a network, and time that the test moves.
 *
 * Deliberately absent: chance. What goes wrong is written in the test; the simulation plays the dice.
 */
import type { License } from "@quorate/core";
import type { Answer, Granted, ReleaseAnswer, TokenClaims } from "@quorate/protocol";
import type { JournalState } from "../journal/journal-state.ts";
import { MemoryJournal } from "../journal/memory-journal.ts";
import { FaultyStore } from "../store/faulty-store.ts";
import { MemoryStore } from "../store/memory-store.ts";
import type { AllocationRecord, MemberRecord } from "./keys.ts";
import { Member } from "./member.ts";
import { NOT_REACHED } from "./peer-calls.ts";
import type { Licenses, MemberPorts, Runtime, Tokens } from "./ports.ts";
import { VirtualTime } from "./virtual-time.ts";

const LEASE_MS = 5_000;

export interface LicenseOptions {
  readonly sequence?: number;
  readonly size?: number;
  readonly seats: number;
  readonly lifeMs?: number;
  /** The member that gets all seats at first; without it they are spread evenly. */
  readonly allTo?: string;
}

/** One feature, `cad`; nobody signs anything here. */
export function licenseText(options: LicenseOptions): string {
  const { sequence = 1, size = 3, seats, lifeMs = 60_000, allTo } = options;
  const spread = Object.fromEntries(
    ["ada", "bob", "cyd"].map((id) => [id, id === allTo ? seats : 0]),
  );
  const license: License = {
    quorate: 1,
    id: "license",
    vendor: "Vendor",
    customer: "Customer",
    sequence,
    issued: "2026-01-01T00:00:00Z",
    pool: { name: "pool", size },
    features: [
      { name: "cad", version: "9.0", seats, lifeMs, ...(allTo === undefined ? {} : { spread }) },
    ],
    signature: { key: "ed25519:none", value: "none" },
  };
  return JSON.stringify(license);
}

export interface Process {
  readonly member: Member;
  readonly store: FaultyStore;
  readonly journal: MemoryJournal;
  alive: boolean;
  exit: { readonly code: number; readonly reason: string } | null;
}

export class Pool {
  readonly time = new VirtualTime();
  /** What the next processes share. */
  backing = new MemoryStore();
  /** Members that the others cannot call, nor they them. */
  readonly unreachable = new Set<string>();
  private readonly running = new Map<string, Process>();
  private readonly disks = new Map<string, JournalState>();
  private readonly licenseFiles = new Map<string, string>();
  private readonly signed = new Map<
    string,
    { readonly claims: TokenClaims; readonly key: string }
  >();
  private readonly text: string;
  private starts = 0;

  constructor(license: LicenseOptions) {
    this.text = licenseText(license);
  }

  /** A pool whose members all grant, whose leader is the first, and whose seats are spread. */
  static async of(ids: readonly string[], license: LicenseOptions): Promise<Pool> {
    const pool = new Pool(license);
    for (const id of ids) pool.start(id);
    await pool.ready(ids);
    return pool;
  }

  async ready(ids: readonly string[]): Promise<void> {
    const ready = (id: string): boolean => {
      const { member } = this.process(id);
      return member.readiness() === null && member.pool().leader !== null;
    };
    await this.time.until(`${ids.join(", ")} grant`, () => ids.every(ready));
    // The leader gives the seats out, and the others read it.
    await this.time.pass(1_500);
  }

  start(id: string, journal?: MemoryJournal): Process {
    const disk = this.disks.get(id);
    const opened = journal ?? new MemoryJournal(disk === undefined ? {} : { durable: disk });
    const time = this.time;
    this.starts += 1;
    const inner = time.runtime(`${id}.${this.starts}`);
    const whileAlive = (callback: () => void) => () => {
      if (process.alive) callback();
    };
    const after = (ms: number, callback: () => void) => inner.after(ms, whileAlive(callback));
    const runtime: Runtime = { ...inner, after };
    const store = new FaultyStore(this.backing, after);
    const member = new Member(
      {
        id,
        url: `http://${id}`,
        key: `key of ${id}`,
        certifiedBy: null,
        journalFile: null,
        priority: id === "ada" ? 1 : 0,
        leaseMs: LEASE_MS,
        onExit: (exit) => {
          process.exit ??= exit;
          this.end(id, process);
        },
      },
      this.portsOf(id, runtime, store, opened),
    );
    const process: Process = { member, store, journal: opened, alive: true, exit: null };
    this.running.set(id, process);
    void member.start();
    return process;
  }

  /** kill -9: nothing of it runs any more; its journal keeps what was synced. */
  kill(id: string): void {
    this.end(id, this.process(id));
  }

  async stop(id: string): Promise<void> {
    const process = this.process(id);
    await this.time.outcome(process.member.stop());
    this.end(id, process);
  }

  /** The member can't reach the store from now on, or can again. */
  cutOff(id: string, cut = true): void {
    const { store } = this.process(id);
    store.fate = () => (cut ? { kind: "never" } : { kind: "answered" });
    store.watchMs = cut ? null : 1;
  }

  process(id: string): Process {
    const found = this.running.get(id);
    if (found === undefined) throw new Error(`${id} was never started`);
    return found;
  }

  member(id: string): Member {
    return this.process(id).member;
  }

  record(): AllocationRecord {
    return this.value("allocation/cad") as AllocationRecord;
  }

  memberRecord(id: string): MemberRecord {
    return this.value(`member/${id}`) as MemberRecord;
  }

  leader(): string {
    return (this.value("leader") as { member: string }).member;
  }

  client(name: string): Client {
    return new Client(this, name);
  }

  private value(key: string): unknown {
    const [found] = this.backing.apply({ compare: [], puts: [], reads: [key] }).read;
    if (found === undefined) throw new Error(`the store has no ${key}`);
    return JSON.parse(found.value) as unknown;
  }

  private end(id: string, process: Process): void {
    if (!process.alive) return;
    process.alive = false;
    this.disks.set(id, process.journal.crash());
  }

  private portsOf(
    id: string,
    runtime: Runtime,
    store: FaultyStore,
    journal: MemoryJournal,
  ): MemberPorts {
    const silent = (): void => {};
    return {
      runtime,
      store,
      journal,
      tokens: this.tokensOf(`key of ${id}`),
      licenses: this.licensesOf(id),
      log: { info: silent, warn: silent, error: silent },
      peers: {
        call: (_url, to, call, deadlineMs) =>
          new Promise((resolve) => {
            const there = this.running.get(to);
            runtime.after(deadlineMs, () => resolve(null));
            if (there?.alive !== true) {
              resolve(NOT_REACHED);
              return;
            }
            if (this.unreachable.has(to) || this.unreachable.has(id)) return;
            void there.member.peer(id, structuredClone(call)).then((answer) => {
              if (there.alive) resolve(structuredClone(answer));
            });
          }),
      },
    };
  }

  private tokensOf(key: string): Tokens {
    const read: Tokens["read"] = (token, memberKeyOf) => {
      const found = this.signed.get(token);
      return found !== undefined && memberKeyOf(found.claims.member) === found.key
        ? found.claims
        : null;
    };
    return {
      sign: (claims) => {
        const token = `token ${this.signed.size + 1}`;
        this.signed.set(token, { claims: { ...claims }, key });
        return token;
      },
      read,
      readSoon: (token, memberKeyOf) => Promise.resolve(read(token, memberKeyOf)),
      sessionMatches: (session, secret) => secret === `secret of ${session}`,
    };
  }

  private licensesOf(id: string): Licenses {
    return {
      check: (text) => ({ license: JSON.parse(text) as License, canonical: text }),
      readOwn: () => Promise.resolve(this.licenseFiles.get(id) ?? this.text),
      writeOwn: (text) => {
        this.licenseFiles.set(id, text);
        return Promise.resolve();
      },
    };
  }
}

/** What the SDK keeps of one session, without its decisions: the test says whom it asks. */
export class Client {
  private readonly pool: Pool;
  readonly session: string;
  readonly secret: string;
  private n = 0;
  token: string | undefined;

  constructor(pool: Pool, name: string) {
    this.pool = pool;
    this.session = name;
    this.secret = `secret of ${name}`;
  }

  /** Not waited for: several may be under way. */
  ask(
    at: string,
    more: { readonly seats?: number; readonly waitMs?: number } = {},
  ): Promise<Answer> {
    this.n += 1;
    const { session, secret, n } = this;
    const holder = { user: session, host: "desk" };
    return this.pool
      .member(at)
      .checkout({ session, secret, n, feature: "cad", holder, ...more })
      .then((answer) => this.remember(answer));
  }

  checkout(at: string, more: { seats?: number; waitMs?: number } = {}): Promise<Answer> {
    return this.pool.time.outcome(this.ask(at, more));
  }

  async heartbeat(at: string, confirm?: string): Promise<Answer> {
    this.n += 1;
    const { session, secret, n, token } = this;
    const answer = await this.pool.time.outcome(
      this.pool.member(at).heartbeat({
        session,
        secret,
        n,
        ...(token === undefined ? {} : { token }),
        ...(confirm === undefined ? {} : { confirm }),
      }),
    );
    return this.remember(answer);
  }

  /** Heartbeats until it is granted, as the SDK does: `busy` again a little later, `confirm` at once. */
  async convert(at: string, withinMs = 10_000): Promise<Granted> {
    const untilMs = this.pool.time.nowMs + withinMs;
    let confirm: string | undefined;
    for (;;) {
      const answer = await this.heartbeat(at, confirm);
      if (!("refused" in answer)) return answer;
      confirm = answer.nonce;
      const again = answer.refused === "busy" || answer.refused === "no-mandate";
      if (confirm === undefined && !(again && this.pool.time.nowMs < untilMs)) {
        throw new Error(`${at} refused ${this.session}: ${answer.refused}, ${answer.detail}`);
      }
      if (confirm === undefined) await this.pool.time.pass(100);
    }
  }

  release(at: string): Promise<ReleaseAnswer> {
    this.n += 1;
    const { session, secret, n } = this;
    return this.pool.time.outcome(
      this.pool.member(at).release({ session, secret, n, administrator: false }),
    );
  }

  /** A message that was sent before others and comes after them. */
  lateHeartbeat(at: string, n: number): Promise<Answer> {
    const { session, secret } = this;
    const holder = { user: session, host: "desk" };
    return this.pool.time.outcome(
      this.pool.member(at).heartbeat({ session, secret, n, feature: "cad", holder }),
    );
  }

  private remember(answer: Answer): Answer {
    if (!("refused" in answer) && answer.token !== undefined) this.token = answer.token;
    return answer;
  }
}
