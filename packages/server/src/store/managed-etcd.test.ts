/** Three etcd members on loopback, each looked after as a license server does it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openEtcdStore } from "./etcd-store.ts";
import {
  EtcdKeptError,
  type ManagedCluster,
  type ManagedEtcd,
  parseManagedEtcd,
  startManagedEtcd,
} from "./managed-etcd.ts";
import { freePortOfTwo, whyNoEtcd } from "./real-etcd.ts";

const MODULE = new URL("managed-etcd.ts", import.meta.url).href;
const WAIT_MS_MAX = 30_000;
const LOOK_MS = 50;

describe("the value of etcd+managed", () => {
  test("names each member by its server's id; clients come one port below", () => {
    const value = "etcd+managed:a=https://h1:2380,b=https://h2:2380/, c=https://[::1]:12380";
    expect(parseManagedEtcd(value)?.members).toEqual([
      { name: "a", peerUrl: "https://h1:2380", clientUrl: "https://h1:2379" },
      { name: "b", peerUrl: "https://h2:2380", clientUrl: "https://h2:2379" },
      { name: "c", peerUrl: "https://[::1]:12380", clientUrl: "https://[::1]:12379" },
    ]);
    expect(parseManagedEtcd("etcd:https://h1:2379")).toBeNull();
  });

  test.for([
    ["etcd+managed:", "NAME=https://HOST:2380"],
    ["etcd+managed:https://h1:2380", "NAME=https://HOST:2380"],
    ["etcd+managed:a=https://h1", "NAME=https://HOST:2380"],
    ["etcd+managed:a=https://user:secret@h1:2380", "NAME=https://HOST:2380"],
    ["etcd+managed:a=https://h1:2380,a=https://h2:2380", '"a" stands twice'],
    ["etcd+managed:a=https://h1:2380,b=https://h1:2380", "stands twice"],
    ["etcd+managed:a=https://h1:2380,b=http://h2:2380", "all http or all https"],
  ])("%s is refused", ([value, words]) => {
    expect(() => parseManagedEtcd(value!)).toThrow(words);
  });
});

describe.skipIf(whyNoEtcd() !== null)("managed etcd members", { timeout: 90_000 }, () => {
  let folder: string;
  let running: ManagedEtcd[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "quorate-managed-etcd-"));
  });
  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop()));
    running = [];
    rmSync(folder, { recursive: true, force: true });
  });

  async function start(
    cluster: ManagedCluster,
    name: string,
    replaces: string | null = null,
    said: string[] = [],
  ): Promise<ManagedEtcd> {
    const options = { cluster, name, folder: join(folder, name), tls: {}, replaces };
    const started = await startManagedEtcd(
      { ...options, warn: (sentence) => said.push(sentence), onOutput: (text) => said.push(text) },
      AbortSignal.timeout(WAIT_MS_MAX),
    );
    running.push(started);
    return started;
  }

  test("one that dies is started again; the end leaves no process; one is replaced by a newcomer", async () => {
    const [a, b, c, d] = await freeMembers(4);
    const cluster = clusterOf(a!, b!, c!);
    const said: string[] = [];
    const first = start(cluster, "a", null, said);
    const [etcdA, , etcdC] = await Promise.all([first, start(cluster, "b"), start(cluster, "c")]);
    await write(etcdA, "before");

    const pid = etcdA.pid;
    process.kill(pid!, "SIGKILL");
    await until(() => etcdA.pid !== null && etcdA.pid !== pid);
    expect(said.join("\n")).toMatch(/etcd ended \(SIGKILL\); starts again in 500 ms/);

    const gone = etcdC.pid!;
    await etcdC.stop();
    expect(() => process.kill(gone, 0)).toThrow("ESRCH");

    const next = clusterOf(a!, b!, { ...d!, name: "d" });
    const etcdD = await start(next, "d", "c");
    await write(etcdD, "after");
    // A start that was cut short, or a service file that still names the old one, does no harm.
    await etcdD.stop();
    const again = await start(next, "d", "c");
    expect(await read(again)).toBe("after");
  });

  test("an etcd that a killed server left behind is ended first; a living server's is not touched", async () => {
    const [a] = await freeMembers(1);
    const cluster = clusterOf(a!);
    const options = { cluster, name: "a", folder: join(folder, "a"), tls: {}, replaces: null };
    const program = `
      const { startManagedEtcd } = await import(${JSON.stringify(MODULE)});
      const options = { ...${JSON.stringify(options)}, warn() {}, onOutput() {} };
      console.log((await startManagedEtcd(options, new AbortController().signal)).pid);`;
    const server = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [said] = (await once(server.stdout, "data")) as [Buffer];
    const left = Number(said);
    await expect(start(cluster, "a")).rejects.toThrow(EtcdKeptError);
    expect(() => process.kill(left, 0)).not.toThrow();

    server.kill("SIGKILL");
    await once(server, "exit");
    const next = await start(cluster, "a");
    expect(next.pid).not.toBe(left);
    expect(commandOf(left)).not.toContain("etcd");
    await write(next, "alive");
  });

  test("a server whose id is not among the members, and an etcd that can't start, are told in words", async () => {
    const [a, b] = await freeMembers(2);
    await expect(start(clusterOf(a!), "z")).rejects.toThrow('this server\'s id is "z"');
    await expect(start(clusterOf(a!, b!), "a", "b")).rejects.toThrow(
      "none of the other etcd members answers",
    );
    const taken = createServer().listen(Number(new URL(a!.peerUrl).port), "127.0.0.1");
    await once(taken, "listening");
    await expect(start(clusterOf(a!), "a")).rejects.toThrow(/etcd does not start.*in use/s);
    taken.close();
  });
});

/** Nothing for one that ended, also where nobody has collected it yet. */
function commandOf(pid: number): string {
  return existsSync(`/proc/${pid}`) ? readFileSync(`/proc/${pid}/cmdline`, "utf8") : "";
}

function clusterOf(...members: ManagedCluster["members"]): ManagedCluster {
  return { members };
}

/** Members named a, b, c … whose two ports are free and neighbours. */
async function freeMembers(count: number): Promise<ManagedCluster["members"]> {
  const found: { name: string; peerUrl: string; clientUrl: string }[] = [];
  while (found.length < count) {
    const port = await freePortOfTwo();
    found.push({
      name: String.fromCodePoint("a".codePointAt(0)! + found.length),
      peerUrl: `http://127.0.0.1:${port + 1}`,
      clientUrl: `http://127.0.0.1:${port}`,
    });
  }
  return found;
}

async function write(etcd: ManagedEtcd, value: string): Promise<void> {
  const store = await openEtcdStore({ endpoints: etcd.endpoints });
  try {
    await until(async () => {
      const before = await store.transact({ compare: [], puts: [], reads: ["key"] }, 2_000);
      if (before.outcome !== "applied") return false;
      const revision = before.read[0]?.revision ?? 0;
      const transaction = {
        compare: [{ key: "key", revision }],
        puts: [{ key: "key", value }],
        reads: [],
      };
      return (await store.transact(transaction, 2_000)).outcome === "applied";
    });
  } finally {
    await store.close();
  }
}

async function read(etcd: ManagedEtcd): Promise<string | null> {
  const store = await openEtcdStore({ endpoints: etcd.endpoints });
  try {
    const found = await store.transact({ compare: [], puts: [], reads: ["key"] }, 2_000);
    return found.outcome === "applied" ? (found.read[0]?.value ?? null) : null;
  } finally {
    await store.close();
  }
}

async function until(look: () => boolean | Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + WAIT_MS_MAX;
  while (!(await look())) {
    if (performance.now() > untilMs) throw new Error("waited in vain");
    await delay(LOOK_MS);
  }
}
