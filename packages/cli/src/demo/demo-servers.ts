/** The demo's servers as real processes of this same executable. They are ended by their process id. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Failure } from "../failure.ts";
import { callServer } from "../server-calls.ts";
import type { DemoFolder, DemoServer } from "./demo-folder.ts";

const EXECUTABLE = fileURLToPath(new URL("../../bin/quorate.js", import.meta.url));
const READY_MS_MAX = 20_000;
const READY_LOOK_MS = 100;
const PROBE_MS_MAX = 500;
/** A server gives its seats back when it is stopped; what takes longer than this is killed. */
const STOP_MS_MAX = 10_000;

interface Running {
  readonly server: DemoServer;
  readonly child: ChildProcess;
  /** Resolves with how it ended. */
  readonly ended: Promise<string>;
  alive: boolean;
}

export class DemoServers {
  readonly #running: readonly Running[];

  constructor(folder: DemoFolder, onEnd: (id: string, how: string) => void) {
    this.#running = folder.servers.map((server) => start(server, folder.licenseFile, onEnd));
  }

  pidOf(id: string): number | null {
    const running = this.#running.find(({ server }) => server.id === id);
    return running?.alive === true ? (running.child.pid ?? null) : null;
  }

  /** Resolves when all of them grant. */
  async ready(): Promise<void> {
    const untilMs = performance.now() + READY_MS_MAX;
    for (const { server, ended, ...running } of this.#running) {
      let over = !running.alive;
      void ended.then(() => (over = true));
      while (!(await isReady(server.url))) {
        if (over) {
          throw new Failure(`server ${server.id} ended at its start; see ${server.logFile}`);
        }
        if (performance.now() > untilMs) {
          throw new Failure(
            `server ${server.id} is not ready after ${READY_MS_MAX / 1000} s; see ${server.logFile}`,
          );
        }
        await delay(READY_LOOK_MS);
      }
    }
  }

  async stop(): Promise<void> {
    const alive = this.#running.filter((running) => running.alive);
    for (const { child } of alive) child.kill("SIGTERM");
    const late = setTimeout(() => this.kill(), STOP_MS_MAX);
    await Promise.all(alive.map(({ ended }) => ended));
    clearTimeout(late);
  }

  /** At once, without giving anything back. */
  kill(): void {
    for (const running of this.#running) if (running.alive) running.child.kill("SIGKILL");
  }
}

/** Whether a process answers at the address, whoever started it. */
export async function answers(url: string): Promise<boolean> {
  return !("silent" in (await callServer(url, "/livez", { timeoutMs: PROBE_MS_MAX })));
}

async function isReady(url: string): Promise<boolean> {
  const answer = await callServer(url, "/readyz", { timeoutMs: PROBE_MS_MAX });
  return "status" in answer && answer.status === 200;
}

function start(
  server: DemoServer,
  licenseFile: string,
  onEnd: (id: string, how: string) => void,
): Running {
  const log = openSync(server.logFile, "a", 0o600);
  const words = [EXECUTABLE, ...server.words, "--license", licenseFile];
  const child = spawn(process.execPath, words, {
    stdio: ["ignore", log, log],
    // A group of its own: Ctrl-C is for the demo, which first lets its users give their seats back.
    detached: true,
  });
  closeSync(log);
  const running: Running = {
    server,
    child,
    alive: true,
    ended: new Promise((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
    }),
  };
  void running.ended.then((how) => {
    running.alive = false;
    onEnd(server.id, how);
  });
  return running;
}
