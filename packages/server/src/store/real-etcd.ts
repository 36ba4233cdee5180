/** Real etcd clusters for tests: started on free ports of this machine, killed by their process ids. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ChannelCredentials, Metadata } from "@grpc/grpc-js";
import { EtcdEndpoint } from "./etcd-endpoint.ts";
import { STATUS } from "./etcd-messages.ts";

export interface RealEtcdOptions {
  readonly members: 1 | 3;
  /** Sync to disk, as in production; slower. */
  readonly durable?: boolean;
  /** Files in PEM; clients must show a certificate of the authority. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
}

const NEEDED = [
  ["etcd", "etcd-server"],
  ["etcdctl", "etcd-client"],
  ["openssl", "openssl"],
] as const;
const START_MS_MAX = 20_000;
const ASK_AGAIN_MS = 50;

/**
 * Null: the tests are to run. Else why not; where CI is set, a missing etcd is an error instead.
 */
export function whyNoEtcd(): string | null {
  const missing = NEEDED.find(([command]) => spawnSync("which", [command]).status !== 0);
  if (missing === undefined) return null;
  const [command, debian] = missing;
  const reason = `${command} is not installed (on Debian: apt-get install ${debian})`;
  if (process.env["CI"] !== undefined) throw new Error(reason);
  console.log(`skipped: ${reason}`);
  return reason;
}

export class RealEtcd {
  readonly urls: readonly string[];
  readonly ports: readonly number[];
  readonly #folder: string;
  readonly #args: readonly (readonly string[])[];
  readonly #processes: (ChildProcess | null)[];
  readonly #secure: boolean;

  static async start(options: RealEtcdOptions): Promise<RealEtcd> {
    const clientPorts = await freePorts(options.members);
    const etcd = new RealEtcd(options, clientPorts, await freePorts(options.members));
    for (let i = 0; i < options.members; i += 1) etcd.startMember(i);
    try {
      await etcd.#answers();
    } catch (error) {
      await etcd.stop();
      throw error;
    }
    return etcd;
  }

  private constructor(
    options: RealEtcdOptions,
    clientPorts: readonly number[],
    peerPorts: readonly number[],
  ) {
    const { tls } = options;
    const scheme = tls === undefined ? "http" : "https";
    this.#secure = tls !== undefined;
    this.#folder = mkdtempSync(join(tmpdir(), "quorate-etcd-"));
    this.ports = clientPorts;
    this.urls = clientPorts.map((port) => `${scheme}://127.0.0.1:${port}`);
    const peers = peerPorts.map((port) => `http://127.0.0.1:${port}`);
    const cluster = peers.map((url, i) => `m${i}=${url}`).join(",");
    const secured =
      tls === undefined
        ? []
        : [
            ["--cert-file", tls.cert, "--key-file", tls.key],
            ["--trusted-ca-file", tls.ca, "--client-cert-auth"],
          ];
    this.#args = this.urls.map((url, i) =>
      [
        ["--name", `m${i}`, "--data-dir", join(this.#folder, `m${i}`)],
        ["--listen-client-urls", url, "--advertise-client-urls", url],
        ["--listen-peer-urls", peers[i]!, "--initial-advertise-peer-urls", peers[i]!],
        ["--initial-cluster", cluster, "--initial-cluster-state", "new"],
        ["--logger", "zap", "--log-level", "panic"],
        options.durable === true ? [] : ["--unsafe-no-fsync"],
        ...secured,
      ].flat(),
    );
    this.#processes = this.urls.map(() => null);
  }

  startMember(i: number): void {
    this.#processes[i] = spawn("etcd", this.#args[i]!, { stdio: ["ignore", "ignore", "inherit"] });
  }

  signal(i: number, signal: NodeJS.Signals): void {
    this.#processes[i]?.kill(signal);
  }

  async kill(i: number): Promise<void> {
    const child = this.#processes[i];
    if (child == null) return;
    this.#processes[i] = null;
    const ended = child.exitCode === null && child.signalCode === null ? once(child, "exit") : null;
    child.kill("SIGKILL");
    await ended;
  }

  /** Index of the member that leads. */
  async leader(): Promise<number> {
    const endAtMs = performance.now() + START_MS_MAX;
    while (performance.now() < endAtMs) {
      for (const [i, url] of this.urls.entries()) {
        const status = await ask(url);
        if (status !== null && status.leader !== 0n && status.leader === status.header?.memberId) {
          return i;
        }
      }
      await pause();
    }
    throw new Error("this etcd finds no leader");
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((_, i) => this.kill(i)));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #answers(): Promise<void> {
    const endAtMs = performance.now() + START_MS_MAX;
    for (const [i, url] of this.urls.entries()) {
      while (this.#secure ? !(await listens(this.ports[i]!)) : !((await ask(url))?.leader ?? 0n)) {
        if (performance.now() > endAtMs) throw new Error(`${url} does not answer`);
        if (this.#processes[i]?.exitCode != null) throw new Error(`the etcd of ${url} ended`);
        await pause();
      }
    }
  }
}

async function ask(url: string) {
  const endpoint = new EtcdEndpoint(url, ChannelCredentials.createInsecure(), () => {});
  try {
    return await endpoint.call(STATUS, {}, new Metadata(), 500);
  } catch {
    return null;
  } finally {
    endpoint.close();
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ASK_AGAIN_MS);
  });
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) server.close();
  return ports;
}

/** A port with a free neighbour above, for etcd's two. */
export async function freePortOfTwo(): Promise<number> {
  for (;;) {
    const low = createServer().listen(0, "127.0.0.1");
    await once(low, "listening");
    const { port } = low.address() as AddressInfo;
    const high = createServer().listen(port + 1, "127.0.0.1");
    const free = await Promise.race([
      once(high, "listening").then(() => true),
      once(high, "error").then(() => false),
    ]).catch(() => false);
    low.close();
    high.close();
    if (free) return port;
  }
}
