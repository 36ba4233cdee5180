import { expect, test } from "vitest";
import { licenseText, Pool } from "./pool-fixture.ts";

const ALL = ["ada", "bob", "cyd"] as const;

test("every server knows which licenses were installed, when, where and by whom", async () => {
  const pool = await Pool.of(ALL, { seats: 6 });
  const by = { name: "lea", from: "10.0.0.7" };
  const newer = licenseText({ sequence: 3, seats: 9 });
  await pool.time.outcome(pool.member("bob").installLicense(newer, by));
  // One that is refused is no part of the history.
  await pool.time.outcome(
    pool.member("bob").installLicense(licenseText({ sequence: 2, seats: 8 }), by),
  );
  await pool.time.pass(1_500);
  for (const id of ALL) {
    const { history } = pool.member(id).licenseHistory();
    expect(history).toMatchObject([
      {
        sequence: 3,
        seats: 9,
        features: 1,
        customer: "Customer",
        member: "bob",
        by: "lea",
        from: by.from,
      },
      { sequence: 1, seats: 6, by: null, from: null },
    ]);
    expect(Date.parse(history[0]?.installedAt ?? "")).toBeGreaterThan(
      Date.parse(history[1]?.installedAt ?? ""),
    );
  }
});

test("the last twenty are kept", async () => {
  const pool = await Pool.of(["ada"], { seats: 6, size: 1 });
  for (let sequence = 2; sequence <= 23; sequence += 1) {
    const text = licenseText({ sequence, seats: 6, size: 1 });
    await pool.time.outcome(pool.member("ada").installLicense(text));
  }
  const { history } = pool.member("ada").licenseHistory();
  expect([history.length, history[0]?.sequence, history.at(-1)?.sequence]).toEqual([20, 23, 4]);
});
