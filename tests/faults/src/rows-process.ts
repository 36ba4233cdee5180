/** Faults of processes and machines: killed, frozen, restarted, without power, without disk. */
import { statfsSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { serverLifeMs, timingOf } from "@quorate/core";
import { waitFor } from "@quorate/e2e/wait";
import { NODE, Program } from "@quorate/e2e/server-process";
import { type Machine, type Part, QUORATE } from "./machine.ts";
import { makeOlderBuild, whyNoOlderBuild } from "./older-build.ts";
import { LEASE_MS, LIFE_MS } from "./pool.ts";
import type { Row, Stage } from "./row.ts";

const SHORT_FREEZE_MS = 2_000;
/** The lease's wait, a session's life as servers count it, and a moment. */
const LONG_FREEZE_MS = timingOf(LEASE_MS).retireAfterMs + serverLifeMs(LIFE_MS) + 1_000;
/** Shorter than what a client has left when it misses a heartbeat. */
const SHORT_OUTAGE_MS = 8_000;
const STOP_MS_MAX = 20_000;
const DISK_BYTES = "4m";

interface Target {
  readonly name: string;
  readonly words: string;
  readonly part: Part;
  find(stage: Stage): Promise<Machine>;
}

const TARGETS: readonly Target[] = [
  {
    name: "leader",
    words: "the leader",
    part: "quorate",
    find: ({ pool }) => pool.leader(),
  },
  {
    name: "follower",
    words: "a follower",
    part: "quorate",
    find: async ({ pool }) => pool.others(await pool.leader())[0]!,
  },
  {
    name: "etcd-leader",
    words: "etcd's leader",
    part: "etcd",
    find: ({ pool }) => pool.etcdLeader(),
  },
  {
    name: "etcd-follower",
    words: "an etcd follower",
    part: "etcd",
    find: async ({ pool }) => pool.others(await pool.etcdLeader())[0]!,
  },
];

function kill(target: Target): Row {
  return {
    name: `kill-${target.name}`,
    title: `kill -9 of ${target.words}; started again later`,
    async fault(stage) {
      const machine = await target.find(stage);
      stage.say(`kill -9 of ${target.part} on ${machine.id}`);
      await machine.kill(target.part);
      await stage.everyClientIsServed();
      stage.say("and start");
      machine.start(target.part);
      if (target.part === "quorate") await machine.ready();
      await stage.everyClientIsServed();
    },
  };
}

function freeze(target: Target, name: string, ms: number): Row {
  return {
    name: `${name}-${target.name}`,
    title: `SIGSTOP of ${target.words} for ${(ms / 1_000).toFixed(0)} s`,
    async fault(stage) {
      const machine = await target.find(stage);
      stage.say(`SIGSTOP of ${target.part} on ${machine.id} for ${ms} ms`);
      machine.signal(target.part, "SIGSTOP");
      await stage.lasts(ms);
      stage.say("SIGCONT");
      machine.signal(target.part, "SIGCONT");
      await stage.everyClientIsServed();
      if (target.part === "quorate") await serves(machine);
    },
  };
}

const MACHINE: Row = {
  name: "kill-machine",
  title: "kill -9 of the leader and the etcd of its machine at once; started again later",
  async fault(stage) {
    const machine = await stage.pool.leader();
    stage.say(`kill -9 of everything on ${machine.id}`);
    await Promise.all([machine.kill("quorate"), machine.kill("etcd")]);
    await stage.everyClientIsServed();
    stage.say("and start");
    machine.start("etcd");
    machine.start("quorate");
    await machine.ready();
    await stage.everyClientIsServed();
  },
};

const ROLLING_RESTART: Row = {
  name: "rolling-restart",
  title: "rolling restart: on each machine SIGTERM and start, first of the server, then of etcd",
  async fault(stage) {
    for (const machine of stage.pool.machines) {
      stage.say(`restart of ${machine.id}`);
      const code = await machine.stop("quorate", STOP_MS_MAX);
      if (code !== 0) throw new Error(`${machine.id} ended with ${code} at SIGTERM`);
      machine.start("quorate");
      await machine.ready();
      await machine.stop("etcd", STOP_MS_MAX);
      machine.start("etcd");
      await stage.pool.etcdLeader();
      await serves(machine);
    }
    await stage.everyClientIsServed();
  },
};

const ROLLING_UPGRADE: Row = {
  name: "rolling-upgrade",
  title: "rolling upgrade: on each machine SIGTERM of the older build and start of the newer",
  whyNot: whyNoOlderBuild,
  build: makeOlderBuild,
  async fault(stage) {
    const { machines } = stage.pool;
    const versions = await Promise.all([machines[0]!.build, QUORATE].map(versionOf));
    if (versions[0] === versions[1]) throw new Error("both builds say the same version");
    stage.notes.push(`upgraded from ${versions.join(" to ")}`);
    for (const machine of machines) {
      stage.say(`${machine.id} stops and starts as ${versions[1]}`);
      const code = await machine.stop("quorate", STOP_MS_MAX);
      if (code !== 0) throw new Error(`${machine.id} ended with ${code} at SIGTERM`);
      machine.build = QUORATE;
      machine.start("quorate");
      await machine.ready();
      await stage.pool.isOne();
      await stage.everyClientIsServed();
    }
  },
};

async function versionOf(build: string): Promise<string> {
  const program = new Program(NODE, [build, "--version"], {});
  await program.ended(STOP_MS_MAX);
  return program.stdout.trim();
}

function etcdMajority(name: string, words: string, ms: number, losesMajority: boolean): Row {
  return {
    name,
    title: `kill -9 of etcd's majority, back ${words}`,
    losesMajority,
    async fault(stage) {
      const { machines } = stage.pool;
      const gone = machines.slice(0, Math.floor(machines.length / 2) + 1);
      stage.say(`kill -9 of etcd on ${gone.map(({ id }) => id).join(", ")}`);
      await Promise.all(gone.map((machine) => machine.kill("etcd")));
      await stage.lasts(ms);
      stage.say("and start");
      for (const machine of gone) machine.start("etcd");
      await stage.everyClientIsServed();
      await Promise.all(machines.map((machine) => serves(machine)));
    },
  };
}

const POWER_LOSS: Row = {
  name: "power-loss",
  title: "kill -9 of everything on every machine, started at once",
  async fault(stage) {
    const { machines } = stage.pool;
    stage.say("kill -9 of everything");
    await Promise.all(machines.flatMap((each) => [each.kill("quorate"), each.kill("etcd")]));
    for (const machine of machines) {
      machine.start("etcd");
      machine.start("quorate");
    }
    await Promise.all(machines.map((machine) => machine.ready()));
    await stage.everyClientIsServed();
  },
};

const FULL_DISK: Row = {
  name: "full-disk",
  title: "the disk of a server's data folder is full; space and a start later",
  async fault(stage) {
    const machine = stage.pool.others(await stage.pool.leader())[0]!;
    const data = join(machine.folder, "quorate");
    stage.say(`${machine.id} moves to a small disk`);
    await machine.stop("quorate", STOP_MS_MAX);
    const small = join(machine.folder, "small");
    execFileSync("cp", ["-a", data, small]);
    // The mount is seen by this row's processes alone and ends with them.
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES},mode=0700`, "tmpfs", data]);
    execFileSync("cp", ["-a", `${small}/.`, data]);
    machine.start("quorate");
    await machine.ready();
    await stage.everyClientIsServed();
    stage.say("the disk is filled");
    const { bavail, bsize } = statfsSync(data);
    writeFileSync(join(data, "filler"), Buffer.alloc(bavail * bsize));
    const code = await machine.program("quorate").ended(LONG_FREEZE_MS);
    stage.notes.push(`the server with the full disk ended by itself with ${code}`);
    await stage.everyClientIsServed();
    stage.say("space, and start");
    execFileSync("rm", [join(data, "filler")]);
    machine.start("quorate");
    await machine.ready();
    await stage.everyClientIsServed();
  },
};

/** It grants again, after whatever held it up. */
export async function serves({ id, url }: Machine): Promise<void> {
  await waitFor(
    `${id} serves`,
    async () => (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1_000) })).ok,
    LONG_FREEZE_MS,
  );
}

export const PROCESS_ROWS: readonly Row[] = [
  ...TARGETS.map(kill),
  MACHINE,
  ...TARGETS.map((target) => freeze(target, "freeze", SHORT_FREEZE_MS)),
  ...TARGETS.map((target) => freeze(target, "long-freeze", LONG_FREEZE_MS)),
  ROLLING_RESTART,
  ROLLING_UPGRADE,
  etcdMajority("etcd-majority", "8 s later", SHORT_OUTAGE_MS, false),
  etcdMajority("etcd-majority-long", "after more than a life", LONG_FREEZE_MS, true),
  POWER_LOSS,
  FULL_DISK,
];
