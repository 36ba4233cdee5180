/** Pools whose license servers look after etcd themselves: `quorate serve --store etcd+managed:…`. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { waitFor } from "@quorate/e2e/wait";
import type { Machine } from "./machine.ts";
import type { Row } from "./row.ts";

const STOP_MS_MAX = 20_000;
const START_MS_MAX = 60_000;

const PROCESSES: Row = {
  name: "managed",
  title: "etcd+managed: etcd killed under its server, the server killed above its etcd, both ended",
  managed: true,
  async fault(stage) {
    const [first, second, third] = stage.pool.machines as [Machine, Machine, Machine];
    const etcd = etcdPidOf(first);
    stage.say(`kill -9 of etcd (${etcd}) on ${first.id}`);
    process.kill(etcd, "SIGKILL");
    await waitFor("another etcd", () => etcdPidOf(first) !== etcd, START_MS_MAX);
    await stage.everyClientIsServed();
    stage.say(`kill -9 of the server on ${second.id}; its etcd is left behind`);
    await second.kill("quorate");
    const left = etcdPidOf(second);
    process.kill(left, 0);
    second.start("quorate");
    await second.ready();
    if (etcdPidOf(second) === left) throw new Error("the etcd left behind was not ended");
    await stage.everyClientIsServed();
    stage.say(`SIGTERM of the server on ${third.id}`);
    const last = etcdPidOf(third);
    const code = await third.stop("quorate", STOP_MS_MAX);
    if (code !== 0) throw new Error(`${third.id} ended with ${code} at SIGTERM`);
    if (isEtcd(last)) throw new Error("etcd outlived the server that started it");
    third.start("quorate");
    await third.ready();
    await stage.everyClientIsServed();
  },
};

const REPLACED: Row = {
  name: "replaced-machine",
  title:
    "etcd+managed: a machine lost for good and replaced: pool remove, and one command on the new one",
  managed: true,
  async fault(stage) {
    const { pool } = stage;
    const dead = pool.others(await pool.leader())[0]!;
    const asked = pool.others(dead)[0]!;
    stage.say(`${dead.id} is lost with its disk`);
    const etcd = etcdPidOf(dead);
    await dead.kill("quorate");
    process.kill(etcd, "SIGKILL");
    rmSync(dead.folder, { recursive: true, force: true });
    await stage.everyClientIsServed();
    stage.say("pool remove, and the new machine starts");
    await pool.forget(dead, asked);
    const machine = pool.replace(dead, "n");
    machine.start("quorate", ["--etcd-replaces", dead.id]);
    await machine.ready();
    await stage.everyClientIsServed();
    stage.say("another one dies: the new one counts");
    const other = pool.others(machine, asked)[0]!;
    const otherEtcd = etcdPidOf(other);
    await other.kill("quorate");
    process.kill(otherEtcd, "SIGKILL");
    await stage.everyClientIsServed();
  },
};

/** Its server wrote it down. */
function etcdPidOf({ folder }: Machine): number {
  const text = readFileSync(join(folder, "quorate", "etcd", "quorate-etcd.json"), "utf8");
  return (JSON.parse(text) as { etcd: { pid: number } }).etcd.pid;
}

/** A process that ended has no command line, also where nobody has collected it. */
function isEtcd(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("etcd");
  } catch {
    return false;
  }
}

export const MANAGED_ROWS: readonly Row[] = [PROCESSES, REPLACED];
