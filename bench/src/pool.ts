/**
 * A pool of real `quorate serve` processes in a temporary folder, set up with the same commands that a
 * vendor and a customer type. The folder must be on a real disk: a sync on a RAM disk costs nothing and
 * would make every figure of a durable checkout a lie.
 */
import { type ChildProcess, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { PoolAnswer } from "@quorate/protocol";
import { programPath, SERVER_CORE, spawnPinned, stopProcess } from "./pinned.ts";

export const FEATURE = "cad";

export interface PoolOptions {
  readonly members: number;
  readonly seats: number;
  readonly lifeMs?: number;
  /** For the Node that runs each server, such as `--cpu-prof`. */
  readonly nodeFlags?: readonly string[];
}

interface PoolServer {
  readonly id: string;
  readonly url: string;
  readonly port: number;
  readonly process: ChildProcess;
}

export interface BenchPool {
  /** The first one leads. */
  readonly servers: readonly [PoolServer, ...PoolServer[]];
  close(): Promise<void>;
}

const QUORATE = programPath("../../packages/cli/bin/quorate.js");
const READY_MS_MAX = 30_000;
const LEADER_LOOK_MS = 50;
const RAM_DISKS: readonly number[] = [0x01021994, 0x858458f6];

export async function openPool(options: PoolOptions): Promise<BenchPool> {
  const folder = mkdtempSync(join(tmpdir(), "quorate-bench-"));
  const processes: ChildProcess[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(processes.map(stopProcess));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    if (RAM_DISKS.includes(statfsSync(folder).type)) {
      throw new Error(`${folder} is in memory; set TMPDIR to a folder on a disk`);
    }
    const ids = Array.from({ length: options.members }, (_, index) => `m${index + 1}`);
    makeLicense(folder, options, ids);
    // All at once: none is ready before a majority is there.
    const started = ids.map((id) => ({ id, process: startServer(folder, id, options) }));
    processes.push(...started.map((each) => each.process));
    const servers = await Promise.all(
      started.map(async (each) => ({ ...each, ...(await addressOf(each.process)) })),
    );
    return { servers: await leaderFirst(servers), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function leaderFirst(
  servers: readonly PoolServer[],
): Promise<readonly [PoolServer, ...PoolServer[]]> {
  const asked = servers[0];
  if (asked === undefined) throw new Error("a pool has at least one member");
  const first = await leaderOf(asked.url, servers);
  return [first, ...servers.filter((each) => each !== first)];
}

/** Somebody leads a moment after a majority is there. */
async function leaderOf(url: string, servers: readonly PoolServer[]): Promise<PoolServer> {
  const startedMs = performance.now();
  while (performance.now() - startedMs < READY_MS_MAX) {
    const answer = await fetch(`${url}/v1/pool`);
    const { leader } = (await answer.json()) as PoolAnswer;
    const first = servers.find(({ id }) => id === leader?.id);
    if (first !== undefined) return first;
    await new Promise((resolve) => {
      setTimeout(resolve, LEADER_LOOK_MS);
    });
  }
  throw new Error("the pool has no leader");
}

function makeLicense(folder: string, options: PoolOptions, ids: readonly string[]): void {
  quorate(["vendor", "keygen", "--out", join(folder, "vendor")]);
  quorate(["pool", "keygen", "--out", join(folder, "pool")]);
  const key = readFileSync(join(folder, "pool", "pool.pub"), "utf8").trim();
  const license = {
    quorate: 1,
    id: "bench",
    vendor: "Bench",
    customer: "Bench",
    sequence: 1,
    issued: new Date().toISOString(),
    pool: { name: "bench", size: options.members, key },
    features: [
      {
        name: FEATURE,
        version: "2026.1",
        seats: options.seats,
        ...(options.lifeMs === undefined ? {} : { lifeMs: options.lifeMs }),
      },
    ],
  };
  const file = join(folder, "license.json");
  writeFileSync(join(folder, "unsigned.json"), JSON.stringify(license));
  quorate([
    "vendor",
    "sign",
    join(folder, "unsigned.json"),
    "--key",
    join(folder, "vendor", "vendor.key"),
    "--out",
    file,
  ]);
  for (const id of ids) {
    mkdirSync(join(folder, id), { mode: 0o700 });
    const poolKey = join(folder, "pool", "pool.key");
    quorate(["member", "id", "--data", join(folder, id), "--id", id, "--pool-key", poolKey]);
  }
}

function quorate(args: readonly string[]): void {
  const { status, stderr } = spawnSync(process.execPath, [QUORATE, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`quorate ${args.join(" ")}: ${stderr}`);
}

function startServer(folder: string, id: string, options: PoolOptions): ChildProcess {
  return spawnPinned(SERVER_CORE, [
    ...(options.nodeFlags ?? []),
    QUORATE,
    "serve",
    "--data",
    join(folder, id),
    "--listen",
    "127.0.0.1:0",
    "--vendor-key",
    join(folder, "vendor", "vendor.pub"),
    "--license",
    join(folder, "license.json"),
    "--store",
    `sqlite:${join(folder, "store.db")}`,
  ]);
}

/** Resolves when the server grants. */
async function addressOf(child: ChildProcess): Promise<{ url: string; port: number }> {
  if (child.stdout === null) throw new Error("the server's output is no pipe");
  const late = setTimeout(() => child.kill("SIGKILL"), READY_MS_MAX);
  for await (const line of createInterface({ input: child.stdout })) {
    const said = JSON.parse(line) as { ready: boolean; url: string };
    clearTimeout(late);
    if (said.ready) return { url: said.url, port: Number(new URL(said.url).port) };
  }
  throw new Error("a server ended before it was ready; its words are above");
}
