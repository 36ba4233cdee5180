/**
 * The file that says which process looks after an etcd folder. A server that was killed leaves its etcd behind;
 * the next one ends that by its process id. It ends nothing that it can't recognise: a process id may meanwhile
 * belong to another program, so the whole command line must be the same.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ForPeople } from "../keys/for-people.ts";

interface Claim {
  readonly keeper: Known;
  readonly etcd: Known;
}

interface Known {
  readonly pid: number;
  readonly command: string;
}

const LOOK_MS = 50;
const END_MS_MAX = 10_000;

/** Another server of this machine looks after the folder: service files must not restart on it. */
export class EtcdKeptError extends ForPeople {}

/** Throws EtcdKeptError when another server has it; ends an etcd that was left behind. */
export async function takeOver(folder: string): Promise<void> {
  const claim = read(folder);
  if (claim === null) return;
  if (claim.keeper.pid !== process.pid && lives(claim.keeper)) {
    throw new EtcdKeptError(
      `another quorate serve (process ${claim.keeper.pid}) looks after the etcd of ${folder}`,
    );
  }
  if (!lives(claim.etcd)) return;
  process.kill(claim.etcd.pid, "SIGTERM");
  const untilMs = performance.now() + END_MS_MAX;
  while (lives(claim.etcd)) {
    if (performance.now() > untilMs) process.kill(claim.etcd.pid, "SIGKILL");
    await delay(LOOK_MS);
  }
}

export function claim(folder: string, etcdPid: number): void {
  const said: Claim = { keeper: known(process.pid), etcd: known(etcdPid) };
  const half = `${fileOf(folder)}.new`;
  writeFileSync(half, JSON.stringify(said));
  renameSync(half, fileOf(folder));
}

export function letGo(folder: string): void {
  rmSync(fileOf(folder), { force: true });
}

function fileOf(folder: string): string {
  return join(folder, "quorate-etcd.json");
}

function read(folder: string): Claim | null {
  try {
    return JSON.parse(readFileSync(fileOf(folder), "utf8")) as Claim;
  } catch {
    // None was written, or a full disk cut it: etcd itself refuses a folder that is in use.
    return null;
  }
}

function known(pid: number): Known {
  return { pid, command: commandOf(pid) ?? "" };
}

function lives({ pid, command }: Known): boolean {
  return command !== "" && commandOf(pid) === command;
}

/** Linux alone tells it; elsewhere nothing is recognised and nothing ended. */
function commandOf(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return null;
  }
}
