/**
 * This machine's own etcd member, started and looked after by its license server. It is started again, with a
 * growing pause, whenever it ends, and ended with the server. It has stock timing: the store's failover gap,
 * and so the shortest lease, were measured with that.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { EtcdSetupError } from "./etcd-address.ts";
import type { EtcdTlsFiles } from "./etcd-certificates.ts";
import { claim, letGo, takeOver } from "./managed-etcd-claim.ts";
import type { ManagedCluster, ManagedMember } from "./managed-etcd-cluster.ts";
import { EtcdGateway } from "./managed-etcd-members.ts";

export { EtcdKeptError } from "./managed-etcd-claim.ts";
export { type ManagedCluster, parseManagedEtcd } from "./managed-etcd-cluster.ts";

export interface ManagedEtcdOptions {
  readonly cluster: ManagedCluster;
  /** Which of them this machine runs. */
  readonly name: string;
  /** This member's own; kept over restarts, never copied. */
  readonly folder: string;
  /** For what etcd hears, what it asks of other members, and what clients must show. */
  readonly tls: EtcdTlsFiles;
  /** The member of the cluster whose place this one takes; only while its folder is empty. */
  readonly replaces: string | null;
  /** Sentences for the server's log. */
  readonly warn: (sentence: string) => void;
  /** What etcd itself writes. */
  readonly onOutput: (text: string) => void;
}

export interface ManagedEtcd {
  /** For the store, the own member first. */
  readonly endpoints: readonly string[];
  /** Of the etcd that runs now; null between two. */
  readonly pid: number | null;
  stop(): Promise<void>;
}

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 30_000;
/** One that ran for so long has started well, and the next pause is short again. */
const GOOD_RUN_MS = 60_000;
/** Ends before it ever answered: its setup is wrong, and waiting does not mend it. */
const BAD_STARTS_MAX = 3;
const LOOK_MS = 200;
const TELL_EVERY_MS = 10_000;
const STOP_MS_MAX = 10_000;
const INSIST_MS = 15_000;
const LAST_WORDS_MAX = 1_000;
const COMPACT_AFTER = "1h";

/**
 * Resolves when the cluster has a leader, however long the other machines need; rejects with EtcdSetupError or
 * EtcdKeptError, or when `signal` aborts.
 */
export async function startManagedEtcd(
  options: ManagedEtcdOptions,
  signal: AbortSignal,
): Promise<ManagedEtcd> {
  const { cluster, name, folder } = options;
  const own = cluster.members.find((member) => member.name === name);
  if (own === undefined) {
    const names = cluster.members.map((member) => member.name).join(", ");
    throw new EtcdSetupError(
      `this server's id is "${name}", and etcd+managed names ${names}: name this machine there, or give --id`,
    );
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  await takeOver(folder);
  const gateway = new EtcdGateway(options.tls);
  const keeper = new Keeper(options, await argsOf(options, own, gateway));
  keeper.start();
  try {
    await keeper.leaderKnown(() => gateway.leaderKnownAt(own.clientUrl), signal);
  } catch (error) {
    await keeper.stop();
    throw error;
  }
  const others = cluster.members.filter((member) => member !== own);
  return {
    endpoints: [own, ...others].map(({ clientUrl }) => clientUrl),
    get pid() {
      return keeper.pid;
    },
    stop: () => keeper.stop(),
  };
}

class Keeper {
  readonly #options: ManagedEtcdOptions;
  readonly #args: readonly string[];
  readonly #stopping = new AbortController();
  #child: ChildProcess | null = null;
  #lastWords = "";
  #pauseMs = PAUSE_MS_MIN;
  #badStarts = 0;
  #answered = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: ManagedEtcdOptions, args: readonly string[]) {
    this.#options = options;
    this.#args = args;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  start(): void {
    this.#ended = this.#keep();
  }

  async leaderKnown(look: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    let tellAtMs = performance.now() + TELL_EVERY_MS;
    while (!(await look())) {
      if (signal.aborted) throw new EtcdSetupError("stopped before the pool's etcd had a leader");
      if (this.#badStarts >= BAD_STARTS_MAX) {
        throw new EtcdSetupError(`etcd does not start. Its last words: ${this.#lastWords.trim()}`);
      }
      if (performance.now() > tellAtMs) {
        tellAtMs += TELL_EVERY_MS;
        this.#options.warn("waits for a majority of the pool's etcd members; start the others");
      }
      await delay(LOOK_MS);
    }
    this.#answered = true;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    const child = this.#child;
    if (child !== null) {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
      await this.#ended;
      clearTimeout(late);
    }
    await this.#ended;
    letGo(this.#options.folder);
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const startedMs = performance.now();
      const how = await this.#once();
      if (signal.aborted) return;
      if (!this.#answered) this.#badStarts += 1;
      if (this.#badStarts >= BAD_STARTS_MAX) return;
      if (performance.now() - startedMs > GOOD_RUN_MS) this.#pauseMs = PAUSE_MS_MIN;
      this.#options.warn(`etcd ended (${how}); starts again in ${this.#pauseMs} ms`);
      // Cut short by the end of the server.
      await delay(this.#pauseMs, undefined, { signal }).catch(() => undefined);
      this.#pauseMs = Math.min(this.#pauseMs * 2, PAUSE_MS_MAX);
    }
  }

  /** Resolves with how it ended. */
  async #once(): Promise<string> {
    const child = spawn("etcd", this.#args, { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    child.stderr.on("data", (chunk: Buffer) => {
      this.#lastWords = (this.#lastWords + chunk.toString()).slice(-LAST_WORDS_MAX);
      this.#options.onOutput(chunk.toString());
    });
    try {
      // "spawn" comes first, or "error" when there is no such program.
      await once(child, "spawn");
      if (child.pid !== undefined) claim(this.#options.folder, child.pid);
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      return child.signalCode ?? `exit code ${child.exitCode}`;
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      this.#lastWords = `${words}. Is etcd installed? On Debian: apt-get install etcd-server`;
      return words;
    } finally {
      this.#child = null;
    }
  }
}

async function argsOf(
  options: ManagedEtcdOptions,
  own: ManagedMember,
  gateway: EtcdGateway,
): Promise<string[]> {
  const { folder, tls } = options;
  const data = join(folder, "data");
  const joined =
    options.replaces === null || existsSync(join(data, "member"))
      ? null
      : await takePlace(options, options.replaces, own, gateway);
  const cluster = joined ?? options.cluster.members.map(named).join(",");
  return [
    ["--name", own.name, "--data-dir", data],
    ["--listen-client-urls", await listenUrl(own.clientUrl)],
    ["--advertise-client-urls", own.clientUrl],
    ["--listen-peer-urls", await listenUrl(own.peerUrl)],
    ["--initial-advertise-peer-urls", own.peerUrl, "--initial-cluster", cluster],
    ["--initial-cluster-state", joined === null ? "new" : "existing"],
    // A member that comes back from a cut must not disturb the leader of the others.
    ["--pre-vote", "--auto-compaction-retention", COMPACT_AFTER],
    ["--logger", "zap", "--log-level", "warn"],
    own.peerUrl.startsWith("https:") ? tlsArgs(tls) : [],
  ].flat();
}

/** Every connection shows a certificate of the one authority: an etcd that anybody may write is no fence. */
function tlsArgs({ ca, cert, key }: EtcdTlsFiles): string[] {
  if (ca === undefined || cert === undefined || key === undefined) {
    throw new EtcdSetupError(
      "etcd+managed with https needs --etcd-ca, --etcd-cert and --etcd-key: the certificate for servers and clients alike",
    );
  }
  return [
    ["--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth"],
    ["--peer-cert-file", cert, "--peer-key-file", key, "--peer-trusted-ca-file", ca],
    ["--peer-client-cert-auth"],
  ].flat();
}

/** Puts this member in the place of another, whatever of that was done before; the cluster as it then is. */
async function takePlace(
  { cluster }: ManagedEtcdOptions,
  replaced: string,
  own: ManagedMember,
  gateway: EtcdGateway,
): Promise<string> {
  const urls = cluster.members.filter((each) => each !== own).map(({ clientUrl }) => clientUrl);
  const before = await gateway.members(urls);
  if (before === null) {
    throw new EtcdSetupError(
      "none of the other etcd members answers, so this machine can't take a place among them; start them first",
    );
  }
  const old = before.find(({ name }) => name === replaced);
  if (old !== undefined) {
    const known = cluster.members.find(({ name }) => name === replaced);
    if (known !== undefined && known !== own && (await gateway.leaderKnownAt(known.clientUrl))) {
      throw new EtcdSetupError(
        `the etcd member ${replaced} is alive; end it before it is replaced`,
      );
    }
    const isDone = await insisting(() => gateway.remove(urls, old.ID));
    if (!isDone) throw refused("remove", replaced);
  }
  const isListed = (each: { readonly peerURLs: readonly string[] }): boolean =>
    each.peerURLs.includes(own.peerUrl);
  if (!before.some((each) => each !== old && isListed(each))) {
    const isDone = await insisting(() => gateway.add(urls, own.peerUrl));
    if (!isDone) throw refused("add", own.name);
  }
  const now = await gateway.members(urls);
  if (now === null || !now.some(isListed)) throw refused("add", own.name);
  return now
    .flatMap(({ name, peerURLs }) =>
      peerURLs.map((peerUrl) => ({
        // Those that were never started have no name yet: this one, or another newcomer.
        name: peerUrl === own.peerUrl ? own.name : (name ?? nameIn(cluster, peerUrl)),
        peerUrl,
      })),
    )
    .map(named)
    .join(",");
}

/** etcd refuses a change while one of its members has been back for less than five seconds. */
async function insisting(change: () => Promise<boolean>): Promise<boolean> {
  const untilMs = performance.now() + INSIST_MS;
  while (!(await change())) {
    if (performance.now() > untilMs) return false;
    await delay(PAUSE_MS_MIN);
  }
  return true;
}

function nameIn({ members }: ManagedCluster, peerUrl: string): string {
  return members.find((member) => member.peerUrl === peerUrl)?.name ?? "unknown";
}

function refused(what: string, name: string): EtcdSetupError {
  return new EtcdSetupError(
    `the etcd members would not ${what} ${name}: a majority of them must be up; start this again`,
  );
}

function named({ name, peerUrl }: { readonly name: string; readonly peerUrl: string }): string {
  return `${name}=${peerUrl}`;
}

/** etcd binds to addresses alone. A name that is none of this machine's own addresses is some forwarding. */
async function listenUrl(url: string): Promise<string> {
  const { protocol, hostname, port } = new URL(url);
  if (isIP(hostname.replace(/^\[|\]$/g, "")) !== 0) return url;
  const found = await lookup(hostname).catch(() => null);
  const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const isOwn = own.some(({ address }) => address === found?.address);
  const address = isOwn && found !== null ? found.address : "0.0.0.0";
  return `${protocol}//${isIP(address) === 6 ? `[${address}]` : address}:${port}`;
}
