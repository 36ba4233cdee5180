/** Faults of the store's own disk: no space for one etcd member, and etcd's own bound for all of them. */
import { execFileSync } from "node:child_process";
import { mkdirSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { call } from "@quorate/e2e/http";
import { waitFor } from "@quorate/e2e/wait";
import type { Machine } from "./machine.ts";
import { PORTS } from "./network.ts";
import type { Row, Stage } from "./row.ts";
import { serves } from "./rows-process.ts";

/** etcd sets 64 MB aside for its log, twice; what is left is for its database. */
const DISK_BYTES = "160m";
const STOP_MS_MAX = 20_000;
const ENDED_MS_MAX = 60_000;
/** Shorter than what a client has left when it misses a heartbeat. */
const OUTAGE_MS = 8_000;
const QUOTA_BYTES = 16 * 1024 * 1024;
const FILLER_BYTES = 1024 * 1024;
const FILLER_PREFIX = "/filler/";
const FILLERS_MAX = 64;

const FULL_DISK: Row = {
  name: "etcd-full-disk",
  title: "the disk of etcd's leader is full; space and a start later",
  async fault(stage) {
    const machine = await stage.pool.etcdLeader();
    const data = join(machine.folder, "etcd");
    stage.say(`the etcd of ${machine.id} moves to a small disk`);
    await machine.stop("etcd", STOP_MS_MAX);
    const small = join(machine.folder, "etcd-before");
    execFileSync("mv", [data, small]);
    mkdirSync(data, { mode: 0o700 });
    // The mount is seen by this row's processes alone and ends with them.
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES},mode=0700`, "tmpfs", data]);
    execFileSync("cp", ["-a", `${small}/.`, data]);
    machine.start("etcd");
    await stage.everyClientIsServed();
    await leads(stage, machine);
    stage.say("the disk is filled");
    const { bavail, bsize } = statfsSync(data);
    writeFileSync(join(data, "filler"), Buffer.alloc(bavail * bsize));
    await machine.program("etcd").ended(ENDED_MS_MAX);
    stage.say("etcd ended");
    const words = machine.program("etcd").stderr.match(/no space left on device/)?.[0];
    stage.notes.push(`the etcd with the full disk ended by itself: ${words ?? "without words"}`);
    await stage.everyClientIsServed();
    stage.say("space, and start");
    execFileSync("rm", [join(data, "filler")]);
    machine.start("etcd");
    await stage.everyClientIsServed();
    await serves(machine);
  },
};

/** Its etcd is asked to lead, so that it is the leader whose disk fills. */
async function leads(stage: Stage, machine: Machine): Promise<void> {
  const leader = await stage.pool.etcdLeader();
  if (leader === machine) return;
  const id = etcdctl(machine, "endpoint", "status", "--write-out", "fields").match(
    /"MemberID" : (\d+)/,
  )?.[1];
  etcdctl(leader, "move-leader", BigInt(id ?? 0).toString(16));
  await waitFor(
    `the etcd of ${machine.id} leads`,
    async () => (await stage.pool.etcdLeader()) === machine,
    STOP_MS_MAX,
  );
}

const NO_SPACE: Row = {
  name: "etcd-no-space",
  title: "etcd's database reaches its quota and refuses every write; made small 8 s later",
  etcdArgs: ["--quota-backend-bytes", String(QUOTA_BYTES)],
  async fault(stage) {
    const { machines } = stage.pool;
    const first = machines[0]!;
    stage.say("the database is filled");
    for (let filler = 0; await isPut(first, filler); filler += 1) {
      if (filler > FILLERS_MAX) throw new Error("etcd has no quota");
    }
    await stage.lasts(OUTAGE_MS);
    const said = machines.some((machine) =>
      machine.program("quorate").stderr.includes("the database of"),
    );
    if (!said) throw new Error("no server says that etcd's database is full");
    stage.say("compact, defragment, disarm");
    makeRoom(machines);
    await stage.everyClientIsServed();
    await Promise.all(machines.map((machine) => serves(machine)));
  },
};

/** As docs/operating.md says it, word for word. */
function makeRoom(machines: readonly Machine[]): void {
  const first = machines[0]!;
  etcdctl(first, "del", "--prefix", FILLER_PREFIX);
  const status = etcdctl(first, "endpoint", "status", "--write-out", "fields");
  const revision = /"Revision" : (\d+)/.exec(status)?.[1];
  if (revision === undefined) throw new Error(`etcd names no revision: ${status}`);
  etcdctl(first, "compact", revision);
  for (const machine of machines) etcdctl(machine, "defrag");
  etcdctl(first, "alarm", "disarm");
}

function etcdctl({ place }: Machine, ...words: readonly string[]): string {
  const at = ["--endpoints", `http://${place.address}:${PORTS.etcd}`];
  return execFileSync("etcdctl", [...at, ...words], {
    encoding: "utf8",
    env: { ...process.env, ETCDCTL_API: "3" },
  });
}

/** False once etcd refuses, for want of space. */
async function isPut({ place }: Machine, filler: number): Promise<boolean> {
  const body = {
    key: Buffer.from(`${FILLER_PREFIX}${filler}`).toString("base64"),
    value: Buffer.alloc(FILLER_BYTES).toString("base64"),
  };
  const url = `http://${place.address}:${PORTS.etcd}/v3/kv/put`;
  const reply = await call("POST", url, { body, timeoutMs: 5_000 });
  return reply?.status === 200;
}

export const STORE_ROWS: readonly Row[] = [FULL_DISK, NO_SPACE];
