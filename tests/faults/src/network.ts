/**
 * Machines without machines: each is a network namespace with one wire to a switch, which is a bridge in a
 * namespace of its own. Nothing of it can reach, or be reached from, anything outside.
 *
 * Addresses are those that RFC 2544 keeps for tests of networks; nobody on the internet has them.
 */
import { execFileSync, spawnSync } from "node:child_process";

const SUBNET = "198.18.0";
const FIRST_HOST = 1;
const CLIENTS_HOST = 100;
const MIDDLE_HOST = 101;
const INTERFACE = "wire";
/** A port of a machine. */
export const PORTS = { quorate: 7700, etcd: 2379, etcdPeers: 2380 } as const;

const NEEDED = [
  ["ip", "iproute2"],
  ["iptables", "iptables"],
  ["etcd", "etcd-server"],
] as const;

/** Null: pools on several machines can be made here. */
export function whyNoMachines(): string | null {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "only root may make network namespaces";
  const missing = NEEDED.find(([command]) => spawnSync("which", [command]).status !== 0);
  if (missing === undefined) return null;
  return `${missing[0]} is not installed (on Debian: apt-get install ${missing[1]})`;
}

/** Where a namespace sits: `ip netns exec <name>` runs a program there, under the program's own pid. */
export interface Place {
  readonly namespace: string;
  readonly address: string;
}

export class Network {
  readonly machines: readonly Place[];
  /** Where the clients and the observer run. */
  readonly clients: Place;
  /** Where the proxies between the machines run. */
  readonly middle: Place;
  readonly #switch: string;

  constructor(prefix: string, machines: number) {
    const place = (name: string, host: number): Place => ({
      namespace: `${prefix}-${name}`,
      address: `${SUBNET}.${host}`,
    });
    this.#switch = `${prefix}-switch`;
    this.clients = place("clients", CLIENTS_HOST);
    this.middle = place("middle", MIDDLE_HOST);
    this.machines = Array.from({ length: machines }, (_, i) =>
      place(String.fromCodePoint("a".codePointAt(0)! + i), FIRST_HOST + i),
    );
  }

  get places(): readonly Place[] {
    return [...this.machines, this.clients, this.middle];
  }

  create(): void {
    ip("netns", "add", this.#switch);
    ip("-n", this.#switch, "link", "add", "bridge", "type", "bridge");
    ip("-n", this.#switch, "link", "set", "bridge", "up");
    for (const [index, { namespace, address }] of this.places.entries()) {
      const plug = `plug${index}`;
      ip("netns", "add", namespace);
      const far = ["peer", "name", INTERFACE, "netns", namespace];
      ip("-n", this.#switch, "link", "add", plug, "type", "veth", ...far);
      ip("-n", this.#switch, "link", "set", plug, "master", "bridge", "up");
      ip("-n", namespace, "address", "add", `${address}/24`, "dev", INTERFACE);
      ip("-n", namespace, "link", "set", INTERFACE, "up");
      ip("-n", namespace, "link", "set", "lo", "up");
    }
  }

  /** Ends what still runs in the namespaces, pid by pid, and removes them. */
  remove(): void {
    for (const namespace of [...this.places.map((place) => place.namespace), this.#switch]) {
      const found = spawnSync("ip", ["netns", "pids", namespace], { encoding: "utf8" });
      for (const pid of (found.stdout ?? "").split(/\s+/).filter((word) => word !== "")) {
        endQuietly(Number(pid));
      }
      // One that was never made is as good as removed.
      spawnSync("ip", ["netns", "delete", namespace], { stdio: "ignore" });
    }
  }

  // ---- faults: rules of the machine's own firewall ---------------------------------------------------

  /** Nothing passes between the machine and these others. */
  cut(machine: Place, others: readonly Place[]): void {
    for (const { address } of others) {
      rule(machine, "-A", "INPUT", "-s", address, "-j", "DROP");
      rule(machine, "-A", "OUTPUT", "-d", address, "-j", "DROP");
    }
  }

  /** The machine hears nothing of these others; what it sends arrives. */
  deafen(machine: Place, others: readonly Place[]): void {
    for (const { address } of others) {
      rule(machine, "-A", "INPUT", "-s", address, "-j", "DROP");
    }
  }

  /** What the machine sends to these others is lost; it hears them. */
  mute(machine: Place, others: readonly Place[]): void {
    for (const { address } of others) {
      rule(machine, "-A", "OUTPUT", "-d", address, "-j", "DROP");
    }
  }

  /** Its license server reaches no etcd, not even the machine's own; its etcd goes on with the others. */
  cutFromStore(machine: Place): void {
    rule(machine, "-A", "OUTPUT", "-p", "tcp", "--dport", String(PORTS.etcd), "-j", "DROP");
  }

  /** Its license server and those of these others don't reach each other; the store and clients do. */
  cutFromPeers(machine: Place, others: readonly Place[]): void {
    const port = ["-p", "tcp", "--dport", String(PORTS.quorate), "-j", "DROP"];
    for (const { address } of others) {
      rule(machine, "-A", "INPUT", "-s", address, ...port);
      rule(machine, "-A", "OUTPUT", "-d", address, ...port);
    }
  }

  /** Every packet that arrives on the wire is lost with this probability. */
  lose(machine: Place, probability: number): void {
    const chance = ["--mode", "random", "--probability", String(probability)];
    rule(machine, "-A", "INPUT", "-i", INTERFACE, "-m", "statistic", ...chance, "-j", "DROP");
  }

  mend(machine: Place): void {
    rule(machine, "-F");
  }
}

function rule({ namespace }: Place, ...words: readonly string[]): void {
  ip("netns", "exec", namespace, "iptables", "-w", ...words);
}

function ip(...words: readonly string[]): void {
  execFileSync("ip", words, { stdio: ["ignore", "ignore", "inherit"] });
}

function endQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended between the list and the signal.
  }
}
