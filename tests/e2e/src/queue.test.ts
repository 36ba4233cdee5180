/** Waiting for a seat, taking one away, and answers that get lost on the way. */
import { describe, expect, test } from "vitest";
import { Clients } from "./clients.ts";
import { authorizationsOf, featureOf, HandMade } from "./http.ts";
import { Pool, SERVER_LIFE_MS } from "./pool.ts";
import { Proxy } from "./proxy.ts";
import { nowMs, waitFor } from "./wait.ts";

describe.concurrent("queue, revocation and lost answers", { timeout: 90_000 }, () => {
  test("who waits is served in the order of arrival across servers; a released seat goes to the first who waits", async (context) => {
    const pool = await Pool.start(context, { seats: 6, firstLeader: "a" });
    const clients = new Clients(context, pool);
    for (const id of pool.members) await clients.takeMany(2, [id]);
    const held = [...clients.recorder.all];
    const served: number[] = [];
    const waiting: Promise<unknown>[] = [];
    for (const [place, id] of ["c", "b", "a", "c", "b", "a"].entries()) {
      const granted = clients.take([id], { waitMs: 60_000 });
      waiting.push(granted.then(() => served.push(place)));
      await waitFor(`place ${place} is in the queue`, async () => {
        return (await featureOf(pool.url("a")))?.queued === place + 1;
      });
    }
    for (const [index, each] of held.entries()) {
      // Nobody overtakes, not even at the server where the seat comes free.
      await expect(clients.take(["b"])).rejects.toMatchObject({ code: "no-seats" });
      await clients.release(each);
      await waitFor(`release ${index} is granted`, () => served.length === index + 1);
      expect(served).toEqual([0, 1, 2, 3, 4, 5].slice(0, index + 1));
    }
    await Promise.all(waiting);
    clients.recorder.check();
  });

  test("revoked by an administrator: refused with `revoked` from the next heartbeat on, the seat is free one life later", async (context) => {
    const pool = await Pool.start(context, { seats: 3, firstLeader: "a" });
    const clients = new Clients(context, pool);
    const heard = await clients.take(["c"]);
    await clients.takeMany(2, ["b"]);
    const { session } = heard.authorization;
    // At another server than its own.
    const reply = await pool.admin("DELETE", "b", `/v1/authorizations/${session}`);
    expect(reply?.status).toBe(204);
    const revokedMs = nowMs();
    await waitFor("the program hears of it", () => heard.revoked.length > 0);
    expect(nowMs() - revokedMs).toBeLessThan(5_500);
    // Its program may have been asleep: the seat is not free yet.
    for (const id of pool.members) {
      await expect(clients.take([id])).rejects.toMatchObject({ code: "no-seats" });
    }
    await clients.take(["a"], { waitMs: 60_000 });
    expect(nowMs() - revokedMs).toBeLessThan(SERVER_LIFE_MS + 1_500);
    clients.recorder.check();
  });

  test("a heartbeat for a session that the new leader already granted renews it and takes no second seat", async (context) => {
    const pool = await Pool.start(context, { seats: 30, firstLeader: "a" });
    const clients = new Clients(context, pool);
    const user = await HandMade.create();
    const say = async (url: string): Promise<number | undefined> => {
      const sentMs = nowMs();
      const reply = await user.heartbeat(url);
      clients.recorder.answered(user, reply, sentMs);
      return reply?.status;
    };
    const sentMs = nowMs();
    clients.recorder.answered(user, await user.checkout(pool.url("a")), sentMs);
    const oldToken = user.token;
    await pool.kill("a");
    const leader = await pool.leader("b", "a");
    expect(await say(pool.url(leader))).toBe(201);
    for (let count = 0; count < 3; count += 1) {
      // The client did not hear the answers: it still shows the token of the dead server.
      user.token = oldToken;
      expect(await say(pool.url(leader))).toBe(200);
    }
    await waitFor("one seat in use", async () => {
      return (await featureOf(pool.url(leader)))?.inUse === 1;
    });
    const { authorizations } = await authorizationsOf(pool.url(leader));
    expect(authorizations.map(({ session }) => session)).toEqual([user.session]);
    clients.recorder.check();
  });

  test("a checkout repeated after a lost answer, at the same server, ends with one seat held", async (context) => {
    const pool = await Pool.start(context, { seats: 30 });
    const clients = new Clients(context, pool);
    const proxy = await Proxy.before(context, pool.url("b"));
    proxy.dropAnswers = true;
    const client = clients.atUrls("proxied", proxy.url);
    const asked = client.checkout({ feature: "cad" });
    await waitFor("an answer was dropped", () => proxy.dropped > 0);
    proxy.dropAnswers = false;
    const heard = clients.recorder.watch(await asked);
    expect(heard.authorization.member).toBe("b");
    await holdsOne(pool, heard.authorization.session);
    clients.recorder.check();
  });

  test("a checkout repeated after a lost answer, at another server, ends with one seat held", async (context) => {
    const pool = await Pool.start(context, { seats: 30 });
    const clients = new Clients(context, pool);
    const proxy = await Proxy.before(context, pool.url("b"));
    proxy.dropAnswers = true;
    const client = clients.atUrls("proxied", proxy.url, pool.url("c"));
    const asked = client.checkout({ feature: "cad" });
    await waitFor("an answer was dropped", () => proxy.dropped > 0);
    // From here on the client can tell b that its grant is not wanted.
    proxy.dropAnswers = false;
    const heard = clients.recorder.watch(await asked);
    expect(heard.authorization.member).toBe("c");
    await holdsOne(pool, heard.authorization.session);
    await clients.renewedAgain([heard]);
    await holdsOne(pool, heard.authorization.session);
    clients.recorder.check();
  });
});

async function holdsOne(pool: Pool, session: string): Promise<void> {
  await waitFor("one seat held, once", async () => {
    const page = await authorizationsOf(pool.url("a"));
    const row = await featureOf(pool.url("a"));
    const sessions = page.authorizations.map((each) => each.session);
    return String(sessions) === session && row?.inUse === 1 && page.missing.length === 0;
  });
}
