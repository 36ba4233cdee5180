/** A pool of three `quorate serve` with three features and people at work, shared by the tests of a file. */
import { hash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Authorization, nodeClient, type QuorateClient } from "@quorate/client/node";
import type { DenialsAnswer, PoolAnswer, Role, TokenAnswer } from "@quorate/protocol";
import { certificateBytes, signedBytes } from "@quorate/protocol";
import {
  generatePrivateKey,
  openMemberFolder,
  publicKeyOf,
  sign,
  storeCertificate,
} from "@quorate/server/keys";
import { ServerProcess } from "../../e2e/src/server-process.ts";
import { waitFor } from "../../e2e/src/wait.ts";

export const LEASE_MS = 2_000;
const LIFE_MS = 12_000;
/** Half a day more than the 41 that the tests read. */
const SIM_EXPIRES = new Date(Date.now() + 41.5 * 24 * 3_600_000).toISOString();
export const MEMBERS = ["a", "b", "c"] as const;
export const ADMIN_TOKEN = "administrator-of-the-console";
const ADMIN_HEADERS = { Authorization: `Bearer ${ADMIN_TOKEN}` };

export interface Seats {
  readonly cad: number;
  readonly sim: number;
  readonly solver: number;
}

const SEATS: Seats = { cad: 30, sim: 8, solver: 4 };

export class ConsolePool {
  readonly #folder = mkdtempSync(join(tmpdir(), "quorate-console-pool-"));
  readonly #vendorKey = generatePrivateKey();
  readonly #poolKey = generatePrivateKey();
  readonly #servers = new Map<string, ServerProcess>();
  readonly #urls = new Map<string, string>();
  readonly #clients: QuorateClient[] = [];
  readonly #flags: readonly string[];
  readonly #lifeMs: number;

  private constructor(flags: readonly string[], lifeMs: number) {
    this.#flags = flags;
    this.#lifeMs = lifeMs;
  }

  /** `flags`: more of `quorate serve`, the same for each server. */
  static async start(
    flags: readonly string[] = [],
    seats: Seats = SEATS,
    lifeMs = LIFE_MS,
  ): Promise<ConsolePool> {
    const pool = new ConsolePool(flags, lifeMs);
    writeFileSync(join(pool.#folder, "admin.token"), ADMIN_TOKEN, { mode: 0o600 });
    writeFileSync(join(pool.#folder, "license.json"), pool.license(1, seats));
    for (const id of MEMBERS) pool.#addMember(id);
    await Promise.all(MEMBERS.map((id) => pool.up(id)));
    await waitFor("every server has seats of every feature", async () => {
      const response = await fetch(`${pool.url("a")}/v1/features`, { headers: ADMIN_HEADERS });
      const { features } = (await response.json()) as {
        features: { members: Record<string, unknown> }[];
      };
      return features.every((each) => Object.keys(each.members).length === MEMBERS.length);
    });
    return pool;
  }

  /** A signed license of this pool. */
  license(sequence: number, seats: Seats): string {
    const feature = (name: keyof Seats) => ({
      name,
      version: name === "solver" ? "11.4" : "2026.1",
      seats: seats[name],
      lifeMs: this.#lifeMs,
      ...(name === "sim" ? { expires: SIM_EXPIRES } : {}),
    });
    const content = {
      quorate: 1,
      id: `EN-2026-${sequence}`,
      vendor: "Example Vendor",
      customer: "Example Engineering",
      sequence,
      issued: "2026-01-01T00:00:00Z",
      pool: { name: "engineering", size: MEMBERS.length, key: publicKeyOf(this.#poolKey) },
      features: [feature("cad"), feature("sim"), feature("solver")],
    };
    const signed = signedBytes(content);
    if (signed === null) throw new Error("the license of a test has a canonical form");
    const signature = {
      key: publicKeyOf(this.#vendorKey),
      value: sign(this.#vendorKey, signed),
    };
    return JSON.stringify({ ...content, signature });
  }

  url(id: string): string {
    const url = this.#urls.get(id);
    if (url === undefined) throw new Error(`${id} never ran`);
    return url;
  }

  async up(id: string): Promise<void> {
    const at = (name: string): string => join(this.#folder, name);
    const port = new URL(this.#urls.get(id) ?? "http://127.0.0.1:0").port || "0";
    const server = new ServerProcess(id, [
      `--data=${at(id)}`,
      `--listen=127.0.0.1:${port}`,
      `--vendor-key=${publicKeyOf(this.#vendorKey)}`,
      `--license=${at("license.json")}`,
      `--store=sqlite:${at("store.db")}`,
      `--lease-ms=${LEASE_MS}`,
      `--admin-token-file=${at("admin.token")}`,
      ...this.#flags,
    ]);
    this.#servers.set(id, server);
    this.#urls.set(id, await server.ready());
  }

  async kill(id: string): Promise<void> {
    await this.#servers.get(id)?.program.kill();
  }

  async leader(by: string): Promise<string> {
    return waitFor(`${by} knows a leader`, async () => {
      const response = await fetch(`${this.url(by)}/v1/pool`, { headers: ADMIN_HEADERS });
      return ((await response.json()) as PoolAnswer).leader?.id ?? null;
    });
  }

  /** A token of the pool. */
  async token(name: string, role: Role): Promise<string> {
    const response = await fetch(`${this.url("a")}/v1/tokens`, {
      method: "POST",
      headers: { ...ADMIN_HEADERS, "Content-Type": "application/json" },
      body: JSON.stringify({ name, role }),
    });
    const { token } = (await response.json()) as TokenAnswer;
    await waitFor(`every server knows the token ${name}`, async () => {
      const known = await Promise.all(
        [...this.#urls.values()].map((url) =>
          fetch(`${url}/v1/license`, { headers: { Authorization: `Bearer ${token}` } }),
        ),
      );
      return known.every((each) => each.ok);
    });
    return token;
  }

  /** A request that is denied: more seats than there are. */
  async beDenied(feature: keyof Seats, user: string, at: string): Promise<void> {
    const secret = randomBytes(32).toString("base64url");
    const response = await fetch(`${this.url(at)}/v1/authorizations`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Quorate-Session": secret },
      body: JSON.stringify({
        session: hash("sha256", secret, "base64url"),
        feature,
        seats: 1_000,
        holder: { user, host: "kiosk-01" },
      }),
    });
    if (response.status !== 409) throw new Error(`it was answered with ${response.status}`);
    await waitFor(`the denial of ${user} is in the journal`, async () => {
      const listed = await fetch(`${this.url(at)}/v1/denials?user=${user}`);
      return ((await listed.json()) as DenialsAnswer).denials.length > 0;
    });
  }

  /** One seat, held and renewed by the SDK until the end of the tests. */
  async take(
    feature: keyof Seats,
    user: string,
    host: string,
    at: string = "a",
  ): Promise<Authorization> {
    const client = nodeClient({
      servers: [this.url(at), ...MEMBERS.map((id) => this.url(id))],
      vendorKey: publicKeyOf(this.#vendorKey),
      holder: { user, host, process: `${feature}.exe ${4_000 + 37 * this.#clients.length}` },
      releaseOnExit: false,
      token: ADMIN_TOKEN,
    });
    this.#clients.push(client);
    return client.checkout({ feature });
  }

  async close(): Promise<void> {
    // Killed first: nobody needs the seats back.
    await Promise.all([...this.#servers.keys()].map((id) => this.kill(id)));
    await Promise.all(this.#clients.map((client) => client.close()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #addMember(id: string): void {
    const path = join(this.#folder, id);
    mkdirSync(path, { mode: 0o700 });
    const folder = openMemberFolder(path, id, id);
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
}
