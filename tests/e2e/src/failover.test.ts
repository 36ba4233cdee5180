/** Servers die by kill -9: the others lead, retire, reclaim, and no client of theirs hears of it. */
import { describe, expect, test, type TestContext } from "vitest";
import { Clients, sessionsOf } from "./clients.ts";
import { authorizationsOf, featureOf, HandMade, poolOf } from "./http.ts";
import { LEADER_CHANGE_MS, Pool, RETIRE_MS, SERVER_LIFE_MS } from "./pool.ts";
import { nowMs, waitFor } from "./wait.ts";

/** One look at a busy machine, on top of a bound of the design. */
const LOOK_MS = 400;

describe.concurrent("failover", { timeout: 90_000 }, () => {
  test("leader killed with -9: another leads; new grants go on; a new leader shows every server's authorizations again", async (context) => {
    const pool = await Pool.start(context, { seats: 30, firstLeader: "a" });
    const clients = new Clients(context, pool);
    const held = [
      ...(await clients.takeMany(4, ["a"])),
      ...(await clients.takeMany(4, ["b"])),
      ...(await clients.takeMany(4, ["c"])),
    ];
    await pool.kill("a");
    const killedMs = nowMs();
    // The followers have seats of their own and need no leader to grant them.
    await clients.take(["b"]);
    await clients.take(["c"]);
    const leader = await pool.leader("b", "a");
    expect(nowMs() - killedMs).toBeLessThan(RETIRE_MS + LEADER_CHANGE_MS);
    expect(["b", "c"]).toContain(leader);
    await clients.take(["b"]);
    await clients.take(["c"]);
    const all = sessionsOf(clients.recorder.all).sort();
    await waitFor("every authorization in the new leader's list", async () => {
      const { authorizations } = await authorizationsOf(pool.url(leader));
      return String(authorizations.map(({ session }) => session).sort()) === String(all);
    });
    await clients.renewedAgain(held);
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });

  test("follower killed with -9: noticed within R, its allocation retired and reclaimed; all seats are usable again within the bound of I4", async (context) => {
    const pool = await Pool.start(context, { seats: 30, firstLeader: "a" });
    const clients = new Clients(context, pool);
    // Users of c who die with it: nobody will speak for their seats any more.
    for (let count = 0; count < 10; count += 1) {
      const dead = await HandMade.create();
      const sentMs = nowMs();
      const reply = await dead.checkout(pool.url("c"));
      expect(reply?.status).toBe(201);
      clients.recorder.answered(dead, reply, sentMs);
    }
    await clients.takeMany(20, ["a"]);
    await pool.kill("c");
    const killedMs = nowMs();
    const waiting = Array.from({ length: 10 }, (_, index) =>
      clients.take([index % 2 === 0 ? "a" : "b"], { waitMs: 60_000 }),
    );
    await waitFor("c is seen dead", async () => {
      const row = (await poolOf(pool.url("a")))?.members.find(({ id }) => id === "c");
      return row !== undefined && !row.alive;
    });
    expect(nowMs() - killedMs).toBeLessThan(RETIRE_MS + LOOK_MS);
    await waitFor("c is retired", async () => {
      const row = (await poolOf(pool.url("a")))?.members.find(({ id }) => id === "c");
      return row?.state === "retired" && (await featureOf(pool.url("a")))?.retired === 10;
    });
    await Promise.all(waiting);
    expect(nowMs() - killedMs).toBeLessThan(RETIRE_MS + LEADER_CHANGE_MS + SERVER_LIFE_MS);
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });

  test("two of three killed: the third refuses new grants and renewals with `no-majority`; one comes back: it grants again", async (context) => {
    const pool = await Pool.start(context, { seats: 30 });
    const clients = new Clients(context, pool);
    const user = await HandMade.create();
    clients.recorder.answered(user, await user.checkout(pool.url("c")), nowMs());
    await pool.kill("a", "b");
    const alone = await HandMade.create();
    await waitFor("c refuses new grants", async () => {
      const each = await HandMade.create();
      const sentMs = nowMs();
      const reply = await each.checkout(pool.url("c"));
      clients.recorder.answered(each, reply, sentMs);
      return reply?.code === "no-majority";
    });
    expect((await alone.checkout(pool.url("c")))?.code).toBe("no-majority");
    const renewal = await user.heartbeat(pool.url("c"));
    expect(renewal).toMatchObject({ status: 503, code: "no-majority" });
    expect(renewal?.detail).toMatch(/start the others/);
    expect((await poolOf(pool.url("c")))?.majority).toEqual({
      needed: 2,
      alive: 1,
      reached: false,
    });
    pool.launch("a");
    await waitFor("c grants again", async () => {
      const sentMs = nowMs();
      const reply = await alone.checkout(pool.url("c"));
      clients.recorder.answered(alone, reply, sentMs);
      return reply?.status === 201;
    });
    expect((await user.heartbeat(pool.url("c")))?.code).toBeNull();
    clients.recorder.check();
  });

  test("a client whose server is killed keeps its session: heartbeat converted at the leader, same session id, one seat, the program never hears `lost`; with the pool full, for all clients of the dead server at once", async (context) => {
    await survivesDeathOf(context, "b");
  });

  test("the same when the dead server was the leader", async (context) => {
    await survivesDeathOf(context, "a");
  });

  test("a process stopped with SIGSTOP for longer than lease + life, then continued, grants nothing on its old mandate", async (context) => {
    const pool = await Pool.start(context, { seats: 30, firstLeader: "a" });
    const clients = new Clients(context, pool);
    // It has unused seats and a mandate at the moment when it stops.
    expect((await featureOf(pool.url("c")))?.members["c"]?.seats).toBeGreaterThan(0);
    pool.pause("c");
    const pausedMs = nowMs();
    await Promise.all(
      Array.from({ length: 30 }, () => clients.take(["a", "b"], { waitMs: 60_000 })),
    );
    expect(nowMs() - pausedMs).toBeGreaterThan(SERVER_LIFE_MS);
    // These are in its socket before it can look at any clock.
    const early = await Promise.all(Array.from({ length: 20 }, () => HandMade.create()));
    const asked = early.map(async (client) => {
      const sentMs = nowMs();
      const reply = await client.checkout(pool.url("c"));
      clients.recorder.answered(client, reply, sentMs);
      return reply;
    });
    await new Promise((resolve) => setImmediate(resolve));
    pool.resume("c");
    for (const reply of await Promise.all(asked)) {
      expect(reply?.code).toMatch(/^(no-mandate|no-majority|no-seats|busy)$/);
    }
    await waitFor("c is back under a new epoch", async () => {
      const row = (await poolOf(pool.url("a")))?.members.find(({ id }) => id === "c");
      return row?.alive === true && row.state === "active";
    });
    await clients.renewedAgain(clients.recorder.all);
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });
});

/** Every seat is taken, ten of them at `victim`, when it dies; `a` leads. */
async function survivesDeathOf(context: TestContext, victim: string): Promise<void> {
  const pool = await Pool.start(context, { seats: 30, firstLeader: "a" });
  const clients = new Clients(context, pool);
  for (const id of pool.members) await clients.takeMany(10, [id]);
  const all = clients.recorder.all;
  const ofVictim = all.filter(({ authorization }) => authorization.member === victim);
  expect(ofVictim).toHaveLength(10);
  const sessions = sessionsOf(all).sort();
  await pool.kill(victim);
  const live = pool.members.filter((id) => id !== victim);
  const asker = live[1] ?? "c";
  await waitFor("every client of the dead server is converted", () =>
    ofVictim.every(({ moved }) => moved.length > 0),
  );
  const leader = (await poolOf(pool.url(asker)))?.leader?.id;
  for (const { authorization } of ofVictim) expect(authorization.member).toBe(leader);
  // A new request must not get one of their seats meanwhile.
  const stranger = await HandMade.create();
  expect((await stranger.checkout(pool.url(asker)))?.code).toBe("no-seats");
  await clients.renewedAgain(all);
  expect(clients.lost).toEqual([]);
  expect(sessionsOf(all).sort()).toEqual(sessions);
  await waitFor("one seat for each in the list", async () => {
    const { authorizations } = await authorizationsOf(pool.url(asker));
    return String(authorizations.map(({ session }) => session).sort()) === String(sessions);
  });
  expect(await featureOf(pool.url(asker))).toMatchObject({ inUse: 30, free: 0 });
  clients.recorder.check();
}
