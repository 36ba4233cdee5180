/** Any server grants, from its own allocation; what runs out comes from the others through the leader. */
import { describe, expect, test } from "vitest";
import { Clients, sessionsOf } from "./clients.ts";
import { authorizationsOf, call, featureOf, HandMade, rowOf } from "./http.ts";
import { Pool } from "./pool.ts";
import { nowMs, waitFor } from "./wait.ts";

const LISTED_WITHIN_MS = 2_000;

describe.concurrent("granting", { timeout: 90_000 }, () => {
  test("a client asks any of three servers and gets an authorization; each server grants from its own allocation; the sum never passes the seats", async (context) => {
    const pool = await Pool.start(context, { seats: 30 });
    const clients = new Clients(context, pool);
    for (const id of pool.members) {
      const heard = await clients.takeMany(5, [id]);
      for (const { authorization } of heard) {
        expect(authorization.member).toBe(id);
        expect(await authorization.verify()).toMatchObject({ valid: true, chain: "vendor" });
      }
    }
    const row = await waitFor("the leader's count of all grants", async () => {
      const seen = await featureOf(pool.url("a"));
      return seen?.inUse === 15 ? seen : null;
    });
    for (const id of pool.members) {
      expect(row.members[id]).toMatchObject({ inUse: 5 });
      expect(row.members[id]?.seats).toBeGreaterThanOrEqual(5);
    }
    const allocated = Object.values(row.members).reduce((sum, { seats }) => sum + seats, 0);
    expect(allocated).toBeLessThanOrEqual(30);
    // Everybody asks for more than there is, everywhere at once.
    const more = await Promise.allSettled(
      Array.from({ length: 30 }, (_, index) => clients.take([pool.members[index % 3] ?? "a"])),
    );
    expect(more.filter(({ status }) => status === "fulfilled")).toHaveLength(15);
    const { authorizations } = await authorizationsOf(pool.url("b"));
    expect(authorizations.length).toBeLessThanOrEqual(30);
    clients.recorder.check();
  });

  test("the leader's record shows every server's allocation, and its pool-wide list shows every authorization of every server within 2 s of its grant", async (context) => {
    const pool = await Pool.start(context, { seats: 30, firstLeader: "a" });
    const clients = new Clients(context, pool);
    const row = await featureOf(pool.url("a"));
    expect(Object.keys(row?.members ?? {}).sort()).toEqual(["a", "b", "c"]);
    for (const { seats } of Object.values(row?.members ?? {})) expect(seats).toBeGreaterThan(0);
    for (const id of ["c", "b", "a", "c", "b", "a"]) {
      const { authorization } = await clients.take([id]);
      await waitFor(
        `the grant of ${id} in the leader's list`,
        async () => (await rowOf(pool.url("a"), authorization.session))?.member === id,
        LISTED_WITHIN_MS,
      );
    }
    // Any server answers for the whole pool.
    for (const id of pool.members) {
      const page = await authorizationsOf(pool.url(id));
      expect(page.missing).toEqual([]);
      expect(page.authorizations.map(({ session }) => session).sort()).toEqual(
        sessionsOf(clients.recorder.all).sort(),
      );
    }
    clients.recorder.check();
  });

  test("a server that has run out gets seats from the others through the leader while any seat of the pool is free: 3 servers, 30 seats, all 30 granted through one server", async (context) => {
    const pool = await Pool.start(context, { seats: 30, firstLeader: "a" });
    const clients = new Clients(context, pool);
    // Not the leader: every seat beyond its own takes the way over it.
    for (let taken = 0; taken < 30; taken += 1) {
      const { authorization } = await clients.take(["c"]);
      expect(authorization.member).toBe("c");
    }
    for (const id of pool.members) {
      await expect(clients.take([id])).rejects.toMatchObject({ code: "no-seats" });
    }
    // Reports are a second old at most.
    await waitFor("the leader's count of all 30", async () => {
      const row = await featureOf(pool.url("a"));
      return row?.inUse === 30 && row.free === 0;
    });
    clients.recorder.check();
  });

  test("a seat released at one server is granted by another at once", async (context) => {
    const pool = await Pool.start(context, { seats: 3 });
    const clients = new Clients(context, pool);
    const held = [await clients.take(["a"]), await clients.take(["b"]), await clients.take(["c"])];
    for (const [index, id] of ["b", "c", "a"].entries()) {
      await clients.release(...held.slice(index, index + 1));
      const startMs = nowMs();
      await clients.take([id]);
      expect(nowMs() - startMs).toBeLessThan(LISTED_WITHIN_MS);
    }
    clients.recorder.check();
  });

  test("a stranger who lists all sessions can neither release, renew nor reuse any of them", async (context) => {
    const pool = await Pool.start(context, { seats: 6 });
    const clients = new Clients(context, pool);
    const held = [
      ...(await clients.takeMany(2, ["a"])),
      ...(await clients.takeMany(2, ["b"])),
      ...(await clients.takeMany(2, ["c"])),
    ];
    const { authorizations } = await waitFor("the list of all", async () => {
      const page = await authorizationsOf(pool.url("a"));
      return page.authorizations.length === held.length ? page : null;
    });
    expect(JSON.stringify(authorizations)).not.toMatch(/secret|token/i);
    const stranger = await HandMade.create();
    for (const { session } of authorizations) {
      for (const url of pool.urls()) {
        const one = `${url}/v1/authorizations/${session}`;
        for (const headers of [{}, stranger.headers, { "quorate-session": session }]) {
          const holder = { user: "x", host: "x" };
          const body = { session, feature: "cad", holder };
          const tries = [
            await call("DELETE", one, { headers }),
            await call("DELETE", `${one}?only=a`, { headers }),
            await call("POST", `${one}/heartbeat`, { headers, body: {} }),
            await call("POST", `${one}/heartbeat`, { headers, body: { feature: "cad", holder } }),
            await call("POST", `${url}/v1/authorizations`, { headers, body }),
          ];
          for (const reply of tries) {
            expect(reply?.status).toBeGreaterThanOrEqual(400);
            expect(["not-your-session", "unauthorized"]).toContain(reply?.code);
          }
        }
      }
    }
    await clients.renewedAgain(held);
    const after = await authorizationsOf(pool.url("a"));
    expect(after.authorizations.map(({ session }) => session).sort()).toEqual(
      sessionsOf(held).sort(),
    );
    expect(clients.lost).toEqual([]);
    clients.recorder.check();
  });
});
