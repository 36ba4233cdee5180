/** What an administrator does with a running pool. */
import type { PoolAnswer } from "@quorate/protocol";
import { describe, expect, test } from "vitest";
import { Clients } from "./clients.ts";
import { call, featureOf, poolOf } from "./http.ts";
import { Pool } from "./pool.ts";
import { cli } from "./server-process.ts";
import { waitFor } from "./wait.ts";

describe.concurrent("administration", { timeout: 120_000 }, () => {
  test("the leader is moved with POST /v1/pool/lead; nobody loses a seat by it", async (context) => {
    const pool = await Pool.start(context, { seats: 12, firstLeader: "a" });
    const clients = new Clients(context, pool);
    for (const id of pool.members) await clients.takeMany(4, [id]);
    const stranger = await call("POST", `${pool.url("a")}/v1/pool/lead`, { body: { member: "b" } });
    expect(stranger).toMatchObject({ status: 401, code: "unauthorized" });
    const nobody = await pool.admin("POST", "a", "/v1/pool/lead", { member: "nobody" });
    expect(nobody).toMatchObject({ status: 400, code: "bad-request" });
    for (const id of ["b", "c", "a"]) {
      const before = (await poolOf(pool.url("c")))?.term ?? 0;
      await pool.lead(id);
      expect((await poolOf(pool.url("c")))?.term).toBeGreaterThan(before);
      // Seats move under the new leader.
      const [first] = clients.recorder.all.filter(({ authorization }) => !authorization.isOver);
      if (first !== undefined) await clients.release(first);
      await clients.take(["c"], { waitMs: 10_000 });
    }
    await clients.renewedAgain(
      clients.recorder.all.filter(({ authorization }) => !authorization.isOver),
    );
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });

  test("a member is removed and another registered in its place", async (context) => {
    const pool = await Pool.start(context, { seats: 12, firstLeader: "a" });
    const clients = new Clients(context, pool);
    for (const id of pool.members) await clients.takeMany(4, [id]);
    pool.addMember("d");
    const early = pool.launch("d");
    expect(await early.program.ended()).toBe(12);
    expect(early.program.stderr).toMatch(/allows 3 servers.*quorate pool remove/);
    // It is stopped first: a live one is not taken away from its users.
    const alive = await pool.admin("POST", "a", "/v1/pool/remove", { member: "c" });
    expect(alive?.status).toBeGreaterThanOrEqual(400);
    expect(await pool.stop("c")).toBe(0);
    const removed = await waitFor("c is removed", async () => {
      const reply = await pool.admin<PoolAnswer>("POST", "a", "/v1/pool/remove", { member: "c" });
      return reply?.status === 200 ? reply.body : null;
    });
    expect(removed.members.map(({ id }) => id).sort()).toEqual(["a", "b"]);
    await pool.up("d");
    await waitFor("d is a member with an allocation", async () => {
      const row = await featureOf(pool.url("a"));
      const ids = (await poolOf(pool.url("a")))?.members.map(({ id }) => id).sort();
      return String(ids) === "a,b,d" && row !== null;
    });
    // The users of c went on, and d serves.
    await clients.renewedAgain(clients.recorder.all);
    const first = clients.recorder.all.slice(0, 1);
    await clients.release(...first);
    const { authorization } = await clients.take(["d"], { waitMs: 20_000 });
    expect(authorization.member).toBe("d");
    expect(clients.lost).toEqual([]);
    // The removed one has no place any more.
    const back = pool.launch("c");
    expect([11, 12]).toContain(await back.program.ended());
    clients.recorder.check();
  });

  test("`quorate pool lead` and `quorate pool remove` do the same from a shell", async (context) => {
    const pool = await Pool.start(context, { seats: 6, firstLeader: "a" });
    const env = {
      QUORATE_SERVERS: pool.urls().join(),
      QUORATE_ADMIN_TOKEN_FILE: pool.adminTokenFile,
    };
    const lead = cli(["pool", "lead", "b"], env);
    expect(await lead.ended(), lead.stderr).toBe(0);
    expect(await pool.leader("c", "a")).toBe("b");
    await pool.kill("c");
    await waitFor("c is retired", async () => {
      const row = (await poolOf(pool.url("a")))?.members.find(({ id }) => id === "c");
      return row?.state === "retired";
    });
    const remove = cli(["pool", "remove", "c"], env);
    expect(await remove.ended(), remove.stderr).toBe(0);
    expect((await poolOf(pool.url("a")))?.members.map(({ id }) => id).sort()).toEqual(["a", "b"]);
  });
});
