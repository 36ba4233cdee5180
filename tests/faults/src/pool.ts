/** A pool of machines with its keys and license, and what can be asked of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { call, licenseSequenceOf, poolOf, type Reply } from "@quorate/e2e/http";
import { NODE } from "@quorate/e2e/server-process";
import { waitFor } from "@quorate/e2e/wait";
import { certificateBytes, signedBytes } from "@quorate/protocol";
import {
  generatePrivateKey,
  openMemberFolder,
  publicKeyOf,
  sign,
  storeCertificate,
} from "@quorate/server/keys";
import { Machine } from "./machine.ts";
import type { Order, Route } from "./middle.ts";
import { type Network, type Place, PORTS } from "./network.ts";

/** The default lease, which stock etcd's own failover needs. */
export const LEASE_MS = 5_000;
/** The shortest life that the lease allows: rows that wait for a life stay short. */
export const LIFE_MS = 30_000;
const START_MS_MAX = 60_000;
const MIDDLE = fileURLToPath(new URL("middle.ts", import.meta.url));
/** Ports of the middle's proxies: one range for each port of a machine. */
const MIDDLE_PORTS = { quorate: 17_700, etcd: 12_300, etcdPeers: 12_400 } as const;

/** What goes through the middle: nothing, all between machines, or also each machine's way to its own etcd. */
export type Through = "nothing" | "other machines" | "everything";

export interface PoolOptions {
  readonly network: Network;
  readonly folder: string;
  readonly seats: number;
  readonly through: Through;
  /** The license servers start their machines' etcd themselves. */
  readonly managed: boolean;
  /** Of every etcd, beside the usual ones. */
  readonly etcdArgs: readonly string[];
  /** Of the license, beside the one whose seats are counted. */
  readonly features: readonly object[];
  /** The `main.ts` of every license server; missing: this checkout. */
  readonly build?: string;
  /** Of every license server. */
  readonly env?: (id: string) => NodeJS.ProcessEnv;
}

export class Pool {
  machines: readonly Machine[];
  readonly network: Network;
  readonly vendorKey: string;
  readonly adminTokenFile: string;
  readonly seats: number;
  readonly #through: Through;
  readonly #managed: boolean;
  readonly #moreEtcdArgs: readonly string[];
  readonly #build: string | undefined;
  readonly #features: readonly object[];
  readonly #env: (id: string) => NodeJS.ProcessEnv;
  readonly #folder: string;
  readonly #signing = { vendor: generatePrivateKey(), pool: generatePrivateKey() };
  #middle: ChildProcess | null = null;

  constructor(options: PoolOptions) {
    const { network, folder, seats, through, managed, etcdArgs, build, env } = options;
    this.network = network;
    this.seats = seats;
    this.#through = through;
    this.#managed = managed;
    this.#moreEtcdArgs = etcdArgs;
    this.#build = build;
    this.#features = options.features;
    this.#env = env ?? (() => ({}));
    this.#folder = folder;
    this.vendorKey = publicKeyOf(this.#signing.vendor);
    this.adminTokenFile = join(folder, "admin.token");
    writeFileSync(this.adminTokenFile, ADMIN_TOKEN, { mode: 0o600 });
    writeFileSync(join(folder, "license.json"), this.license(1, seats));
    this.machines = network.machines.map((_, index) => this.#machine(index, idOf(index)));
  }

  #machine(index: number, id: string): Machine {
    const place = this.network.machines[index]!;
    const own = join(this.#folder, id);
    const data = join(own, "quorate");
    mkdirSync(data, { recursive: true, mode: 0o700 });
    this.#certify(id, data);
    const advertise = this.#urlOf(index, "quorate", null);
    return new Machine({
      id,
      place,
      url: advertise,
      folder: own,
      etcdArgs: this.#etcdArgs(index, own),
      serveArgs: [
        ["--data", data, "--listen", `${place.address}:${PORTS.quorate}`, "--insecure"],
        ["--advertise", advertise, "--lease-ms", String(LEASE_MS)],
        ["--license", join(this.#folder, "license.json")],
        ["--vendor-key", this.vendorKey, "--admin-token-file", this.adminTokenFile],
        ["--store", this.#managed ? this.#managedStore(index, id) : this.#store(index)],
      ].flat(),
      env: this.#env(id),
      ...(this.#build === undefined ? {} : { build: this.#build }),
    });
  }

  /** Another machine in the place of a dead one, at its address; it is not started. */
  replace(dead: Machine, id: string): Machine {
    const index = this.machines.indexOf(dead);
    const machine = this.#machine(index, id);
    this.machines = this.machines.with(index, machine);
    return machine;
  }

  #store(index: number): string {
    return `etcd:${this.#endpointsOf(index).join(",")}`;
  }

  /** As this machine, of that id, is told; the others are as they were at the beginning. */
  #managedStore(index: number, id: string): string {
    const members = this.network.machines.map(
      ({ address }, i) => `${i === index ? id : idOf(i)}=http://${address}:${PORTS.etcdPeers}`,
    );
    return `etcd+managed:${members.join(",")}`;
  }

  get urls(): string[] {
    return this.machines.map(({ url }) => url);
  }

  async start(): Promise<void> {
    if (this.#through !== "nothing") await this.#startMiddle();
    if (!this.#managed) {
      for (const machine of this.machines) machine.start("etcd");
      await this.etcdLeader();
    }
    for (const machine of this.machines) machine.start("quorate");
    await Promise.all(this.machines.map((machine) => machine.ready()));
    await this.leader();
  }

  async end(): Promise<void> {
    await Promise.all(this.machines.map((machine) => machine.end()));
    if (this.#middle?.connected === true) this.#middle.disconnect();
  }

  others(...machines: readonly Machine[]): Machine[] {
    return this.machines.filter((machine) => !machines.includes(machine));
  }

  /** The machines where the clients' and observer's namespace is left out. */
  places(machines: readonly Machine[]): Place[] {
    return machines.map(({ place }) => place);
  }

  // ---- who leads ------------------------------------------------------------------------------------

  /** The machine whose license server leads, as most of them say. */
  leader(): Promise<Machine> {
    return waitFor(
      "a leader that a majority names",
      async () => {
        const named = await Promise.all(
          this.machines.map(async ({ url }) => (await poolOf(url))?.leader?.id ?? null),
        );
        return this.#agreed(named);
      },
      START_MS_MAX,
    );
  }

  /** Every server sees every other alive and names the same leader, whatever build each of them runs. */
  async isOne(): Promise<void> {
    await waitFor(
      "one pool of all servers",
      async () => {
        const pools = await Promise.all(this.urls.map((url) => poolOf(url)));
        const leader = pools[0]?.leader?.id;
        return pools.every(
          (pool) =>
            leader !== undefined &&
            pool?.leader?.id === leader &&
            pool.members.filter(({ alive }) => alive).length === this.machines.length,
        );
      },
      START_MS_MAX,
    );
  }

  /** The machine whose etcd leads. */
  etcdLeader(): Promise<Machine> {
    return waitFor(
      "a leader of etcd",
      async () => {
        const leaders = await Promise.all(this.machines.map((machine) => etcdLeads(machine)));
        const index = leaders.indexOf(true);
        return this.machines[index] ?? null;
      },
      START_MS_MAX,
    );
  }

  #agreed(named: readonly (string | null)[]): Machine | null {
    const found = this.machines.find(
      ({ id }) => named.filter((each) => each === id).length > this.machines.length / 2,
    );
    return found ?? null;
  }

  // ---- licenses -------------------------------------------------------------------------------------

  license(sequence: number, seats: number): string {
    const content = {
      quorate: 1,
      id: `license-${sequence}`,
      vendor: "Vendor",
      customer: "Customer",
      sequence,
      issued: "2026-01-01T00:00:00Z",
      pool: {
        name: "faults",
        size: this.network.machines.length,
        key: publicKeyOf(this.#signing.pool),
      },
      features: [{ name: "cad", version: "2026.1", seats, lifeMs: LIFE_MS }, ...this.#features],
    };
    const signed = signedBytes(content);
    if (signed === null) throw new Error("the license of a test has a canonical form");
    const value = sign(this.#signing.vendor, signed);
    return JSON.stringify({ ...content, signature: { key: this.vendorKey, value } });
  }

  install(machine: Machine, text: string): Promise<Reply<unknown> | null> {
    return call("PUT", `${machine.url}/v1/license`, { headers: ADMINISTRATOR, text });
  }

  /** Moves the leadership to that machine. */
  async lead(machine: Machine): Promise<void> {
    const sent = { headers: ADMINISTRATOR, body: { member: machine.id } };
    await waitFor(
      `${machine.id} leads`,
      async () => {
        await call("POST", `${machine.url}/v1/pool/lead`, sent);
        return (await this.leader()) === machine;
      },
      START_MS_MAX,
    );
  }

  /** Retires a dead server for good and makes room for another. */
  async forget(dead: Machine, askedAt: Machine): Promise<void> {
    const sent = { headers: ADMINISTRATOR, body: { member: dead.id } };
    await waitFor(
      `${dead.id} is removed from the pool`,
      async () => (await call("POST", `${askedAt.url}/v1/pool/remove`, sent))?.status === 200,
      START_MS_MAX,
    );
  }

  async everywhere(sequence: number, timeoutMs: number): Promise<void> {
    await waitFor(
      `license ${sequence} at every server`,
      async () => {
        const all = await Promise.all(this.urls.map((url) => licenseSequenceOf(url)));
        return all.every((each) => each === sequence);
      },
      timeoutMs,
    );
  }

  // ---- the way there --------------------------------------------------------------------------------

  order(order: Order): void {
    if (this.#middle === null) throw new Error("this pool has no middle");
    this.#middle.send(order);
  }

  async #startMiddle(): Promise<void> {
    const routes: Route[] = this.network.machines.flatMap(({ address }, index) =>
      (["quorate", "etcd", "etcdPeers"] as const).map((port) => ({
        port: MIDDLE_PORTS[port] + index,
        host: address,
        hostPort: PORTS[port],
        keepAnswers: port === "etcdPeers",
      })),
    );
    const { namespace } = this.network.middle;
    const words = ["netns", "exec", namespace, NODE, MIDDLE, JSON.stringify(routes)];
    this.#middle = spawn("ip", words, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    await once(this.#middle, "message");
  }

  /** As `from` reaches it; null: as anybody does. */
  #urlOf(index: number, port: keyof typeof PORTS, from: number | null): string {
    const direct =
      this.#through === "nothing" || (this.#through === "other machines" && from === index);
    const host = direct ? this.network.machines[index]!.address : this.network.middle.address;
    return `http://${host}:${direct ? PORTS[port] : MIDDLE_PORTS[port] + index}`;
  }

  /** Its own first. */
  #endpointsOf(index: number): string[] {
    const count = this.network.machines.length;
    return Array.from({ length: count }, (_, i) => this.#urlOf((index + i) % count, "etcd", index));
  }

  #etcdArgs(index: number, folder: string): string[] {
    const { address } = this.network.machines[index]!;
    const cluster = this.network.machines
      .map((_, i) => `${idOf(i)}=${this.#urlOf(i, "etcdPeers", null)}`)
      .join(",");
    return [
      ["--name", idOf(index), "--data-dir", join(folder, "etcd")],
      ["--listen-client-urls", `http://${address}:${PORTS.etcd}`],
      ["--advertise-client-urls", `http://${address}:${PORTS.etcd}`],
      ["--listen-peer-urls", `http://${address}:${PORTS.etcdPeers}`],
      ["--initial-advertise-peer-urls", this.#urlOf(index, "etcdPeers", null)],
      ["--initial-cluster", cluster, "--initial-cluster-state", "new"],
      ["--auto-compaction-retention", "1h", "--logger", "zap", "--log-level", "warn"],
      this.#moreEtcdArgs,
    ].flat();
  }

  #certify(id: string, data: string): void {
    const folder = openMemberFolder(data, id, id);
    const issued = "2026-01-01T00:00:00Z";
    const content = { quorate: 1, member: id, key: folder.publicKey, issued } as const;
    const value = sign(this.#signing.pool, certificateBytes(content));
    const key = publicKeyOf(this.#signing.pool);
    storeCertificate(folder, { ...content, signature: { key, value } });
  }
}

const ADMIN_TOKEN = "administrator-of-the-test";
const ADMINISTRATOR = { authorization: `Bearer ${ADMIN_TOKEN}` };

function idOf(index: number): string {
  return String.fromCodePoint("a".codePointAt(0)! + index);
}

interface EtcdStatus {
  readonly leader?: string;
  readonly header?: { readonly member_id?: string };
}

/** Through etcd's own JSON gateway, from where the clients are. */
async function etcdLeads({ place }: Machine): Promise<boolean> {
  const url = `http://${place.address}:${PORTS.etcd}/v3/maintenance/status`;
  const reply = await call<EtcdStatus>("POST", url, { body: {}, timeoutMs: 1_000 });
  const leader = reply?.body.leader;
  return leader !== undefined && leader === reply?.body.header?.member_id;
}
