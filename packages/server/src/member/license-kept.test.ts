/** A license that is brought to a server that can't reach the store. */
import { expect, test } from "vitest";
import { licenseText, Pool } from "./pool-fixture.ts";

const ALL = ["ada", "bob", "cyd"] as const;
const R_MS = 5_300;

async function bring(pool: Pool, id: string, sequence: number, seats: number): Promise<object> {
  const text = licenseText({ sequence, seats });
  return pool.time.outcome(pool.member(id).installLicense(text));
}

function sequences(pool: Pool): (number | null)[] {
  return ALL.map((id) => {
    const answer = pool.member(id).license();
    return "refused" in answer ? null : answer.sequence;
  });
}

test("is kept, and comes into force everywhere once the store answers", async () => {
  const pool = await Pool.of(ALL, { seats: 6 });
  pool.cutOff("bob");
  expect(await bring(pool, "bob", 2, 9)).toMatchObject({
    sequence: 2,
    kept: expect.stringContaining("not in force yet") as string,
  });
  await pool.time.pass(R_MS);
  expect(sequences(pool)).toEqual([1, 1, 1]);
  pool.cutOff("bob", false);
  await pool.time.until("all follow", () => sequences(pool).every((each) => each === 2), 20_000);
  // A license takes effect R after it was written.
  await pool.time.pass(R_MS + 1_000);
  expect(pool.record()).toMatchObject({ sequence: 2, seats: 9 });
});

test("is brought by the next process, if this one dies before", async () => {
  const pool = await Pool.of(ALL, { seats: 6 });
  pool.cutOff("bob");
  await bring(pool, "bob", 2, 9);
  pool.kill("bob");
  pool.start("bob");
  await pool.time.until("all follow", () => sequences(pool).every((each) => each === 2), 20_000);
});

test("gives way to a newer one that the pool got meanwhile", async () => {
  const pool = await Pool.of(ALL, { seats: 6 });
  pool.cutOff("bob");
  await bring(pool, "bob", 2, 9);
  expect(await bring(pool, "ada", 3, 12)).toEqual(
    expect.not.objectContaining({ kept: expect.anything() as unknown }),
  );
  pool.cutOff("bob", false);
  await pool.time.until("all follow", () => sequences(pool).every((each) => each === 3), 20_000);
  await pool.time.pass(R_MS);
  expect(pool.record()).toMatchObject({ sequence: 3, seats: 12 });
  expect(pool.member("bob").pool().alarms).toEqual([]);
});

test("that contradicts the one that the pool got meanwhile is told in an alarm", async () => {
  const pool = await Pool.of(ALL, { seats: 6 });
  pool.cutOff("bob");
  await bring(pool, "bob", 2, 9);
  await bring(pool, "ada", 2, 12);
  pool.cutOff("bob", false);
  await pool.time.until("all follow", () => sequences(pool).every((each) => each === 2), 20_000);
  await pool.time.pass(R_MS);
  expect(pool.record()).toMatchObject({ sequence: 2, seats: 12 });
  expect(pool.member("bob").pool().alarms).toEqual([expect.stringContaining("other content")]);
});

test("is refused there and then when it is older, or older than what is kept", async () => {
  const pool = await Pool.of(ALL, { seats: 6 });
  pool.cutOff("bob");
  expect(await bring(pool, "bob", 1, 9)).toMatchObject({ refused: "license-conflict" });
  await bring(pool, "bob", 3, 9);
  expect(await bring(pool, "bob", 2, 9)).toMatchObject({ refused: "license-older" });
});
