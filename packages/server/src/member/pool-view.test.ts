import { expect, test } from "vitest";
import { Pool } from "./pool-fixture.ts";

const ALL = ["ada", "bob", "cyd"] as const;

test("a server tells of its own sessions when it last heard of them, and of no others", async () => {
  const pool = await Pool.of(ALL, { seats: 6, lifeMs: 60_000 });
  const clients = ALL.map((id) => pool.client(`user of ${id}`));
  for (const [index, client] of clients.entries()) await client.checkout(ALL[index] ?? "ada");
  await pool.time.pass(10_000);
  await clients[1]?.heartbeat("bob");
  await pool.time.pass(4_000);
  const nowMs = pool.time.runtime("test").clocks().wallMs;
  const ago = (at: string | undefined): number | null =>
    at === undefined ? null : nowMs - Date.parse(at);
  const { authorizations } = await pool.time.outcome(
    pool.member("bob").authorizations({ member: "bob" }),
  );
  expect(authorizations).toHaveLength(1);
  expect(ago(authorizations[0]?.renewedAt)).toBe(4_000);
  // Ada leads: of the others it knows what they reported.
  const all = await pool.time.outcome(pool.member("cyd").authorizations({ sort: "member" }));
  expect(all).toMatchObject({ found: 3, total: 3, missing: [] });
  expect(all.authorizations.map((row) => [row.member, ago(row.renewedAt)])).toEqual([
    ["ada", expect.any(Number)],
    ["bob", null],
    ["cyd", null],
  ]);
  const ofCyd = await pool.time.outcome(pool.member("ada").authorizations({ member: "cyd" }));
  expect(ofCyd.authorizations.map((row) => row.member)).toEqual(["cyd"]);
});

test("the pool says how old each lease is, as the answering server saw it", async () => {
  const pool = await Pool.of(ALL, { seats: 6 });
  const { leaseMs, members } = pool.member("bob").pool();
  expect(leaseMs).toBe(5_000);
  for (const { leaseAgeMs } of members) expect(leaseAgeMs).toBeLessThanOrEqual(2_000);
  pool.kill("cyd");
  await pool.time.pass(4_000);
  const ages = pool
    .member("bob")
    .pool()
    .members.map((each) => each.leaseAgeMs ?? 0);
  expect(ages[1]).toBeLessThanOrEqual(1_200);
  expect(ages[2]).toBeGreaterThanOrEqual(3_000);
});
