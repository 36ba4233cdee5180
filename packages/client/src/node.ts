/**
 * The SDK for Node programs: a boot clock, kept connections, the servers of `QUORATE_SERVERS`, a holder that
 * people recognise, and release when the process ends.
 */
import { readFileSync } from "node:fs";
import { hostname, uptime, userInfo } from "node:os";
import type { Holder } from "@quorate/protocol";
import { QuorateClient, type ClientOptions } from "./client.ts";
import type { ClientClocks, ClientTimers } from "./environment.ts";
import { httpWire } from "./http-wire.ts";
import { nodeTransport, type NodeTransportOptions } from "./node-transport.ts";

export * from "./index.ts";
export { nodeTransport } from "./node-transport.ts";

export interface NodeClientOptions extends ClientOptions {
  /**
   * For servers with https: PEM of who signs their certificates, and a certificate to show to those that ask. What
   * is missing comes from the files that `QUORATE_CA`, `QUORATE_CLIENT_CERT` and `QUORATE_CLIENT_KEY` name.
   */
  readonly tls?: NodeTransportOptions;
  /** False: the program releases by itself when the process ends. */
  readonly releaseOnExit?: boolean;
}

/** Reading the boot clock opens a file on Linux; within so little time it does not move by itself. */
const BOOT_CACHE_MS = 20;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * A client for this process. Options that are given win over what the process offers. Throws when a file that the
 * environment names can't be read: without it no server would be trusted, or another one.
 */
export function nodeClient(options: NodeClientOptions = {}): QuorateClient {
  const { releaseOnExit = true, tls = {}, ...given } = options;
  const token = given.token ?? textIn("QUORATE_TOKEN_FILE")?.trim() ?? null;
  const client = new NodeClient({
    servers: serversOf(process.env["QUORATE_SERVERS"]),
    holder: nodeHolder(),
    clocks: nodeClocks(),
    timers: nodeTimers,
    wire: httpWire(nodeTransport({ ...tlsFromEnvironment(), ...tls }), token),
    ...given,
  });
  if (releaseOnExit) {
    openClients.add(client);
    if (openClients.size === 1) watchExit();
  }
  return client;
}

/** The clients to close when the process ends; one set of handlers serves them all. */
const openClients = new Set<QuorateClient>();

class NodeClient extends QuorateClient {
  override async close(): Promise<void> {
    openClients.delete(this);
    if (openClients.size === 0) unwatchExit();
    await super.close();
  }
}

function tlsFromEnvironment(): NodeTransportOptions {
  const [ca, cert, key] = [
    textIn("QUORATE_CA"),
    textIn("QUORATE_CLIENT_CERT"),
    textIn("QUORATE_CLIENT_KEY"),
  ];
  return {
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key }),
  };
}

/** The text of the file that the variable names. */
function textIn(variable: string): string | null {
  const file = process.env[variable] ?? "";
  return file === "" ? null : readFileSync(file, "utf8");
}

/** URLs between commas or spaces. */
export function serversOf(text: string | undefined): readonly string[] {
  return (text ?? "").split(/[\s,]+/).filter((server) => server !== "");
}

export function nodeHolder(): Holder {
  return { user: userName(), host: hostname(), process: String(process.pid) };
}

/** The system's uptime counts sleep on Linux, macOS and Windows. */
export function nodeClocks(): ClientClocks {
  let bootMs = uptime() * 1000;
  let readAtMs = performance.now();
  return {
    hasBootClock: true,
    now() {
      const monotonicMs = performance.now();
      if (monotonicMs - readAtMs >= BOOT_CACHE_MS) {
        bootMs = uptime() * 1000;
        readAtMs = monotonicMs;
      }
      return { monotonicMs, bootMs: bootMs + (monotonicMs - readAtMs), wallMs: Date.now() };
    },
  };
}

const nodeTimers: ClientTimers = {
  after(ms, callback, background) {
    const timer = setTimeout(callback, ms);
    if (background) timer.unref();
    return () => clearTimeout(timer);
  },
};

function watchExit(): void {
  process.on("beforeExit", onEmptyLoop);
  for (const signal of SIGNALS) process.on(signal, onSignal);
}

function unwatchExit(): void {
  process.off("beforeExit", onEmptyLoop);
  for (const signal of SIGNALS) process.off(signal, onSignal);
}

function onEmptyLoop(): void {
  void closeAll();
}

/** Releases, then lets the signal do what it would have done. A second one does that at once. */
function onSignal(signal: NodeJS.Signals): void {
  // A program with a handler of its own decides by itself when it ends.
  const isAlone = process.listenerCount(signal) === 1;
  void closeAll().finally(() => {
    if (isAlone) process.kill(process.pid, signal);
  });
}

async function closeAll(): Promise<void> {
  const clients = [...openClients];
  openClients.clear();
  unwatchExit();
  await Promise.all(clients.map((client) => client.close()));
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user may have no entry in the password file.
    return "unknown";
  }
}
