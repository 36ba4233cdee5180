/** The newest license wins, wherever it was brought in (I7); a smaller one throws nobody out. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generatePrivateKey } from "@quorate/server/keys";
import { describe, expect, test } from "vitest";
import { Clients } from "./clients.ts";
import { featureOf, licenseSequenceOf, poolOf } from "./http.ts";
import { Pool, RETIRE_MS } from "./pool.ts";
import { cli, type Program } from "./server-process.ts";
import { nowMs, until, waitFor } from "./wait.ts";

describe.concurrent("license", { timeout: 90_000 }, () => {
  test("a server that was down is given a license with a higher sequence number; when it starts, all servers serve it, without restart", async (context) => {
    const pool = await Pool.start(context, { seats: 6, firstLeader: "a" });
    const clients = new Clients(context, pool);
    await clients.takeMany(6, ["a"]);
    await expect(clients.take(["b"])).rejects.toMatchObject({ code: "no-seats" });
    const pids = ["a", "b"].map((id) => pool.server(id).program.pid);
    expect(await pool.stop("c")).toBe(0);
    const file = pool.writeLicense("newer.json", pool.license(2, { seats: 9 }));
    const installed = install(pool, file, ["--data", pool.dataOf("c")]);
    expect(await installed.ended(), installed.stderr).toBe(0);
    expect(await licenseSequenceOf(pool.url("a"))).toBe(1);
    clients.recorder.limit(9, nowMs());
    await pool.up("c");
    await waitFor("all serve sequence 2", async () => everywhere(pool, 2));
    expect(["a", "b"].map((id) => pool.server(id).program.pid)).toEqual(pids);
    for (const id of pool.members) await clients.take([id], { waitMs: 20_000 });
    await expect(clients.take(["b"])).rejects.toMatchObject({ code: "no-seats" });
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });

  test("a lower number is replaced by the pool's", async (context) => {
    const pool = await Pool.start(context, { seats: 6 });
    expect(await pool.stop("c")).toBe(0);
    expect((await pool.install("a", pool.license(5, { seats: 9 })))?.body.sequence).toBe(5);
    // c has 1 on its disk and gets 2 while it is down: both are lower.
    const file = pool.writeLicense("two.json", pool.license(2, { seats: 3 }));
    const installed = install(pool, file, ["--data", pool.dataOf("c")]);
    expect(await installed.ended(), installed.stderr).toBe(0);
    await pool.up("c");
    await waitFor("all serve sequence 5", async () => everywhere(pool, 5));
    await waitFor("c's own copy is the pool's, its old ones are kept", () => {
      const own = JSON.parse(readFileSync(join(pool.dataOf("c"), "license.json"), "utf8")) as {
        sequence: number;
      };
      const files = readdirSync(pool.dataOf("c"));
      return (
        own.sequence === 5 &&
        files.includes("license-1.backup.json") &&
        files.includes("license-2.backup.json")
      );
    });
    const refused = await pool.install("b", pool.license(4));
    expect(refused).toMatchObject({ status: 409, code: "license-older" });
    const older = pool.writeLicense("four.json", pool.license(4));
    const cliRefused = install(pool, older, ["--server", pool.url("b")]);
    expect(await cliRefused.ended()).toBe(7);
    expect(cliRefused.stderr).toMatch(/sequence 4.*has 5/);
    expect(await everywhere(pool, 5)).toBe(true);
  });

  test("the same number with other content, a bad signature, a truncated file, another pool's license are refused with a clear error and nothing changes", async (context) => {
    const pool = await Pool.start(context, { seats: 6 });
    const good = pool.license(2, { seats: 9 });
    const bad = [
      { text: pool.license(1, { customer: "Other" }), code: "license-conflict", exit: 8 },
      { text: good.replace('"seats":9', '"seats":900'), code: "license-invalid", exit: 5 },
      {
        text: pool.license(2, { vendorKey: generatePrivateKey() }),
        code: "license-invalid",
        exit: 5,
      },
      { text: good.slice(0, -40), code: "license-invalid", exit: 5 },
      { text: pool.license(2, { poolName: "another" }), code: "license-invalid", exit: 5 },
    ];
    for (const [index, { text, code, exit }] of bad.entries()) {
      const refused = await pool.install("b", text);
      // A body that is no JSON is refused before anybody looks for a license in it.
      expect([code, "bad-request"]).toContain(refused?.code);
      expect(refused?.detail.length).toBeGreaterThan(20);
      const file = pool.writeLicense(`bad-${index}.json`, text);
      const byCli = install(pool, file, ["--server", pool.url("b")]);
      expect(await byCli.ended(), byCli.stderr).toBe(exit);
      expect(byCli.stderr).toContain(code);
    }
    expect(await everywhere(pool, 1)).toBe(true);
    expect(await featureOf(pool.url("a"))).toMatchObject({ seats: 6 });
    // The same while the server is down: it comes back with the pool's and tells its administrator.
    expect(await pool.stop("c")).toBe(0);
    writeFileSync(join(pool.dataOf("c"), "license.json"), bad[0]?.text ?? "");
    await startWithoutFile(pool, "c");
    const alarms = await waitFor("c tells of the conflict", async () => {
      const found = (await poolOf(pool.url("c")))?.alarms ?? [];
      return found.length > 0 ? found : null;
    });
    expect(alarms.join()).toMatch(/same sequence number 1.*other content/);
    expect(await everywhere(pool, 1)).toBe(true);
    expect(await pool.stop("c")).toBe(0);
    writeFileSync(join(pool.dataOf("c"), "license.json"), good.slice(0, -40));
    await startWithoutFile(pool, "c");
    expect(pool.server("c").program.stderr).toMatch(/own license file is not valid/);
    expect(await everywhere(pool, 1)).toBe(true);
    // A server of another pool must not work here at all.
    expect(await pool.stop("c")).toBe(0);
    const foreign = pool.license(2, { poolName: "another" });
    writeFileSync(join(pool.dataOf("c"), "license.json"), foreign);
    const { program } = pool.launch("c", [], { bring: false });
    expect(await program.ended()).toBe(5);
    expect(program.stderr).toMatch(/for the pool \\?"another/);
    expect(await licenseSequenceOf(pool.url("a"))).toBe(1);
    expect(await licenseSequenceOf(pool.url("b"))).toBe(1);
  });

  test("a license with fewer seats than in use throws nobody out and grants nothing new until enough is released", async (context) => {
    const pool = await Pool.start(context, { seats: 12, firstLeader: "a" });
    const clients = new Clients(context, pool);
    for (const id of pool.members) await clients.takeMany(4, [id]);
    const held = [...clients.recorder.all];
    expect((await pool.install("b", pool.license(2, { seats: 6 })))?.status).toBe(200);
    const inForceMs = nowMs() + RETIRE_MS;
    clients.recorder.limit(6, inForceMs);
    await waitFor("all serve sequence 2", async () => everywhere(pool, 2));
    await waitFor("the record owes 6 seats", async () => {
      return (await featureOf(pool.url("a")))?.debt === 6;
    });
    await until(inForceMs);
    // One after another, from every server: what is released pays the debt.
    for (const [index, each] of held.slice(0, 6).entries()) {
      for (const id of pool.members) {
        await expect(clients.take([id])).rejects.toMatchObject({ code: "no-seats" });
      }
      await clients.release(each);
      await waitFor(`the debt of ${5 - index}`, async () => {
        return (await featureOf(pool.url("a")))?.debt === 5 - index;
      });
    }
    for (const id of pool.members) {
      await expect(clients.take([id])).rejects.toMatchObject({ code: "no-seats" });
    }
    const stay = held.slice(6);
    await clients.renewedAgain(stay);
    expect(clients.lost).toEqual([]);
    await clients.release(...stay.slice(0, 1));
    await clients.take(["b"], { waitMs: 10_000 });
    await expect(clients.take(["c"])).rejects.toMatchObject({ code: "no-seats" });
    clients.recorder.check();
  });
});

function install(pool: Pool, file: string, where: readonly string[]): Program {
  return cli(["license", "install", file, ...where], {
    QUORATE_VENDOR_KEY: pool.vendorPublicKey,
    QUORATE_ADMIN_TOKEN_FILE: pool.adminTokenFile,
  });
}

async function everywhere(pool: Pool, sequence: number): Promise<boolean> {
  const served = await Promise.all(pool.urls().map((url) => licenseSequenceOf(url)));
  return served.every((each) => each === sequence);
}

/** `--license` would offer the first license, too: these starts take what is in the folder alone. */
async function startWithoutFile(pool: Pool, id: string): Promise<void> {
  pool.launch(id, [], { bring: false });
  await pool.ready(id);
}
