/** What only real processes and a real full disk can show. */
import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "vitest";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { grantOf } from "./journal.conformance.ts";
import { HISTORY_LIMIT_MAX, JournalFailedError } from "./journal.ts";
import { openSqliteJournal } from "./sqlite-journal.ts";

const MODULE = new URL("./sqlite-journal.ts", import.meta.url).href;

/** Prints `open` once it has the folder, or the refusal; then each session after its append resolved. */
const LOAD = `
  const [module, folder, grant, appends] = process.argv.slice(1);
  const { openSqliteJournal } = await import(module);
  let journal;
  try {
    journal = await openSqliteJournal(folder);
    console.log("open");
    let next = 0;
    const load = async () => {
      while (next < Number(appends)) {
        const session = "s" + next++;
        await journal.append([{ ...JSON.parse(grant), session }]);
        console.log(session);
      }
    };
    await Promise.all(Array.from({ length: 64 }, load));
  } catch (error) {
    console.log(error.name + ": " + error.message);
  }
  await journal?.close();
`;

let folder: string;
let children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-journal-"));
});

afterEach(async () => {
  await Promise.all(children.map(killed));
  children = [];
  rmSync(folder, { recursive: true });
});

/** `wrapper`: a command that runs the process, with its arguments. */
function start(
  appends: number,
  wrapper: readonly string[] = [],
): { child: ChildProcess; lines: AsyncIterableIterator<string> } {
  const grant = JSON.stringify(grantOf("s"));
  const load = ["--input-type=module", "--eval", LOAD, MODULE, folder, grant, String(appends)];
  const [command = process.execPath, ...more] = [...wrapper, process.execPath, ...load];
  const child = spawn(command, more, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

async function lineOf(lines: AsyncIterator<string>): Promise<string> {
  const { value } = await lines.next();
  return String(value);
}

async function sessionsAfterRestart(): Promise<Set<string>> {
  const journal = await openSqliteJournal(folder);
  const { sessions } = await journal.recover();
  // Who holds a seat is in the history as well, as a use that is not over.
  const uses = await journal.history({ limit: HISTORY_LIMIT_MAX });
  expect(uses.length).toBe(Math.min(sessions.length, HISTORY_LIMIT_MAX));
  expect(uses.filter((use) => use.endedAtMs !== null)).toEqual([]);
  await journal.close();
  return new Set(sessions.map((session) => session.session));
}

describe("sqlite journal and its process", () => {
  test("everything acknowledged before kill -9 is there after a restart", async () => {
    for (const killAfter of [1, 300, 3_000]) {
      const { child, lines } = start(Number.MAX_SAFE_INTEGER);
      const acknowledged: string[] = [];
      for await (const line of lines) {
        if (line.startsWith("s")) acknowledged.push(line);
        if (acknowledged.length === killAfter) child.kill("SIGKILL");
      }
      expect(acknowledged.length).toBeGreaterThanOrEqual(killAfter);
      const found = await sessionsAfterRestart();
      expect(acknowledged.filter((session) => !found.has(session))).toEqual([]);
    }
  });

  test("a second process is refused with the pid of the first, whose kill -9 frees the folder at once", async () => {
    const first = start(Number.MAX_SAFE_INTEGER);
    expect(await lineOf(first.lines)).toBe("open");
    const refused = await lineOf(start(1).lines);
    expect(refused).toMatch(/^FolderLockedError: another quorate process/);
    expect(refused).toContain(`pid ${first.child.pid}`);
    await killed(first.child);
    expect(await lineOf(start(1).lines)).toBe("open");
  });

  test("the process ends by itself after close, and prints no warning", async () => {
    const { child } = start(10);
    let errors = "";
    child.stderr?.on("data", (data: Buffer) => (errors += data.toString()));
    const [code] = await once(child, "close");
    expect([code, errors]).toEqual([0, ""]);
  });

  test("a failed sync fails every later append; what was acknowledged before is still there", async (context) => {
    // The commits after the opening sync once each; the number is far behind the opening's own syncs.
    const inject = "inject=fsync,fdatasync:error=EIO:when=40";
    const strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"];
    if (!canRun([...strace, process.execPath, "--version"])) {
      skip(context, "strace, which makes a sync fail, can't be run here");
    }
    const { lines } = start(100_000, [...strace, "-e", inject]);
    const acknowledged: string[] = [];
    let failure = "";
    for await (const line of lines) {
      if (line.startsWith("s")) acknowledged.push(line);
      else failure = line;
    }
    expect(failure).toContain(`JournalFailedError: the disk of ${folder} reports errors`);
    expect(acknowledged.length).toBeGreaterThan(20);
    const found = await sessionsAfterRestart();
    expect(acknowledged.filter((session) => !found.has(session))).toEqual([]);
  });

  test("a full disk is told in plain words; what was acknowledged before is still there", async (context) => {
    const disk = mountSmallDisk(folder);
    if (typeof disk === "string") skip(context, disk);
    try {
      const journal = await openSqliteJournal(folder);
      let acknowledged = 0;
      const failure: unknown = await (async () => {
        for (; acknowledged < 100_000; acknowledged += 1) {
          await journal.append([grantOf(`s${acknowledged}`)]);
        }
      })().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(JournalFailedError);
      expect(String(failure)).toContain(`the disk of ${folder} is full: free space and restart`);
      await expect(journal.append([grantOf("later")])).rejects.toBe(failure);
      await journal.close();
      expect(acknowledged).toBeGreaterThan(20);
      disk.grow();
      const found = await sessionsAfterRestart();
      const lost = Array.from({ length: acknowledged }, (_, index) => `s${index}`).filter(
        (session) => !found.has(session),
      );
      expect(lost).toEqual([]);
    } finally {
      disk.unmount();
    }
  });
});

/** A skipped proof is said aloud, and is no proof where it counts. */
function skip(context: TestContext, reason: string): never {
  if (process.env.CI !== undefined) throw new Error(reason);
  console.warn(`skipped: ${reason}`);
  context.skip(reason);
}

function canRun([command = "", ...more]: readonly string[]): boolean {
  try {
    execFileSync(command, more, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** A disk of 2 MiB at `path`, or why there can be none. */
function mountSmallDisk(path: string): { grow(): void; unmount(): void } | string {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    return "a small disk can only be mounted by root on Linux";
  }
  const mount = (options: string): void => {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path], { stdio: "pipe" });
  };
  try {
    mount("size=2m");
  } catch (error) {
    return `a small disk can't be mounted: ${String(error)}`;
  }
  return {
    grow: () => mount("remount,size=16m"),
    unmount: () => void execFileSync("umount", [path]),
  };
}
