/**
 * A pool of real servers in a folder of its own. Keys and licenses are made in this process; the servers are
 * `quorate serve` over one SQLite store. The test's context ends all of it and, if the test failed, prints what
 * the servers said.
 */
import type { KeyObject } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serverLifeMs, timingOf } from "@quorate/core";
import { certificateBytes, type PoolAnswer, signedBytes } from "@quorate/protocol";
import {
  generatePrivateKey,
  openMemberFolder,
  publicKeyOf,
  sign,
  storeCertificate,
} from "@quorate/server/keys";
import type { TestContext } from "vitest";
import { call, featureOf, poolOf, type Reply } from "./http.ts";
import { ServerProcess } from "./server-process.ts";
import { waitFor } from "./wait.ts";

export const LEASE_MS = 2_000;
/** The shortest life that a lease of LEASE_MS allows. */
export const LIFE_MS = 12_000;
/** R: how long a silent server may be taken for alive. */
export const RETIRE_MS = timingOf(LEASE_MS).retireAfterMs;
export const SERVER_LIFE_MS = serverLifeMs(LIFE_MS);

/** How long another leader may take after the old one was retired: jitter, one renewal, a busy machine. */
export const LEADER_CHANGE_MS = 2_500;

/** The start of the pool that was asked for last. */
let starting: Promise<unknown> = Promise.resolve();

const MEMBERS = ["a", "b", "c"] as const;

export interface PoolOptions {
  /** Of the one feature, "cad". Default 30. */
  readonly seats?: number;
  /** Leads when the test begins. Default: whoever was first. */
  readonly firstLeader?: string;
}

export class Pool {
  readonly folder: string;
  readonly adminToken = "administrator-of-the-test";
  readonly vendorPublicKey: string;
  readonly #vendorKey: KeyObject;
  readonly #poolKey: KeyObject;
  readonly #options: PoolOptions;
  readonly #servers = new Map<string, ServerProcess>();
  readonly #urls = new Map<string, string>();
  readonly #said: string[] = [];

  static async start(context: TestContext, options: PoolOptions = {}): Promise<Pool> {
    const pool = Pool.prepare(context, options);
    // One pool after another: a start is all computing, what follows is mostly waiting.
    const started = starting.then(() => pool.#begin());
    starting = started.catch(() => undefined);
    await started;
    return pool;
  }

  async #begin(): Promise<void> {
    const { firstLeader } = this.#options;
    if (firstLeader !== undefined) this.launch(firstLeader, ["--priority", "9"]);
    await Promise.all(this.members.filter((id) => id !== firstLeader).map((id) => this.up(id)));
    if (firstLeader !== undefined) {
      await this.ready(firstLeader);
      await this.lead(firstLeader);
    }
    await this.allocated();
  }

  /** Folders, keys and the license are there; no server runs yet. */
  static prepare(context: TestContext, options: PoolOptions = {}): Pool {
    const pool = new Pool(options);
    context.onTestFailed(() => pool.tell(context.task.name));
    context.onTestFinished(() => pool.close());
    for (const id of pool.members) pool.addMember(id);
    return pool;
  }

  private constructor(options: PoolOptions) {
    this.#options = options;
    this.folder = mkdtempSync(join(tmpdir(), "quorate-e2e-"));
    this.#vendorKey = generatePrivateKey();
    this.#poolKey = generatePrivateKey();
    this.vendorPublicKey = publicKeyOf(this.#vendorKey);
    writeFileSync(join(this.folder, "admin.token"), this.adminToken, { mode: 0o600 });
    this.writeLicense("license.json", this.license(1));
  }

  get members(): readonly string[] {
    return MEMBERS;
  }

  get seats(): number {
    return this.#options.seats ?? 30;
  }

  get storeFile(): string {
    return join(this.folder, "store.db");
  }

  get licenseFile(): string {
    return join(this.folder, "license.json");
  }

  get adminTokenFile(): string {
    return join(this.folder, "admin.token");
  }

  dataOf(id: string): string {
    return join(this.folder, id);
  }

  // ---- licenses -------------------------------------------------------------------------------------

  /** A signed license; what `change` names stands in for the pool's own. */
  license(
    sequence: number,
    change: {
      readonly seats?: number;
      readonly customer?: string;
      readonly poolName?: string;
      readonly vendorKey?: KeyObject;
    } = {},
  ): string {
    const seats = change.seats ?? this.seats;
    const cad = { name: "cad", version: "2026.1", seats, lifeMs: LIFE_MS };
    const content = {
      quorate: 1,
      id: `license-${sequence}`,
      vendor: "Vendor",
      customer: change.customer ?? "Customer",
      sequence,
      issued: "2026-01-01T00:00:00Z",
      pool: {
        name: change.poolName ?? "test",
        size: this.members.length,
        key: publicKeyOf(this.#poolKey),
      },
      features: [cad],
    };
    const signed = signedBytes(content);
    if (signed === null) throw new Error("the license of a test has a canonical form");
    const key = change.vendorKey ?? this.#vendorKey;
    const signature = { key: publicKeyOf(key), value: sign(key, signed) };
    return JSON.stringify({ ...content, signature });
  }

  writeLicense(name: string, text: string): string {
    const file = join(this.folder, name);
    writeFileSync(file, text);
    return file;
  }

  // ---- processes ------------------------------------------------------------------------------------

  /** A data folder with a key that the pool certified. */
  addMember(id: string): void {
    mkdirSync(this.dataOf(id), { recursive: true, mode: 0o700 });
    const folder = openMemberFolder(this.dataOf(id), id, id);
    const content = {
      quorate: 1,
      member: id,
      key: folder.publicKey,
      issued: "2026-01-01T00:00:00Z",
    } as const;
    const value = sign(this.#poolKey, certificateBytes(content));
    storeCertificate(folder, {
      ...content,
      signature: { key: publicKeyOf(this.#poolKey), value },
    });
  }

  flags(id: string, more: readonly string[] = [], bring = true): string[] {
    const port = new URL(this.#urls.get(id) ?? "http://127.0.0.1:0").port || "0";
    const where = ["--data", this.dataOf(id), "--listen", `127.0.0.1:${port}`];
    const store = ["--store", `sqlite:${this.storeFile}`, "--lease-ms", String(LEASE_MS)];
    const keys = ["--vendor-key", this.vendorPublicKey, "--admin-token-file", this.adminTokenFile];
    return [
      ...where,
      ...store,
      ...keys,
      ...(bring ? ["--license", this.licenseFile] : []),
      ...more,
    ];
  }

  /** Starts the process and does not wait. A member that ran before keeps its port. */
  launch(
    id: string,
    more: readonly string[] = [],
    { bring = true }: { readonly bring?: boolean } = {},
  ): ServerProcess {
    const server = new ServerProcess(id, this.flags(id, more, bring));
    const old = this.#servers.get(id);
    if (old !== undefined) this.#said.push(`${id} before: ${old.program.stderr}`);
    this.#servers.set(id, server);
    return server;
  }

  async ready(id: string): Promise<string> {
    const url = await this.server(id).ready();
    this.#urls.set(id, url);
    return url;
  }

  /** Starts a member and waits until it grants. */
  async up(id: string): Promise<string> {
    this.launch(id);
    return this.ready(id);
  }

  server(id: string): ServerProcess {
    const server = this.#servers.get(id);
    if (server === undefined) throw new Error(`${id} was never started`);
    return server;
  }

  url(id: string): string {
    const url = this.#urls.get(id);
    if (url === undefined) throw new Error(`${id} was never ready`);
    return url;
  }

  /** URLs of these members, or of all that ever ran. */
  urls(...ids: readonly string[]): string[] {
    return ids.length === 0 ? [...this.#urls.values()] : ids.map((id) => this.url(id));
  }

  kill(...ids: readonly string[]): Promise<void[]> {
    return Promise.all(ids.map((id) => this.server(id).program.kill()));
  }

  /** SIGTERM; resolves with the exit code. */
  async stop(id: string): Promise<number> {
    const { program } = this.server(id);
    program.signal("SIGTERM");
    return program.ended();
  }

  /** A paused process is continued at the end of the test by its kill. */
  pause(id: string): void {
    this.server(id).program.signal("SIGSTOP");
  }

  resume(id: string): void {
    this.server(id).program.signal("SIGCONT");
  }

  // ---- the pool as its members see it ---------------------------------------------------------------

  /** The leader as `by` names it; with `not`, another than that. */
  async leader(by: string, not?: string): Promise<string> {
    return waitFor(`a leader other than ${not ?? "none"}`, async () => {
      const leader = (await poolOf(this.url(by)))?.leader?.id ?? null;
      return leader === not ? null : leader;
    });
  }

  /** Moves the leadership and waits until all running members know. */
  async lead(id: string): Promise<void> {
    await waitFor(`${id} leads`, async () => {
      const reply = await this.admin<PoolAnswer>("POST", id, "/v1/pool/lead", { member: id });
      return reply?.status === 200 && reply.body.leader?.id === id;
    });
    await Promise.all(
      [...this.#servers.values()]
        .filter(({ program }) => program.runs)
        .map((server) =>
          waitFor(`${server.id} knows that ${id} leads`, async () => {
            const url = this.#urls.get(server.id);
            return url === undefined || (await poolOf(url))?.leader?.id === id;
          }),
        ),
    );
  }

  admin<T>(
    method: "POST" | "PUT" | "DELETE",
    id: string,
    path: string,
    body?: unknown,
  ): Promise<Reply<T> | null> {
    return call<T>(method, this.url(id) + path, {
      headers: { authorization: `Bearer ${this.adminToken}` },
      ...(body === undefined ? {} : { body }),
    });
  }

  install(id: string, text: string): Promise<Reply<{ sequence: number }> | null> {
    return call("PUT", `${this.url(id)}/v1/license`, {
      headers: { authorization: `Bearer ${this.adminToken}` },
      text,
    });
  }

  /** The leader has given every running member its share of the seats. */
  private async allocated(): Promise<void> {
    await waitFor("every member has its allocation", async () => {
      const row = await featureOf(this.url("b"));
      // Fewer seats than members: none has a share, all are given where they are asked for.
      if (this.seats < this.members.length) return row?.seats === this.seats;
      return Object.keys(row?.members ?? {}).length === this.members.length;
    });
  }

  // ---- end ------------------------------------------------------------------------------------------

  private tell(test: string): void {
    console.error(`servers of the failed test "${test}":`);
    for (const said of this.#said) console.error(said);
    for (const [id, { program }] of this.#servers) {
      const how = program.runs ? "runs" : `ended with ${program.exitCode}`;
      console.error(`${id} (${how}): ${program.stderr}`);
    }
  }

  private async close(): Promise<void> {
    await this.kill(...this.#servers.keys());
    rmSync(this.folder, { recursive: true, force: true });
  }
}
