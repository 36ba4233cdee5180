/** Stores that are lost while members sleep, and pools that are rebuilt (design section 4.7). */
import { describe, expect, test } from "vitest";
import type { StoreRecord } from "./keys.ts";
import { licenseText, Pool } from "./pool-fixture.ts";

const REBUILT = { seats: 4, size: 2, allTo: "ada" } as const;

function lose({ backing: { data } }: Pool): void {
  data.revision = 0;
  data.deletedKeys = 0;
  data.changes.clear();
}

function storeRecord(pool: Pool): StoreRecord {
  const [found] = pool.backing.apply({ compare: [], puts: [], reads: ["store"] }).read;
  return JSON.parse(found?.value ?? "null") as StoreRecord;
}

async function rebuild(pool: Pool, id: string): Promise<void> {
  const answer = await pool.time.outcome(pool.member(id).rebuild());
  expect(answer).not.toHaveProperty("refused");
}

/** Sets the store back to what it holds now, but for its revision. */
function backupOf({ backing: { data } }: Pool): () => void {
  const kept = new Map(data.changes);
  return () => {
    data.changes.clear();
    for (const [key, change] of kept) data.changes.set(key, change);
  };
}

describe("a store that is lost and rebuilt while a server sleeps", () => {
  test("is noticed by its id, though it has grown past all that the server saw", async () => {
    const pool = await Pool.of(["ada", "bob"], REBUILT);
    pool.cutOff("bob");
    lose(pool);
    await pool.time.until("ada misses its store", () => pool.member("ada").readiness() !== null);
    await rebuild(pool, "ada");
    for (let more = 0; more < 200; more += 1) {
      pool.backing.apply({ compare: [], puts: [{ key: "other", value: "1" }], reads: [] });
    }
    pool.cutOff("bob", false);
    await pool.ready(["ada", "bob"]);
  });

  test("and whose key has the revision of the old one is another one all the same", async () => {
    const pool = await Pool.of(["ada", "bob"], REBUILT);
    const { id } = storeRecord(pool);
    const { data } = pool.backing;
    const known = data.changes.get("store");
    if (known === undefined) throw new Error("the store has an id");
    const value = JSON.stringify({ ...storeRecord(pool), id: "another" });
    data.changes.set("store", { ...known, value });
    await pool.time.pass(2_000);
    expect(storeRecord(pool).id).not.toBe(id);
    for (const each of ["ada", "bob"]) {
      expect(pool.member(each).readiness()?.detail).toContain("another one");
    }
  });
});

describe("a store that was restored, and in which another server works on", () => {
  test.each(["goes on", "is started again"])(
    "is noticed when it is past all that this server saw, which %s",
    async (how) => {
      const pool = await Pool.of(["ada", "bob"], REBUILT);
      const { data } = pool.backing;
      const setBack = backupOf(pool);
      await pool.time.pass(5_000);
      const { revision } = data;
      if (how === "goes on") pool.cutOff("bob");
      else pool.kill("bob");
      pool.kill("ada");
      setBack();
      for (let more = 0; more < 50; more += 1) {
        pool.backing.apply({ compare: [], puts: [{ key: "other", value: "1" }], reads: [] });
      }
      expect(data.revision).toBeGreaterThan(revision);
      if (how === "goes on") pool.cutOff("bob", false);
      else pool.start("bob");
      await pool.time.pass(20_000);
      expect(pool.member("bob").readiness()?.detail).toContain("went backwards");
      await rebuild(pool, "bob");
      pool.start("ada");
      await pool.ready(["ada", "bob"]);
    },
  );
});

test("a server that was cut off when its store was lost says what is wrong with the store", async () => {
  const pool = await Pool.of(["ada", "bob"], REBUILT);
  pool.cutOff("bob");
  await pool.time.pass(10_000);
  const { member } = pool.process("bob");
  expect(member.pool().alarms).toHaveLength(1);
  lose(pool);
  pool.cutOff("bob", false);
  await pool.time.pass(5_000);
  expect(member.readiness()?.detail).toContain("quorate pool rebuild");
  expect(member.pool().alarms).toEqual([expect.stringContaining("quorate pool rebuild")]);
});

describe("a rebuilt pool", () => {
  test("counts all seats as out that ever were, and what is above the license as debt", async () => {
    const pool = await Pool.of(["ada", "bob"], REBUILT);
    await pool.time.outcome(
      pool.member("ada").installLicense(licenseText({ sequence: 2, seats: 1, size: 2 })),
    );
    await pool.time.pass(2_000);
    lose(pool);
    await pool.time.until("ada misses its store", () => pool.member("ada").readiness() !== null);
    await rebuild(pool, "ada");
    const record = pool.record();
    expect(record).toMatchObject({ seats: 1, free: 0, debt: 3, allocated: {} });
    expect(Object.values(record.retired).map(({ seats }) => seats)).toEqual([4]);
  });

  test("takes the newest license of the store, also at a server that has not heard of it", async () => {
    const pool = await Pool.of(["ada", "bob"], REBUILT);
    const text = licenseText({ sequence: 2, seats: 9, size: 2 });
    const bob = pool.process("bob");
    bob.store.watchMs = null;
    await pool.time.outcome(pool.member("ada").installLicense(text));
    await rebuild(pool, "bob");
    expect(pool.record()).toMatchObject({ sequence: 2, seats: 9 });
  });

  test("keeps the seats of a newer license that only the server of the rebuild before knows", async () => {
    const pool = await Pool.of(["ada", "bob"], REBUILT);
    pool.cutOff("bob");
    await pool.time.pass(10_000);
    const text = licenseText({ sequence: 2, seats: 9, size: 2 });
    await pool.time.outcome(pool.member("bob").installLicense(text));
    lose(pool);
    pool.cutOff("bob", false);
    await pool.time.until("ada misses its store", () => pool.member("ada").readiness() !== null);
    await rebuild(pool, "bob");
    expect(pool.record()).toMatchObject({ sequence: 2, seats: 9 });
    await rebuild(pool, "ada");
    expect(pool.record()).toMatchObject({ sequence: 2, seats: 9 });
    await pool.ready(["ada", "bob"]);
    await pool.time.pass(5_000);
    expect(pool.member("ada").license()).toMatchObject({ sequence: 2 });
  });

  test("retires every server that the store knows, also when the first write arrives late", async () => {
    const pool = await Pool.of(["ada", "bob"], REBUILT);
    const { data } = pool.backing;
    const setBack = backupOf(pool);
    const { revision } = data;
    await pool.time.pass(5_000);
    setBack();
    data.revision = revision;
    await pool.time.until("ada misses its store", () => pool.member("ada").readiness() !== null);
    const before = pool.memberRecord("bob").epoch;
    const { store } = pool.process("ada");
    store.fate = ({ puts }) => {
      if (puts.length === 0) return { kind: "answered" };
      store.fate = () => ({ kind: "answered" });
      return { kind: "late", ms: 4_000 };
    };
    await rebuild(pool, "ada");
    expect(pool.memberRecord("bob").epoch).toBeGreaterThan(before);
    await pool.ready(["ada", "bob"]);
  });

  test("leaves a session the life that its client was promised last, also after a start", async () => {
    const pool = await Pool.of(["ada", "bob"], { seats: 4, size: 2, lifeMs: 30_000 });
    const client = pool.client("client");
    await client.checkout("bob");
    const longer = licenseText({ sequence: 2, seats: 4, size: 2, lifeMs: 60_000 });
    await pool.time.outcome(pool.member("ada").installLicense(longer));
    await pool.time.pass(3_000);
    // Only memory knows of the longer life: heartbeats are not journaled.
    expect(await client.heartbeat("bob")).toMatchObject({ lifeMs: 60_000 });
    await rebuild(pool, "ada");
    await pool.time.pass(1_000);
    pool.kill("bob");
    pool.start("bob");
    await pool.time.pass(45_000);
    expect(pool.member("bob").holds(client.session)).toBe(true);
    await pool.time.pass(40_000);
    expect(pool.member("bob").holds(client.session)).toBe(false);
  });

  test("does not wait longer each time", async () => {
    const pool = await Pool.of(["ada", "bob"], REBUILT);
    const waits: number[] = [];
    for (let time = 0; time < 3; time += 1) {
      await rebuild(pool, "ada");
      waits.push(...Object.values(pool.record().retired).map(({ lifeMs }) => lifeMs));
      await pool.ready(["ada", "bob"]);
    }
    expect(new Set(waits).size).toBe(1);
  });

  test("is followed by a server that has seen more rebuilds than the one it was asked of", async () => {
    const pool = await Pool.of(["ada", "bob"], REBUILT);
    pool.kill("ada");
    await rebuild(pool, "bob");
    await pool.time.pass(20_000);
    lose(pool);
    await pool.time.until("bob misses its store", () =>
      (pool.member("bob").readiness()?.detail ?? "").includes("empty"),
    );
    // It was away when the pool was rebuilt, so it knows of no rebuild.
    const ada = pool.start("ada");
    await pool.time.until("ada misses its store", () =>
      (ada.member.readiness()?.detail ?? "").includes("empty"),
    );
    await rebuild(pool, "ada");
    await pool.ready(["ada", "bob"]);
  });
});
