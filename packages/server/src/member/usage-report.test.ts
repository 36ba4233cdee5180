import { describe, expect, test } from "vitest";
import { Pool } from "./pool-fixture.ts";

const ALL = ["ada", "bob", "cyd"] as const;
const HOUR_MS = 3_600_000;

describe("a report of usage", () => {
  test("is the same at every member and adds up what all of them granted", async () => {
    const pool = await Pool.of(ALL, { seats: 6, lifeMs: 24 * HOUR_MS });
    const clients = ALL.map((id) => pool.client(`user of ${id}`));
    for (const [index, client] of clients.entries()) await client.checkout(ALL[index] ?? "ada");
    expect(await pool.client("glutton").checkout("bob", { seats: 7 })).toHaveProperty("refused");
    await pool.time.pass(HOUR_MS);
    for (const [index, client] of clients.entries()) await client.release(ALL[index] ?? "ada");
    const answers = await Promise.all(
      ALL.map((id) => pool.time.outcome(pool.member(id).usage({ by: "feature" }))),
    );
    for (const answer of answers) {
      expect(answer).toMatchObject({
        by: "feature",
        missing: [],
        keys: 1,
        rows: [{ key: "cad", uses: 3, peakSeats: 3, denied: 1 }],
      });
    }
    const byUser = await pool.time.outcome(pool.member("cyd").usage({ by: "user", limit: 2 }));
    expect(byUser).toMatchObject({ keys: 4, total: { uses: 3, peakSeats: 3, denied: 1 } });
    if ("refused" in byUser) throw new Error("it was answered");
    expect(byUser.rows).toHaveLength(2);
    expect(byUser.rows[0]?.seatHours).toBeCloseTo(1, 1);
  });

  test("counts a session that survived its server once, and says whose history is missing", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const client = pool.client("s1");
    await client.checkout("cyd");
    pool.kill("cyd");
    await pool.time.pass(7_500);
    await client.convert("ada");
    await pool.time.pass(1_000);
    expect(await pool.time.outcome(pool.member("ada").usage({}))).toMatchObject({
      missing: ["cyd"],
      total: { uses: 1, peakSeats: 1 },
    });
    pool.start("cyd");
    await pool.ready(ALL);
    await client.heartbeat("ada");
    expect(await pool.time.outcome(pool.member("bob").usage({}))).toMatchObject({
      missing: [],
      total: { uses: 1, peakSeats: 1 },
    });
  });

  test("is refused for a time that is none, and one at a time", async () => {
    const pool = await Pool.of(["ada"], { seats: 3, size: 1 });
    const ada = pool.member("ada");
    for (const query of [
      { from: "yesterday" },
      { to: "2026-02-30T00:00:00Z" },
      { from: "2999-01-01T00:00:00Z" },
      { from: "1970-01-02T00:00:00Z", to: "1970-01-01T00:00:00Z" },
    ]) {
      expect(await ada.usage(query)).toMatchObject({ refused: "bad-request" });
    }
    const both = await pool.time.outcome(Promise.all([ada.usage({}), ada.usage({})]));
    expect(both).toMatchObject([{ missing: [] }, { refused: "busy" }]);
  });
});

describe("use over time", () => {
  test("is the same at every member: peak, average and denials of each step", async () => {
    const pool = await Pool.of(ALL, { seats: 6, lifeMs: 24 * HOUR_MS });
    const from = new Date(pool.time.runtime("test").clocks().wallMs).toISOString();
    const [ada, bob] = [pool.client("s1"), pool.client("s2")];
    await ada.checkout("ada");
    await pool.time.pass(HOUR_MS);
    await bob.checkout("bob", { seats: 2 });
    expect(await pool.client("s3").checkout("cyd", { seats: 7 })).toHaveProperty("refused");
    await pool.time.pass(HOUR_MS / 2);
    await ada.release("ada");
    await pool.time.pass(HOUR_MS);
    for (const id of ALL) {
      const answer = await pool.time.outcome(
        pool.member(id).usageSeries({ from, stepMs: HOUR_MS, feature: "cad" }),
      );
      if ("refused" in answer) throw new Error(answer.detail);
      expect(answer).toMatchObject({ from, stepMs: HOUR_MS, feature: "cad", missing: [] });
      expect(answer.steps.map((step) => step.peakSeats)).toEqual([1, 3, 2]);
      expect(answer.steps.map((step) => step.denied)).toEqual([0, 1, 0]);
      expect(answer.steps[1]?.averageSeats).toBeCloseTo(2.5, 1);
    }
    const other = { from, stepMs: HOUR_MS, feature: "sim" };
    const none = await pool.time.outcome(pool.member("ada").usageSeries(other));
    expect(none).toMatchObject({ steps: [{ peakSeats: 0 }, { peakSeats: 0 }, { peakSeats: 0 }] });
  });

  test("of too many steps is refused with what to ask instead", async () => {
    const pool = await Pool.of(["ada"], { seats: 3, size: 1 });
    const query = { from: "1970-01-01T00:00:00Z", stepMs: 1_000 };
    expect(await pool.member("ada").usageSeries(query)).toMatchObject({
      refused: "bad-request",
      detail: expect.stringMatching(/1000 at most: ask for a shorter time or a longer stepMs/),
    });
  });

  test("is answered once for many who ask the same, and refused to too many others", async () => {
    const pool = await Pool.of(["ada"], { seats: 3, size: 1 });
    const ada = pool.member("ada");
    const same = await pool.time.outcome(
      Promise.all(Array.from({ length: 30 }, () => ada.usageSeries({}))),
    );
    expect(new Set(same).size).toBe(1);
    const others = await pool.time.outcome(
      Promise.all(
        Array.from({ length: 12 }, (_, index) => ada.usageSeries({ stepMs: 60_000 * (index + 2) })),
      ),
    );
    expect(others.filter((each) => "refused" in each)).toHaveLength(4);
  });
});

describe("refused requests", () => {
  test("are listed pool-wide, the newest first, with who, where and why", async () => {
    const pool = await Pool.of(ALL, { seats: 2 });
    for (const id of ALL) {
      await pool.client(`user of ${id}`).checkout(id, { seats: 5 });
      await pool.time.pass(1_000);
    }
    await pool.client("s1").checkout("ada");
    const answer = await pool.time.outcome(pool.member("bob").denials({}));
    expect(answer).toMatchObject({
      missing: [],
      denials: ["cyd", "bob", "ada"].map((member) => ({
        member,
        feature: "cad",
        seats: 5,
        code: "no-seats",
      })),
    });
    if ("refused" in answer) throw new Error(answer.detail);
    const before = await pool.time.outcome(
      pool.member("cyd").denials({ to: answer.denials[1]?.at ?? "", limit: 1 }),
    );
    expect(before).toMatchObject({ denials: [{ member: "ada" }] });
    pool.kill("cyd");
    await pool.time.pass(8_000);
    expect(await pool.time.outcome(pool.member("ada").denials({ limit: 1 }))).toMatchObject({
      missing: ["cyd"],
      denials: [{ member: "bob" }],
    });
  });
});
