/** Servers that stop on purpose, one after another, and a whole pool that loses power. */
import { describe, expect, test, type TestContext } from "vitest";
import { Clients, sessionsOf } from "./clients.ts";
import { authorizationsOf, featureOf, HandMade } from "./http.ts";
import { LEADER_CHANGE_MS, Pool, RETIRE_MS, SERVER_LIFE_MS } from "./pool.ts";
import { nowMs, waitFor } from "./wait.ts";

const WORKERS = 50;

describe.concurrent("stop and start", { timeout: 120_000 }, () => {
  test("a stopped member gives its seats back at once", async (context) => {
    const pool = await Pool.start(context, { seats: 30, firstLeader: "a" });
    const clients = new Clients(context, pool);
    const user = await clients.take(["c"]);
    const stoppedMs = nowMs();
    expect(await pool.stop("c")).toBe(0);
    await waitFor("28 seats are free", async () => {
      return ((await featureOf(pool.url("a")))?.free ?? 0) >= 28;
    });
    expect(nowMs() - stoppedMs).toBeLessThan(RETIRE_MS);
    // The user of c gets a seat that nobody used; the one it left is free one life later.
    await waitFor("the user of c moved", () => user.moved.length === 1);
    for (let count = 0; count < 28; count += 1) await clients.take(["b"]);
    await clients.take(["b"], { waitMs: 60_000 });
    expect(nowMs() - stoppedMs).toBeLessThan(SERVER_LIFE_MS + LEADER_CHANGE_MS);
    await expect(clients.take(["a"])).rejects.toMatchObject({ code: "no-seats" });
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });

  test("SIGTERM to each server in turn (rolling restart) with 50 clients at work and every seat taken: no client hears `lost`", async (context) => {
    const pool = await Pool.start(context, { seats: WORKERS, firstLeader: "a" });
    const clients = await fiftyAtWork(context, pool);
    const held = [...clients.recorder.all];
    const sessions = sessionsOf(held).sort();
    for (const id of ["c", "b", "a"]) {
      expect(await pool.stop(id)).toBe(0);
      await pool.up(id);
      await waitFor(`the users of ${id} go on`, async () => {
        const row = await featureOf(pool.url("a"));
        return row?.inUse === WORKERS;
      });
    }
    await clients.renewedAgain(held);
    expect(clients.lost).toEqual([]);
    expect(sessionsOf(held).sort()).toEqual(sessions);
    clients.recorder.check();
  });

  test("SIGTERM to each server in turn with free seats: no checkout fails", async (context) => {
    // A seat that a program left behind at a stopped server is free one life later: until then it counts twice.
    const pool = await Pool.start(context, { seats: 4 * WORKERS, firstLeader: "a" });
    const clients = await fiftyAtWork(context, pool);
    const held = [...clients.recorder.all];
    const work = new AbortController();
    let checkouts = 0;
    const failed: unknown[] = [];
    const busy = ["a", "b", "c"].map(async (first) => {
      const order = [first, ...pool.members.filter((id) => id !== first)];
      while (!work.signal.aborted) {
        await clients.take(order).then(
          (heard) => clients.release(heard),
          (error: unknown) => failed.push(error),
        );
        checkouts += 1;
      }
    });
    for (const id of ["c", "b", "a"]) {
      expect(await pool.stop(id)).toBe(0);
      const before = checkouts;
      // Work goes on while it is down, and after it is back.
      await waitFor("checkouts while a server is down", () => checkouts > before + 10);
      await pool.up(id);
    }
    work.abort();
    await Promise.all(busy);
    expect(failed).toEqual([]);
    await clients.renewedAgain(held);
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });

  test("kill -9 of all three at once under load, start again: every authorization that was answered is still there; none is there twice", async (context) => {
    const pool = await Pool.start(context, { seats: 300, firstLeader: "a" });
    const clients = new Clients(context, pool);
    for (const id of pool.members) await clients.takeMany(5, [id]);
    const workers = [...clients.recorder.all];
    const answered = new Set(sessionsOf(workers));
    const released = new Set<string>();
    const load = new AbortController();
    const asking = pool.members.flatMap((id) =>
      [0, 1, 2].map(async () => {
        for (let turn = 0; !load.signal.aborted && answered.size < 250; turn += 1) {
          const client = await HandMade.create();
          const sentMs = nowMs();
          const reply = await client.checkout(pool.url(id));
          clients.recorder.answered(client, reply, sentMs);
          if (reply?.status !== 201) continue;
          if (turn % 4 !== 0) {
            answered.add(client.session);
            continue;
          }
          clients.recorder.end(client);
          if ((await client.release(pool.url(id)))?.status === 204) released.add(client.session);
        }
      }),
    );
    await waitFor("some load", () => answered.size > 60 && released.size > 5);
    const killedMs = nowMs();
    await pool.kill("a", "b", "c");
    load.abort();
    await Promise.all(asking);
    await Promise.all(pool.members.map((id) => pool.up(id)));
    const listed = await waitFor("a list with every member", async () => {
      const page = await authorizationsOf(pool.url("b"));
      const sessions = page.authorizations.map(({ session }) => session);
      const complete = page.missing.length === 0 && page.next === null;
      return complete && [...answered].every((each) => sessions.includes(each)) ? sessions : null;
    });
    expect(new Set(listed).size).toBe(listed.length);
    for (const session of released) expect(listed).not.toContain(session);
    const row = await featureOf(pool.url("b"));
    expect(row?.inUse).toBeLessThanOrEqual(300);
    // The programs that are still there never noticed.
    expect(nowMs() - killedMs).toBeGreaterThan(RETIRE_MS);
    await clients.renewedAgain(workers);
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });
});

/** Fifty programs at all three servers, each with its seat. */
async function fiftyAtWork(context: TestContext, pool: Pool): Promise<Clients> {
  const clients = new Clients(context, pool);
  await Promise.all(
    Array.from({ length: WORKERS }, (_, index) => {
      const first = pool.members[index % pool.members.length] ?? "a";
      return clients.take([first, ...pool.members.filter((id) => id !== first)]);
    }),
  );
  return clients;
}
