/** Messages that meet each other in the middle of a grant, a conversion or a hand-over. */
import { refuse } from "@quorate/core";
import type { Answer } from "@quorate/protocol";
import { describe, expect, test } from "vitest";
import { MemoryJournal } from "../journal/memory-journal.ts";
import type { Transaction } from "../store/store.ts";
import { licenseText, Pool, type Process } from "./pool-fixture.ts";

const ALL = ["ada", "bob", "cyd"] as const;
const RETIRED_MS = 7_500;
const LIFE_MS = 60_850;

/** From now on nothing that this process appends is synced until the returned function is called. */
function holdSyncs({ journal }: Process): () => void {
  const held: (() => void)[] = [];
  const append = journal.append.bind(journal);
  journal.append = (entries) =>
    new Promise((resolve, reject) => {
      held.push(() => void append(entries).then(resolve, reject));
    });
  return () => {
    journal.append = append;
    for (const each of held) each();
  };
}

function writesRecord({ puts }: Transaction): boolean {
  return puts.some(({ key }) => key === "allocation/cad");
}

describe("while a grant is synced", () => {
  test("nobody is told of it, and its seat counts already", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    const sync = holdSyncs(pool.process("bob"));
    let answer: Answer | null = null;
    void pool
      .client("s1")
      .ask("bob")
      .then((given) => (answer = given));
    await pool.time.pass(200);
    expect(answer).toBeNull();
    expect(await pool.client("s2").checkout("bob")).toMatchObject({ refused: "no-seats" });
    sync();
    await pool.time.settle();
    expect(answer).toMatchObject({ member: "bob", created: true });
  });

  test("a mandate that ends meanwhile ends it: what was not told is released again", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    const bob = pool.process("bob");
    const sync = holdSyncs(bob);
    const asked = pool.client("s1").ask("bob");
    pool.cutOff("bob");
    await pool.time.until("bob has no mandate", () => bob.member.readiness() !== null);
    sync();
    const answer = await pool.time.outcome(asked);
    expect(answer).toMatchObject({ refused: expect.stringMatching(/^no-m/) as string });
    expect(bob.member.pool().members[1]?.sessions).toBe(0);
  });

  test("a release ends it, and a revocation is not forgotten", async () => {
    const pool = await Pool.of(ALL, { seats: 2, allTo: "bob" });
    const sync = holdSyncs(pool.process("bob"));
    const [released, revoked] = [pool.client("s1"), pool.client("s2")];
    const answers = [released.ask("bob"), revoked.ask("bob")];
    const ends = [
      pool.member("bob").release({
        session: "s1",
        secret: "secret of s1",
        n: 2,
        administrator: false,
      }),
      pool.member("bob").release({ session: "s2", administrator: true, reason: "x" }),
    ];
    sync();
    const [first, second] = await pool.time.outcome(Promise.all(answers));
    await pool.time.outcome(Promise.all(ends));
    expect(first).toMatchObject({ refused: "released" });
    expect(second).toMatchObject({ refused: "revoked" });
    expect(await revoked.heartbeat("bob")).toMatchObject({ refused: "revoked" });
    expect(await pool.client("s3").checkout("bob")).toMatchObject({ member: "bob" });
    expect(await pool.client("s4").checkout("bob")).toMatchObject({ refused: "no-seats" });
  });

  test("kill -9 loses no seat that was answered", async () => {
    const pool = await Pool.of(ALL, { seats: 2, allTo: "bob" });
    await pool.client("told").checkout("bob");
    holdSyncs(pool.process("bob"));
    void pool.client("not told").ask("bob");
    pool.kill("bob");
    pool.start("bob");
    await pool.ready(["bob"]);
    expect(pool.member("bob").pool().members[1]?.sessions).toBe(1);
    expect(await pool.client("new").checkout("bob")).toMatchObject({ member: "bob" });
    expect(await pool.client("more").checkout("bob")).toMatchObject({ refused: "no-seats" });
  });
});

describe("while a session of an older epoch is brought forward", () => {
  async function split(): Promise<Pool> {
    const pool = await Pool.of(ALL, { seats: 3, allTo: "bob" });
    const [moved, stays] = [pool.client("moved"), pool.client("stays")];
    await moved.checkout("bob");
    await stays.checkout("bob");
    pool.kill("bob");
    await pool.time.pass(RETIRED_MS);
    await moved.convert("ada");
    pool.start("bob");
    await pool.ready(["bob"]);
    expect(pool.record().allocated["bob"]?.seats).toBe(1);
    return pool;
  }

  test("a second heartbeat is not answered before it is durable", async () => {
    const pool = await split();
    const sync = holdSyncs(pool.process("bob"));
    const beat = (n: number): Promise<Answer> =>
      Promise.resolve(
        pool.member("bob").heartbeat({ session: "stays", secret: "secret of stays", n }),
      );
    const first = beat(50);
    await pool.time.settle();
    expect(await pool.time.outcome(beat(51))).toMatchObject({ refused: "busy" });
    sync();
    expect(await pool.time.outcome(first)).toMatchObject({ member: "bob", converted: true });
    expect(await pool.client("new").checkout("bob")).toMatchObject({ refused: "no-seats" });
  });

  test("a release does not make a seat of nothing", async () => {
    const pool = await split();
    const sync = holdSyncs(pool.process("bob"));
    const { member } = pool.process("bob");
    const first = Promise.resolve(
      member.heartbeat({ session: "stays", secret: "secret of stays", n: 50 }),
    );
    await pool.time.settle();
    const released = member.release({
      session: "stays",
      secret: "secret of stays",
      n: 51,
      administrator: false,
    });
    sync();
    expect(await pool.time.outcome(first)).toMatchObject({ refused: "released" });
    await pool.time.outcome(released);
    expect(await pool.client("n1").checkout("bob")).toMatchObject({ member: "bob" });
    expect(await pool.client("n2").checkout("bob")).toMatchObject({ refused: "no-seats" });
    await pool.time.pass(LIFE_MS + 2_000);
    const { features } = await pool.time.outcome(pool.member("ada").features());
    expect(features[0]).toMatchObject({ inUse: 0, retired: 0, free: 3 });
  });
});

describe("while a seat is converted", () => {
  test("a release leaves it held, and a write that is unknown is settled first", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    pool.kill("bob");
    await pool.time.pass(RETIRED_MS);
    const asked = await client.heartbeat("ada");
    const nonce = "refused" in asked ? asked.nonce : undefined;
    const ada = pool.process("ada");
    let lost = false;
    ada.store.fate = (transaction) => {
      if (lost || !writesRecord(transaction)) return { kind: "answered" };
      lost = true;
      return { kind: "lost" };
    };
    const converting = Promise.resolve(
      ada.member.heartbeat({
        session: "s1",
        secret: "secret of s1",
        n: 50,
        ...(client.token === undefined ? {} : { token: client.token }),
        ...(nonce === undefined ? {} : { confirm: nonce }),
      }),
    );
    await pool.time.pass(100);
    expect(pool.record().allocated["ada"]?.seats).toBe(1);
    const released = ada.member.release({
      session: "s1",
      secret: "secret of s1",
      n: 51,
      administrator: false,
    });
    expect(await pool.time.outcome(converting)).toMatchObject({ refused: "released" });
    await pool.time.outcome(released);
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ refused: "no-seats" });
    await pool.time.pass(LIFE_MS + 1_000);
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ member: "ada" });
  });

  test("many heartbeats share one write, each with a seat of its own entry", async () => {
    const pool = await Pool.of(ALL, { seats: 20, allTo: "bob" });
    const clients = Array.from({ length: 20 }, (_, index) => pool.client(`s${index}`));
    for (const client of clients) await client.checkout("bob");
    pool.kill("bob");
    await pool.time.pass(RETIRED_MS);
    let writes = 0;
    pool.process("ada").store.fate = (transaction) => {
      if (writesRecord(transaction)) writes += 1;
      return { kind: "answered" };
    };
    const answers = await pool.time.outcome(
      Promise.all(
        clients.map(async ({ session, secret, token }) => {
          const message = { session, secret, ...(token === undefined ? {} : { token }) };
          const asked = await pool.member("ada").heartbeat({ ...message, n: 50 });
          const confirm = "refused" in asked ? (asked.nonce ?? "") : "";
          return pool.member("ada").heartbeat({ ...message, n: 51, confirm });
        }),
      ),
    );
    for (const answer of answers) expect(answer).toMatchObject({ member: "ada", converted: true });
    expect(pool.record()).toMatchObject({ allocated: { ada: { seats: 20 } }, retired: {} });
    expect(writes).toBeLessThanOrEqual(2);
  });
});

describe("while a session is handed over", () => {
  test("a lost answer leaves the seat with one of both", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    const bob = pool.process("bob");
    let lost = false;
    bob.store.fate = (transaction) => {
      if (lost || !writesRecord(transaction)) return { kind: "answered" };
      lost = true;
      return { kind: "late", ms: 5_000 };
    };
    await client.heartbeat("ada");
    await pool.time.pass(10_000);
    const { allocated, free } = pool.record();
    expect((allocated["ada"]?.seats ?? 0) + (allocated["bob"]?.seats ?? 0) + free).toBe(1);
    expect(await client.convert("ada")).toMatchObject({ member: "ada" });
    expect(await pool.client("s2").checkout("bob")).toMatchObject({ refused: "no-seats" });
  });

  test("a copy of the order that is not taken twice says nothing of the first", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    const { member } = pool.process("bob");
    const peer = member.peer.bind(member);
    member.peer = (from, call) => {
      if (call.kind !== "hand-over") return peer(from, call);
      void peer(from, call);
      return Promise.resolve({ ok: false, refusal: refuse("forbidden", "it was seen before") });
    };
    await client.heartbeat("ada");
    await pool.time.pass(1_000);
    expect(pool.record().allocated["ada"]?.seats).toBe(1);
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ refused: "no-seats" });
    expect(await client.convert("ada")).toMatchObject({ member: "ada" });
  });

  test("an order of before the member died comes too late", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    pool.kill("bob");
    pool.start("bob");
    await pool.ready(["bob"]);
    const order = { session: "s1", n: 5, seats: 1, feature: "cad", epoch: 1, term: 1 } as const;
    const late = { kind: "hand-over", ...order, memberEpoch: 1 } as const;
    expect(await pool.time.outcome(pool.member("bob").peer("ada", late))).toMatchObject({
      ok: false,
    });
    expect(await client.heartbeat("bob")).toMatchObject({ member: "bob" });
  });

  test("a revocation goes along with it", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    const bob = pool.process("bob");
    bob.store.fate = (transaction) =>
      writesRecord(transaction) ? { kind: "slow", ms: 300 } : { kind: "answered" };
    const handing = client.heartbeat("ada");
    await pool.time.pass(50);
    await revoke(pool, "bob", "s1");
    await handing;
    for (const at of ["ada", "bob"]) {
      const answer = await client.heartbeat(at);
      expect(answer).toMatchObject({ refused: expect.any(String) as string });
    }
    expect(await client.heartbeat("ada")).toMatchObject({ refused: "revoked" });
  });
});

describe("while seats are given back", () => {
  test("the lower limit holds until an unknown write is settled", async () => {
    const pool = await Pool.of(ALL, { seats: 2, allTo: "bob" });
    const bob = pool.process("bob");
    let sent = 0;
    bob.store.fate = (transaction) => {
      if (!writesRecord(transaction)) return { kind: "answered" };
      sent += 1;
      return sent === 1 ? { kind: "late", ms: 900 } : { kind: "never" };
    };
    const given = pool.client("s1").ask("ada");
    await pool.time.pass(100);
    expect(sent).toBe(1);
    expect(pool.record().allocated["bob"]?.seats).toBe(2);
    expect(await pool.client("s2").checkout("bob")).toMatchObject({ member: "bob" });
    const third = await pool.client("s3").checkout("bob");
    expect(third).toMatchObject({ refused: expect.stringMatching(/busy|no-seats/) as string });
    bob.store.fate = () => ({ kind: "answered" });
    await pool.time.pass(5_000);
    const first = await pool.time.outcome(given);
    const used = "refused" in first ? 1 : 2;
    const { features } = await pool.time.outcome(pool.member("ada").features());
    expect(features[0]).toMatchObject({ inUse: used, free: 2 - used });
  });
});

test("a start that was interrupted between journal and record takes its sessions back", async () => {
  const pool = await Pool.of(ALL, { seats: 2, allTo: "bob" });
  const client = pool.client("s1");
  await client.checkout("bob");
  pool.kill("bob");
  const second = pool.start("bob");
  second.store.fate = ({ puts }) =>
    puts.some(({ key }) => key === "member/bob") ? { kind: "never" } : { kind: "answered" };
  await pool.time.pass(10_000);
  pool.kill("bob");
  pool.start("bob");
  await pool.ready(["bob"]);
  expect(await client.heartbeat("bob")).toMatchObject({ member: "bob", created: false });
});

test("an old copy of a folder takes nothing back", async () => {
  const pool = await Pool.of(ALL, { seats: 2, allTo: "bob" });
  const copy = pool.process("bob").journal.copy();
  await pool.client("s1").checkout("bob");
  await pool.time.pass(2_000);
  pool.kill("bob");
  pool.start("bob", new MemoryJournal({ durable: copy }));
  await pool.ready(["bob"]);
  expect(await pool.client("s2").checkout("bob")).toMatchObject({ refused: "no-seats" });
});

test("a longer life in a newer license is never believed longer than it is counted", async () => {
  const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
  const client = pool.client("s1");
  await client.checkout("bob");
  const longer = licenseText({ sequence: 2, seats: 1, lifeMs: 600_000, allTo: "bob" });
  await pool.time.outcome(pool.member("ada").installLicense(longer));
  await pool.time.pass(3_000);
  pool.kill("bob");
  await pool.time.pass(RETIRED_MS);
  const { lifeMs } = await client.convert("ada");
  await pool.time.pass(lifeMs * 0.99 - 250);
  expect(await pool.client("s2").checkout("cyd")).toMatchObject({ refused: "no-seats" });
  await pool.time.pass(lifeMs * 0.02 + 3_000);
  expect(await pool.client("s2").checkout("cyd")).toMatchObject({ member: "cyd" });
});

test("seats that come with a longer life keep it until nobody can believe that long, whatever is granted there", async () => {
  const oldMs = 90_000;
  const pool = await Pool.of(ALL, { seats: 3, lifeMs: oldMs });
  const client = pool.client("s1");
  await client.checkout("bob");
  const lifeAtAda = (): number | undefined => pool.record().allocated["ada"]?.lifeMs;
  const shorter = licenseText({ sequence: 2, seats: 3, lifeMs: 30_000 });
  await pool.time.outcome(pool.member("ada").installLicense(shorter));
  await pool.time.pass(oldMs / 2);
  pool.kill("bob");
  await pool.time.pass(RETIRED_MS);
  await pool.client("s2").checkout("ada");
  await pool.client("s3").checkout("cyd");
  await client.convert("ada");
  const movedMs = pool.time.nowMs;
  // Till then its client may believe in what bob told it.
  while (pool.time.nowMs < movedMs + oldMs) {
    expect(lifeAtAda()).toBe(oldMs);
    await pool.time.pass(1_000);
  }
  await pool.time.pass(oldMs * 0.01 + 3_000);
  expect(lifeAtAda()).toBe(30_000);
});

function revoke(pool: Pool, at: string, session: string): Promise<unknown> {
  return pool.time.outcome(pool.member(at).release({ session, administrator: true, reason: "x" }));
}
