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
