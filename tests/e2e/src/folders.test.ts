/** Data folders and the store: copied, shared, full, deleted. Nothing is over-issued by any of it. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { LIFE_MS_DEFAULT, serverLifeMs } from "@quorate/core";
import type { PoolAnswer } from "@quorate/protocol";
import { describe, expect, test } from "vitest";
import { Clients } from "./clients.ts";
import { featureOf, HandMade, poolOf } from "./http.ts";
import { LEASE_MS, Pool, RETIRE_MS } from "./pool.ts";
import { cli, type Program } from "./server-process.ts";
import { nowMs, until, waitFor } from "./wait.ts";

const RENEWALS_A_LEASE = 5;
const SMALL_DISK = "size=8m";
const isRoot = process.getuid?.() === 0;

describe.concurrent("data folders and the store", { timeout: 180_000 }, () => {
  test("pool rebuild after the store file was lost: every seat comes back after the longest life", async (context) => {
    const pool = await Pool.start(context, { seats: 6, firstLeader: "a" });
    const clients = new Clients(context, pool);
    for (const id of pool.members) await clients.takeMany(1, [id]);
    await pool.kill("a", "b", "c");
    removeStore(pool);
    for (const id of pool.members) pool.launch(id);
    for (const id of pool.members) {
      await waitFor(`${id} says what is wrong`, async () => {
        const alarms = (await poolOf(pool.url(id)))?.alarms.join() ?? "";
        return alarms.includes("quorate pool rebuild");
      });
      const stranger = await HandMade.create();
      expect((await stranger.checkout(pool.url(id)))?.code).toBe("no-mandate");
    }
    const rebuilt = await waitFor("the rebuild", async () => {
      const reply = await pool.admin<PoolAnswer>("POST", "b", "/v1/pool/rebuild");
      return reply?.status === 200 ? reply : null;
    });
    expect(rebuilt.status).toBe(200);
    const rebuiltMs = nowMs();
    await Promise.all(pool.members.map((id) => pool.ready(id)));
    // The waits free the seats; those who asked meanwhile get them.
    await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        clients.take([pool.members[index % 3] ?? "a"], { waitMs: 150_000 }),
      ),
    ).catch(async (error: unknown) => {
      throw new Error(JSON.stringify(await featureOf(pool.url("a"))), { cause: error });
    });
    expect(nowMs() - rebuiltMs).toBeLessThan(serverLifeMs(LIFE_MS_DEFAULT) + 10_000);
    clients.recorder.check();
  });

  test("a second process on the same data folder, and a copy of the folder on another port, refuse to run while the first lives; nothing is over-issued", async (context) => {
    const pool = await Pool.start(context, { seats: 9, firstLeader: "a" });
    const clients = new Clients(context, pool);
    await clients.takeMany(2, ["c"]);
    const onAnyPort = (data: string): Program => {
      const flags = pool.flags("c").map((flag) => (flag === pool.dataOf("c") ? data : flag));
      const listen = flags.indexOf("--listen") + 1;
      return cli(["serve", ...flags.with(listen, "127.0.0.1:0")]);
    };
    const second = onAnyPort(pool.dataOf("c"));
    expect(await second.ended(), second.stderr).toBe(6);
    expect(second.stderr).toMatch(/folder|process/);
    const copy = join(pool.folder, "copy-of-c");
    cpSync(pool.dataOf("c"), copy, { recursive: true });
    const copied = onAnyPort(copy);
    expect(await copied.ended(), copied.stderr).toBe(6);
    expect(copied.stderr).toMatch(/another process of this member/);
    expect(copied.stdout).not.toContain("ready");
    // The first goes on, and all seats are there once.
    await clients.takeMany(7, ["c"]);
    for (const id of pool.members) {
      await expect(clients.take([id])).rejects.toMatchObject({ code: "no-seats" });
    }
    await clients.renewedAgain(clients.recorder.all);
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });

  test("a copied folder that starts after the first was killed grants none of the seats that its clients hold, and these go on", async (context) => {
    const pool = await Pool.start(context, { seats: 6, firstLeader: "a" });
    const clients = new Clients(context, pool);
    const copy = join(pool.folder, "copy-of-c");
    cpSync(pool.dataOf("c"), copy, { recursive: true });
    // What the copy's journal does not know.
    const users = await clients.takeMany(4, ["c"]);
    await clients.takeMany(2, ["a"]);
    // The record of c tells how far its journal is, with every renewal: two of them later it surely does.
    await until(nowMs() + (2 * LEASE_MS) / RENEWALS_A_LEASE);
    await pool.kill("c");
    const flags = pool.flags("c").map((flag) => (flag === pool.dataOf("c") ? copy : flag));
    const copied = cli(["serve", ...flags]);
    context.onTestFinished(() => copied.kill());
    await waitFor("the copy is at work", () => copied.stdout.includes("ready"), 20_000);
    const tries = await Promise.allSettled([clients.take(["c"]), clients.take(["b"])]);
    expect(tries.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await clients.renewedAgain(users);
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });

  test("a store file deleted under a running pool stops it from granting, with words that tell what to do", async (context) => {
    const pool = await Pool.start(context, { seats: 30 });
    const clients = new Clients(context, pool);
    await clients.take(["a"]);
    removeStore(pool);
    const removedMs = nowMs();
    for (const id of pool.members) {
      const detail = await waitFor(`${id} stops granting`, async () => {
        const client = await HandMade.create();
        const sentMs = nowMs();
        const reply = await client.checkout(pool.url(id));
        clients.recorder.answered(client, reply, sentMs);
        return reply?.code === "no-mandate" ? reply.detail : null;
      });
      expect(detail).toMatch(/store/);
      expect(detail).toMatch(/quorate pool rebuild/);
    }
    expect(nowMs() - removedMs).toBeLessThan(RETIRE_MS + 1_000);
    clients.recorder.check();
  });

  test.skipIf(!isRoot)(
    "a full disk under one member's data folder makes it resign with clear words and exit code 10 while its clients go on elsewhere",
    async (context) => {
      const pool = Pool.prepare(context, { seats: 30 });
      // The member's files move onto a disk of their own, small enough to fill.
      const disk = pool.dataOf("c");
      const aside = join(pool.folder, "aside");
      cpSync(disk, aside, { recursive: true });
      rmSync(disk, { recursive: true });
      mkdirSync(disk, { mode: 0o700 });
      const mounted = spawnSync("mount", [
        "-t",
        "tmpfs",
        "-o",
        `${SMALL_DISK},mode=0700`,
        "tmpfs",
        disk,
      ]);
      if (mounted.status !== 0) return context.skip("this machine allows no mount");
      context.onTestFinished(async () => {
        await pool.kill("c").catch(() => undefined);
        spawnSync("umount", [disk]);
      });
      for (const name of readdirSync(aside)) cpSync(join(aside, name), join(disk, name));
      await Promise.all(pool.members.map((id) => pool.up(id)));
      const clients = new Clients(context, pool);
      const users = await clients.takeMany(5, ["c"]);
      spawnSync("dd", ["if=/dev/zero", `of=${join(disk, "filler")}`, "bs=4k"]);
      const { program } = pool.server("c");
      // Grants need room in the journal; who asks c goes on at another.
      const more: unknown[] = [];
      await waitFor("c resigns", async () => {
        more.push(await clients.take(["c", "a", "b"]));
        return !program.runs || more.length >= 20;
      });
      expect(await program.ended()).toBe(10);
      expect(program.stderr).toMatch(/resigns: .*(full|space)/i);
      await waitFor("its clients moved", () => users.every(({ moved }) => moved.length > 0));
      await clients.renewedAgain(users);
      expect(clients.lost).toEqual([]);
      clients.recorder.check();
    },
  );
});

function removeStore(pool: Pool): void {
  for (const end of ["", "-wal", "-shm"]) rmSync(pool.storeFile + end, { force: true });
}
