import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openSqliteStore } from "./sqlite-store.ts";
import { storeConformance } from "./store.conformance.ts";
import { StoreLostError } from "./store.ts";
import type { Change, Store } from "./store.ts";

const DEADLINE_MS = 10_000;
const SHORT_DEADLINE_MS = 300;
const PROCESS = fileURLToPath(new URL("./sqlite-store.process.ts", import.meta.url));

storeConformance("sqlite", async () => {
  const folder = mkdtempSync(join(tmpdir(), "quorate-store-"));
  return {
    handle: () => openSqliteStore(join(folder, "store.db")),
    remove: async () => rmSync(folder, { recursive: true }),
  };
});

let folder: string;
let path: string;
let stores: Store[];
let children: Child[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-store-"));
  path = join(folder, "store.db");
  stores = [];
  children = [];
});

afterEach(async () => {
  for (const child of children) child.process.kill("SIGKILL");
  await Promise.all(children.map((child) => child.ended));
  for (const store of stores) await store.close();
  rmSync(folder, { recursive: true });
});

describe("the file of a store", () => {
  test("is made for its owner alone, with its folder", async () => {
    path = join(folder, "new/folder/store.db");
    await open();
    for (const file of [path, `${path}-wal`, `${path}-shm`]) {
      expect(statSync(file).mode & 0o777).toBe(0o600);
    }
    expect(statSync(join(folder, "new")).mode & 0o777).toBe(0o700);
  });

  test("keeps what was applied when all handles were closed", async () => {
    await put(await open(), "a");
    await stores.pop()?.close();
    expect(await keys(await open(), "a")).toEqual(["a"]);
  });

  test("can be opened by many at once when it doesn't exist yet", async () => {
    const opened = await Promise.all(Array.from({ length: 6 }, open));
    for (const [i, store] of opened.entries()) await put(store, `k/${i}`);
    expect(await keys(opened[0]!, "k/")).toHaveLength(6);
  });

  test.each([
    [
      "that is text",
      () => writeFileSync(path, "not a database\n".repeat(500)),
      /damaged or no store/,
    ],
    ["of another program", () => otherDatabase().close(), /no store of Quorate/],
    ["with damaged pages", damage, /damaged/],
  ])("%s is refused with a sentence", async (_, make, sentence) => {
    await put(await open(), "a");
    await stores.pop()?.close();
    make();
    const refused = expect(openSqliteStore(path)).rejects;
    await refused.toThrow(StoreLostError);
    await expect(openSqliteStore(path)).rejects.toThrow(sentence);
  });

  test("in a place that can't be opened is an error that isn't about a lost store", async () => {
    const opening = openSqliteStore(folder);
    await expect(opening).rejects.toThrow(/can't be opened/);
    await expect(opening).rejects.not.toBeInstanceOf(StoreLostError);
  });

  test.each([
    ["deleted", () => unlinkSync(path)],
    ["replaced by a copy", () => replaceByCopy(path)],
    ["robbed of its lock file", () => unlinkSync(`${path}-shm`)],
    ["robbed of its log", () => replaceByCopy(`${path}-wal`)],
  ])("that was %s is lost for ever, and the error says what to do", async (_, spoil) => {
    const store = await open();
    await put(store, "a");
    spoil();
    const refused = await store
      .transact(reading("a"), DEADLINE_MS)
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(StoreLostError);
    expect(String(refused)).toMatch(/deleted or replaced.*Stop all members.*quorate pool rebuild/);
    await expect(put(store, "b")).rejects.toThrow(StoreLostError);
  });
});

test("a store that is lost while it is closed still closes", async () => {
  const store = await open();
  await put(store, "a");
  unlinkSync(path);
  const lost = expect(store.transact(putting("b"), DEADLINE_MS)).rejects.toThrow(StoreLostError);
  await store.close();
  await lost;
});

describe("several processes on one store", () => {
  test(
    "lose no acknowledged write while one after the other is killed",
    { timeout: 60_000 },
    async () => {
      const processes = 3;
      const killings = 6;
      const acknowledged = () => children.flatMap(({ lines }) => lines);
      const running = Array.from({ length: processes }, (_, i) => increment(`p${i}`));
      for (let killed = 0; killed < killings; killed += 1) {
        // Every process must be in the middle of writing, not still starting.
        await waitFor(() => running.every(({ lines }) => lines.length >= 10));
        const [victim] = running.splice(Math.floor(Math.random() * processes), 1);
        victim?.process.kill("SIGKILL");
        running.push(increment(`p${processes + killed}`));
      }
      await waitFor(() => running.every(({ lines }) => lines.length >= 10));
      for (const child of running) child.process.kill("SIGTERM");
      await Promise.all(children.map((child) => child.ended));
      // They end by themselves after closing, and say nothing.
      expect(running.map((child) => child.process.exitCode)).toEqual([0, 0, 0]);
      expect(children.map((child) => child.errors).join("")).toBe("");

      const store = await open();
      const done = new Set(await keys(store, "done/"));
      expect(acknowledged().filter((key) => !done.has(key))).toEqual([]);
      const read = await store.transact(reading("counter"), DEADLINE_MS);
      expect(read).toMatchObject({ read: [{ value: String(done.size) }], revision: done.size });
      const database = new DatabaseSync(path);
      expect(database.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
      database.close();
    },
  );

  test("a watch is told every change that another process makes", async () => {
    const store = await open();
    const told: Change[] = [];
    store.watch("done/", 0, (change) => told.push(change));
    const child = increment("p");
    await waitFor(() => child.lines.length >= 30);
    child.process.kill("SIGTERM");
    await child.ended;
    await waitFor(() => told.length >= child.lines.length);
    expect(told.map(({ key }) => key)).toEqual(child.lines);
    expect(told.map(({ revision }) => revision)).toEqual(child.lines.map((_, i) => i + 1));
  });

  test("a process that is frozen inside a write makes the others' writes unknown, and no more", async () => {
    const store = await open();
    await put(store, "a");
    const frozen = start("hold");
    await waitFor(() => frozen.lines.includes("holding"));
    frozen.process.kill("SIGSTOP");

    const startMs = performance.now();
    const late = ["late/1", "late/2", "late/3"].map((key) =>
      store.transact(putting(key), SHORT_DEADLINE_MS),
    );
    // Reading needs no lock.
    expect(await keys(store, "a")).toEqual(["a"]);
    for (const answer of await Promise.all(late)) {
      expect(answer.outcome).toBe("unknown");
    }
    expect(performance.now() - startMs).toBeLessThan(SHORT_DEADLINE_MS * 3);

    if (process.platform === "linux") {
      // A late worker's reason loses against the deadline: then only the next answer names the process.
      await vi.waitFor(
        async () => {
          const answer = await store.transact(putting("late/4"), SHORT_DEADLINE_MS);
          const reason = expect.stringContaining(`process ${frozen.process.pid} is inside a write`);
          expect(answer).toEqual({ outcome: "unknown", reason });
        },
        { timeout: 20_000 },
      );
    }

    const waiting = store.transact(putting("patient"), DEADLINE_MS);
    frozen.process.stdin.end();
    frozen.process.kill("SIGCONT");
    expect(await waiting).toMatchObject({ outcome: "applied" });
    await frozen.ended;
    // What gave up before it began was not done afterwards.
    expect(await keys(store, "late/")).toEqual([]);
  });
});

interface Child {
  readonly process: ChildProcessWithoutNullStreams;
  readonly lines: string[];
  errors: string;
  readonly ended: Promise<unknown>;
}

function increment(name: string): Child {
  return start("increment", name);
}

function start(role: string, name = ""): Child {
  const child = spawn(process.execPath, [PROCESS, role, path, name]);
  const started: Child = { process: child, lines: [], errors: "", ended: once(child, "close") };
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    started.lines.push(...lines);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (started.errors += text));
  children.push(started);
  return started;
}

async function open(): Promise<Store> {
  const store = await openSqliteStore(path);
  stores.push(store);
  return store;
}

async function put(store: Store, key: string): Promise<void> {
  const answer = await store.transact(putting(key), DEADLINE_MS);
  expect(answer.outcome).toBe("applied");
}

async function keys(store: Store, read: string): Promise<string[]> {
  const answer = await store.transact(reading(read), DEADLINE_MS);
  if (answer.outcome === "unknown") throw new Error(answer.reason);
  return answer.read.map(({ key }) => key);
}

function putting(key: string) {
  return { compare: [], puts: [{ key, value: "1" }], reads: [] };
}

function reading(...reads: string[]) {
  return { compare: [], puts: [], reads };
}

async function waitFor(condition: () => boolean): Promise<void> {
  await vi.waitUntil(condition, { timeout: 20_000, interval: 10 });
}

function otherDatabase(): DatabaseSync {
  unlinkSync(path);
  const database = new DatabaseSync(path);
  database.exec("CREATE TABLE other (x)");
  return database;
}

function damage(): void {
  const database = new DatabaseSync(path);
  const table = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'kv'").get();
  database.close();
  const page = 4096;
  const bytes = readFileSync(path);
  bytes.fill(0x5a, (Number(table?.rootpage) - 1) * page, Number(table?.rootpage) * page);
  writeFileSync(path, bytes);
}

function replaceByCopy(file: string): void {
  copyFileSync(file, `${file}.copy`);
  renameSync(`${file}.copy`, file);
}
