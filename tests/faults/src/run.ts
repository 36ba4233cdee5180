/** Runs one row from outside: makes its machines, starts its program among them, and removes all of it. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { NODE } from "@quorate/e2e/server-process";
import { Network } from "./network.ts";
import type { Result, Row } from "./row.ts";
import type { RowOrder } from "./row-program.ts";

const PROGRAM = fileURLToPath(new URL("row-program.ts", import.meta.url));
const ROW_MS_MAX = 300_000;

let runs = 0;

export interface Scale {
  readonly machines: number;
  readonly clients: number;
}

export async function run(row: Row, { machines, clients }: Scale): Promise<Result> {
  // Names of namespaces are shared by the whole machine.
  const prefix = `qf${process.pid}-${(runs += 1)}`;
  const network = new Network(prefix, machines);
  const folder = mkdtempSync(join(tmpdir(), `quorate-faults-${row.name}-`));
  const end = (): void => network.remove();
  process.once("exit", end);
  try {
    network.create();
    const order: RowOrder = { row: row.name, prefix, machines, clients, folder };
    const result = await ordered(order, network.clients.namespace).catch((error: unknown): Result =>
      failed(row, error),
    );
    if (result.failure === null) rmSync(folder, { recursive: true, force: true });
    else console.error(`    what the servers said is in ${folder}`);
    return result;
  } finally {
    process.off("exit", end);
    end();
  }
}

/** Its program died or hung: the other rows go on. */
function failed({ name, title }: Row, error: unknown): Result {
  const failure = error instanceof Error ? error.message : String(error);
  const nothing = { overIssued: 0, lost: 0, lostWithout: 0, waited: 0, newWaitMaxMs: 0 };
  const times = { waitP50Ms: 0, waitMaxMs: 0, tookMs: 0 };
  return { name, title, ...nothing, ...times, notes: [], failure };
}

function ordered(order: RowOrder, namespace: string): Promise<Result> {
  return new Promise((resolve, reject) => {
    const words = ["--disable-warning=ExperimentalWarning", PROGRAM, JSON.stringify(order)];
    const child = spawn("ip", ["netns", "exec", namespace, NODE, ...words], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const late = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${order.row} took longer than ${ROW_MS_MAX / 1_000} s`));
    }, ROW_MS_MAX);
    child.on("message", (result) => resolve(result as Result));
    child.on("exit", (code) => {
      clearTimeout(late);
      reject(new Error(`the program of ${order.row} ended with ${code} and said no result`));
    });
  });
}
