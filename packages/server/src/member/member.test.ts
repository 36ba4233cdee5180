import { describe, expect, test } from "vitest";
import { MemoryJournal } from "../journal/memory-journal.ts";
import { licenseText, Pool } from "./pool-fixture.ts";

const ALL = ["ada", "bob", "cyd"] as const;
/** R for a lease of 5 s, and a little more than the leader takes to notice. */
const RETIRED_MS = 7_500;
/** A life of 60 s as servers count it. */
const LIFE_MS = 60_850;

describe("start", () => {
  test("a member alone grants nothing until a majority is there", async () => {
    const pool = new Pool({ seats: 6 });
    pool.start("ada");
    await pool.time.pass(10_000);
    expect(await pool.client("s1").checkout("ada")).toMatchObject({ refused: "no-majority" });
    pool.start("bob");
    await pool.ready(["ada", "bob"]);
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ member: "ada", created: true });
    expect(await pool.client("s3").checkout("bob")).toMatchObject({ member: "bob", created: true });
  });

  test("the seats are spread evenly and the first leads", async () => {
    const pool = await Pool.of(ALL, { seats: 10 });
    expect(pool.record()).toMatchObject({ seats: 10, free: 1, debt: 0 });
    for (const id of ALL) expect(pool.record().allocated[id]).toMatchObject({ seats: 3, epoch: 1 });
    expect(pool.leader()).toBe("ada");
    expect(pool.member("cyd").pool()).toMatchObject({
      leader: { id: "ada" },
      term: 1,
      majority: { needed: 2, alive: 3, reached: true },
      alarms: [],
    });
  });

  test("a license that the store did not take is brought again", async () => {
    const pool = new Pool({ size: 1, seats: 3 });
    const ada = pool.start("ada");
    let unanswered = 3;
    ada.store.fate = ({ puts, reads }) => {
      const brings = puts.length === 0 && reads.length === 1 && reads[0] === "license";
      if (!brings || unanswered === 0) return { kind: "answered" };
      unanswered -= 1;
      return { kind: "never" };
    };
    await pool.ready(["ada"]);
    expect(unanswered).toBe(0);
    expect(ada.member.license()).toMatchObject({ sequence: 1 });
  });

  test("a member beyond the licensed size finds no place", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const dan = pool.start("dan");
    await pool.time.pass(1_000);
    expect(dan.exit?.reason).toContain("the license allows 3 servers");
  });

  test("a process does not begin while another of its member lives", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const first = pool.process("bob");
    const second = pool.start("bob");
    await pool.time.pass(RETIRED_MS);
    expect(second.exit).toMatchObject({ code: 6 });
    expect(first.exit).toBeNull();
    expect(first.member.readiness()).toBeNull();
    expect(pool.memberRecord("bob").epoch).toBe(1);
  });

  test("of two processes with copies of one folder, started together, one goes on", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    pool.kill("bob");
    const processes = [pool.start("bob"), pool.start("bob")];
    await pool.time.until(
      "one of them grants",
      () => {
        const granting = processes.filter(({ member }) => member.readiness() === null);
        expect(granting.length).toBeLessThan(2);
        return granting.length === 1;
      },
      20_000,
    );
    await pool.time.pass(5_000);
    const left = processes.filter(({ exit }) => exit === null);
    expect(left).toHaveLength(1);
    expect(left[0]?.member.readiness()).toBeNull();
    expect(processes.find(({ exit }) => exit !== null)?.exit).toMatchObject({ code: 6 });
  });
});

describe("checkout", () => {
  test("takes an own seat, tells what the client needs, and is answered again when repeated", async () => {
    const pool = await Pool.of(ALL, { seats: 9 });
    const client = pool.client("s1");
    const granted = await client.checkout("bob");
    expect(granted).toMatchObject({
      session: "s1",
      feature: "cad",
      seats: 1,
      member: "bob",
      lifeMs: 60_000,
      heartbeatMs: 20_000,
      created: true,
      pool: { leader: "http://ada", servers: ["http://ada", "http://bob", "http://cyd"] },
    });
    expect(await client.checkout("bob")).toMatchObject({ created: false });
    expect(await client.checkout("bob", { seats: 2 })).toMatchObject({
      refused: "session-mismatch",
    });
    expect(pool.member("bob").pool().members[1]).toMatchObject({ id: "bob", sessions: 1 });
  });

  test("of more than a member has moves seats there, down to the last of the pool", async () => {
    const pool = await Pool.of(ALL, { seats: 9 });
    for (let index = 0; index < 9; index += 1) {
      expect(await pool.client(`s${index}`).checkout("cyd")).toMatchObject({ member: "cyd" });
    }
    expect(pool.record().allocated["cyd"]?.seats).toBe(9);
    expect(await pool.client("s9").checkout("cyd")).toMatchObject({ refused: "no-seats" });
    await pool.time.pass(1_500);
    expect(await pool.client("s9").checkout("ada")).toMatchObject({ refused: "no-seats" });
  });

  test("is refused to a stranger, for an unknown feature and above the version", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const holder = { user: "u", host: "h" };
    const ask = (more: object) =>
      pool.time.outcome(
        pool.member("ada").checkout({
          session: "s1",
          secret: "secret of s1",
          n: 1,
          feature: "cad",
          holder,
          ...more,
        }),
      );
    expect(await ask({ secret: "another" })).toMatchObject({ refused: "not-your-session" });
    expect(await ask({ feature: "cam" })).toMatchObject({ refused: "unknown-feature" });
    expect(await ask({ version: "9.1" })).toMatchObject({ refused: "version-not-covered" });
    expect(await ask({ version: "9.0" })).toMatchObject({ created: true });
  });

  test("ends one life after the last heartbeat, and its seat is granted again", async () => {
    const pool = await Pool.of(ALL, { seats: 1 });
    const client = pool.client("s1");
    await client.checkout("ada");
    await pool.time.pass(30_000);
    expect(await client.heartbeat("ada")).toMatchObject({ created: false });
    await pool.time.pass(LIFE_MS - 100);
    expect(await pool.client("s2").checkout("bob")).toMatchObject({ refused: "no-seats" });
    await pool.time.pass(1_500);
    expect(await pool.client("s2").checkout("bob")).toMatchObject({ member: "bob" });
  });
});

describe("waiting", () => {
  test("goes in the order of arrival, also across servers", async () => {
    const pool = await Pool.of(ALL, { seats: 1 });
    const holder = pool.client("holder");
    await holder.checkout("ada");
    const order: string[] = [];
    const wait = async (name: string, at: string): Promise<void> => {
      const client = pool.client(name);
      for (;;) {
        const answer = await client.ask(at, { waitMs: 120_000 });
        if (!("refused" in answer)) break;
        expect(answer).toMatchObject({ refused: "queued" });
      }
      order.push(name);
      await client.heartbeat(at);
      void pool.member(at).release({
        session: client.session,
        secret: client.secret,
        administrator: false,
      });
    };
    const places: Promise<void>[] = [];
    for (const [name, at] of [
      ["first", "bob"],
      ["second", "cyd"],
      ["third", "bob"],
    ] as const) {
      places.push(wait(name, at));
      await pool.time.pass(1_200);
    }
    await holder.release("ada");
    await pool.time.outcome(Promise.all(places), 60_000);
    expect(order).toEqual(["first", "second", "third"]);
  });

  test("is not overtaken by the second in the queue when a third server gives one seat back", async () => {
    // When the leader looks depends on where each request is in its round: every phase of it is tried.
    for (let phaseMs = 0; phaseMs < 1_000; phaseMs += 50) {
      const pool = await Pool.of(ALL, { seats: 3 });
      const holders = await Promise.all(
        ALL.map(async (at) => {
          const holder = pool.client(`holder-${at}`);
          await holder.checkout(at);
          return holder;
        }),
      );
      const leader = pool.leader();
      const [holderAt = "bob", otherAt = "cyd"] = ALL.filter((id) => id !== leader);
      const order: string[] = [];
      const wait = async (name: string, at: string): Promise<void> => {
        const client = pool.client(name);
        while ("refused" in (await client.ask(at, { waitMs: 60_000 })));
        order.push(name);
      };
      const places = [wait("first", leader)];
      await pool.time.pass(1_350);
      places.push(wait("second", otherAt));
      await pool.time.pass(1_200 + phaseMs);
      await holders[ALL.indexOf(holderAt)]?.release(holderAt);
      await pool.time.until("a seat is granted", () => order.length > 0);
      expect({ phaseMs, order }).toEqual({ phaseMs, order: ["first"] });
      await holders[ALL.findIndex((id) => id === leader)]?.release(leader);
      await pool.time.outcome(Promise.all(places), 60_000);
    }
  });

  test("outlives a leader that could not be reached for longer than it keeps a place", async () => {
    const pool = await Pool.of(ALL, { seats: 1 });
    const holder = pool.client("holder");
    await holder.checkout("ada");
    const order: string[] = [];
    const wait = async (name: string, at: string): Promise<void> => {
      const client = pool.client(name);
      for (;;) {
        const answer = await client.ask(at, { waitMs: 300_000 });
        if (!("refused" in answer)) break;
        expect(["queued", "busy"]).toContain(answer.refused);
      }
      order.push(name);
    };
    const first = wait("first", "bob");
    await pool.time.pass(1_200);
    const second = wait("second", "cyd");
    await pool.time.pass(1_200);
    pool.unreachable.add("bob");
    // A place is kept for a third of a life.
    await pool.time.pass(LIFE_MS / 2 - 5_000);
    pool.unreachable.delete("bob");
    await pool.time.pass(12_000);
    await holder.release("ada");
    await pool.time.outcome(first, 60_000);
    expect(order).toEqual(["first"]);
    const { session, secret } = pool.client("first");
    void pool.member("bob").release({ session, secret, administrator: false });
    await pool.time.outcome(second, 60_000);
  });

  test("is answered within ten seconds, however long lives are: the client takes longer silence for a dead server", async () => {
    const pool = await Pool.of(ALL, { seats: 1, lifeMs: 3_600_000 });
    await pool.client("holder").checkout("ada");
    for (const at of ["bob", "ada"]) {
      const askedMs = pool.time.nowMs;
      const answer = await pool.client(`waits at ${at}`).checkout(at, { waitMs: 120_000 });
      expect(answer).toMatchObject({ refused: "queued" });
      expect(pool.time.nowMs - askedMs).toBeLessThan(11_000);
    }
  });

  test("a place whose program is gone holds nobody up for longer than two answers take", async () => {
    const pool = await Pool.of(ALL, { seats: 1, lifeMs: 3_600_000 });
    const holder = pool.client("holder");
    await holder.checkout("ada");
    await pool.client("gone").checkout("bob", { waitMs: 120_000 });
    const waiting = pool.client("waiting");
    expect(await waiting.checkout("cyd", { waitMs: 120_000 })).toMatchObject({ place: 2 });
    await holder.release("ada");
    await pool.time.pass(12_000);
    expect(await waiting.checkout("cyd", { waitMs: 120_000 })).toMatchObject({ member: "cyd" });
  });

  test("a release while it waits gives up the place, and nothing is granted to it later", async () => {
    const pool = await Pool.of(ALL, { seats: 1 });
    const holder = pool.client("holder");
    await holder.checkout("ada");
    const waiting = pool.client("waiting");
    const answer = waiting.ask("bob", { waitMs: 60_000 });
    await pool.time.pass(1_000);
    expect(await waiting.release("bob")).toMatchObject({ released: true });
    await holder.release("ada");
    expect(await pool.time.outcome(answer)).toMatchObject({ refused: "released" });
    expect(await pool.client("next").checkout("cyd")).toMatchObject({ member: "cyd" });
  });
});

describe("a heartbeat that somebody recorded", () => {
  test("keeps no seat, however often it is said again", async () => {
    const pool = await Pool.of(ALL, { seats: 1 });
    const client = pool.client("s1");
    await client.checkout("ada");
    await client.heartbeat("ada");
    for (let passedMs = 0; passedMs < LIFE_MS; passedMs += 5_000) {
      await client.lateHeartbeat("ada", 1);
      await client.lateHeartbeat("ada", 2);
      await pool.time.pass(5_000);
    }
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ member: "ada" });
  });
});

describe("release and revoke", () => {
  test("frees the seat at once, and a lower number is late", async () => {
    const pool = await Pool.of(ALL, { seats: 1 });
    const client = pool.client("s1");
    await client.checkout("ada");
    expect(await client.release("ada")).toEqual({ released: true, reached: true });
    expect(await client.release("ada")).toEqual({ released: true, reached: true });
    expect(await client.lateHeartbeat("ada", 1)).toMatchObject({ refused: "released" });
    expect(await pool.client("s2").checkout("cyd")).toMatchObject({ member: "cyd" });
  });

  test("reaches the member that holds it, whichever was asked", async () => {
    const pool = await Pool.of(ALL, { seats: 1 });
    const client = pool.client("s1");
    await client.checkout("bob");
    expect(await client.release("cyd")).toEqual({ released: true, reached: true });
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ member: "ada" });
  });

  test("that cannot reach it says so", async () => {
    const pool = await Pool.of(ALL, { seats: 1 });
    const client = pool.client("s1");
    await client.checkout("bob");
    pool.unreachable.add("bob");
    expect(await client.release("cyd")).toEqual({ released: true, reached: false });
  });

  test("a revoked session is refused, and its seat is free one life after its last renewal", async () => {
    const pool = await Pool.of(ALL, { seats: 1 });
    const client = pool.client("s1");
    await client.checkout("bob");
    const revoked = await pool.time.outcome(
      pool.member("ada").release({ session: "s1", administrator: true, reason: "idle" }),
    );
    expect(revoked).toEqual({ released: true, reached: true });
    expect(await client.heartbeat("bob")).toMatchObject({ refused: "revoked" });
    expect(await client.checkout("bob")).toMatchObject({ refused: "revoked" });
    await pool.time.pass(LIFE_MS - 2_000);
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ refused: "no-seats" });
    await pool.time.pass(3_500);
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ member: "ada" });
  });

  test("a revoked session is not converted when its member dies", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const client = pool.client("s1");
    await client.checkout("bob");
    await pool.time.outcome(
      pool.member("bob").release({ session: "s1", administrator: true, reason: "idle" }),
    );
    await pool.time.pass(1_500);
    pool.kill("bob");
    await pool.time.pass(RETIRED_MS);
    expect(await client.heartbeat("ada")).toMatchObject({ refused: "revoked" });
  });
});

describe("a release", () => {
  test("is remembered for one life, over a restart as well", async () => {
    const lifeMs = 600_000;
    const pool = await Pool.of(ALL, { seats: 3, lifeMs });
    const client = pool.client("s1");
    await client.checkout("bob");
    await client.release("bob");
    pool.kill("bob");
    pool.start("bob");
    await pool.ready(["bob"]);
    await pool.time.pass(lifeMs / 2);
    expect(await client.lateHeartbeat("bob", 1)).toMatchObject({ refused: "released" });
  });

  test("that comes while the token of a late heartbeat is looked at is heard", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const client = pool.client("s1");
    await client.checkout("bob");
    await pool.time.pass(2 * LIFE_MS);
    const { session, secret, token = "" } = client;
    const holder = { user: "s1", host: "desk" };
    const bob = pool.member("bob");
    const beat = bob.heartbeat({ session, secret, n: 5, token, feature: "cad", holder });
    const released = bob.release({ session, secret, n: 6, administrator: false });
    expect(await pool.time.outcome(released)).toMatchObject({ released: true });
    expect(await pool.time.outcome(Promise.resolve(beat))).toMatchObject({ refused: "released" });
  });
});

describe("when a member dies", () => {
  test("its client keeps its seat: first sent back, then asked to confirm, then converted", async () => {
    const pool = await Pool.of(ALL, { seats: 3, allTo: "bob" });
    const clients = ["s1", "s2", "s3"].map((name) => pool.client(name));
    for (const client of clients) await client.checkout("bob");
    pool.kill("bob");
    const [s1, s2] = clients;
    if (s1 === undefined || s2 === undefined) throw new Error("there are three");
    expect(await s1.heartbeat("cyd")).toMatchObject({
      refused: "not-leader",
      leader: "http://ada",
    });
    expect(await s1.heartbeat("ada")).toMatchObject({ refused: "busy" });
    await pool.time.pass(RETIRED_MS);
    expect(pool.memberRecord("bob")).toMatchObject({ epoch: 2, state: "retired" });
    const asked = await s1.heartbeat("ada");
    expect(asked).toMatchObject({ refused: "confirm" });
    const nonce = "refused" in asked ? asked.nonce : undefined;
    expect(await s1.heartbeat("ada", nonce)).toMatchObject({ member: "ada", converted: true });
    expect(pool.record()).toMatchObject({
      allocated: { ada: { seats: 1 } },
      retired: { "bob/1": { seats: 2, of: 3 } },
    });
    // The nonce is its own session's and was used.
    expect(await s2.heartbeat("ada", nonce)).toMatchObject({ refused: "confirm" });
    expect(await pool.client("new").checkout("ada")).toMatchObject({ refused: "no-seats" });
  });

  test("a nonce is good once and for two seconds", async () => {
    const pool = await Pool.of(ALL, { seats: 3, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    pool.kill("bob");
    await pool.time.pass(RETIRED_MS);
    const nonceOf = async (confirm?: string): Promise<string | undefined> => {
      const answer = await client.heartbeat("ada", confirm);
      expect(answer).toMatchObject({ refused: "confirm" });
      return "refused" in answer ? answer.nonce : undefined;
    };
    const first = await nonceOf();
    const second = await nonceOf("a guess");
    expect(second).not.toBe(first);
    await pool.time.pass(2_001);
    const third = await nonceOf(second);
    expect(await client.heartbeat("ada", third)).toMatchObject({ converted: true });
  });

  test("a seat out of a retired entry is held for one wait, even if it is released", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    pool.kill("bob");
    await pool.time.pass(RETIRED_MS);
    await client.convert("ada");
    expect(await client.release("ada")).toMatchObject({ released: true });
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ refused: "no-seats" });
    await pool.time.pass(LIFE_MS + 1_000);
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ member: "ada" });
  });

  test("what nobody converts is free one life after the retirement was seen", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    await pool.client("s1").checkout("bob");
    pool.kill("bob");
    await pool.time.until("bob is retired", () => pool.memberRecord("bob").epoch === 2);
    await pool.time.pass(LIFE_MS - 1_000);
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ refused: "no-seats" });
    await pool.time.pass(2_500);
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ member: "ada" });
  });

  test("the leader too: another takes the lead and converts", async () => {
    const pool = await Pool.of(ALL, { seats: 3, allTo: "ada" });
    const client = pool.client("s1");
    await client.checkout("ada");
    pool.kill("ada");
    await pool.time.pass(RETIRED_MS);
    expect(pool.leader()).toBe("bob");
    expect(await client.convert("bob")).toMatchObject({ member: "bob", converted: true });
    expect(pool.member("cyd").pool().term).toBe(2);
  });

  test("two of three: the last grants nothing", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const client = pool.client("s1");
    await client.checkout("cyd");
    pool.kill("ada");
    pool.kill("bob");
    await pool.time.pass(RETIRED_MS);
    expect(await client.heartbeat("cyd")).toMatchObject({ refused: "no-majority" });
  });

  test("a member cut off from the store stops granting before anybody else has its seats", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const client = pool.client("s1");
    await client.checkout("cyd");
    pool.cutOff("cyd");
    await pool.time.until("cyd is retired", () => {
      const retired = pool.memberRecord("cyd").epoch > 1;
      if (retired) expect(pool.member("cyd").readiness()).not.toBeNull();
      return retired;
    });
    expect(await client.heartbeat("cyd")).toMatchObject({ refused: "no-majority" });
    pool.cutOff("cyd", false);
    await pool.time.pass(2_000);
    expect(await client.heartbeat("cyd")).toMatchObject({ member: "cyd", created: false });
  });
});

describe("when a member returns", () => {
  test("untouched, it takes all of its seats back with their sessions", async () => {
    const pool = await Pool.of(ALL, { seats: 9 });
    const client = pool.client("s1");
    await client.checkout("bob");
    pool.kill("bob");
    pool.start("bob");
    await pool.ready(["bob"]);
    expect(pool.record().allocated["bob"]).toMatchObject({ seats: 3 });
    expect(pool.record().retired).toEqual({});
    const answer = await client.heartbeat("bob");
    expect(answer).toMatchObject({ member: "bob", created: false });
    expect("refused" in answer ? undefined : answer.token).toBeDefined();
    expect(pool.member("bob").pool().members[1]?.sessions).toBe(1);
  });

  test("after a conversion, it takes back only what its journal proves unused", async () => {
    const pool = await Pool.of(ALL, { seats: 4, allTo: "bob" });
    const [moved, stays] = [pool.client("moved"), pool.client("stays")];
    await moved.checkout("bob");
    await stays.checkout("bob");
    pool.kill("bob");
    await pool.time.pass(RETIRED_MS);
    await moved.convert("ada");
    pool.start("bob");
    await pool.ready(["bob"]);
    const epoch = pool.memberRecord("bob").epoch;
    expect(pool.record()).toMatchObject({
      allocated: { ada: { seats: 1 }, bob: { seats: 2, epoch } },
      retired: { "bob/1": { seats: 1, of: 0 } },
    });
    expect(await stays.convert("bob")).toMatchObject({ member: "bob", converted: true });
    for (const name of ["n1", "n2"]) {
      const answer = await pool.client(name).checkout("bob");
      if ("refused" in answer) expect(answer.refused).toBe("no-seats");
    }
    expect(await pool.client("n3").checkout("bob")).toMatchObject({ refused: "no-seats" });
  });

  test("its seats are not granted twice while the answer of taking them back is on its way", async () => {
    const pool = await Pool.of(ALL, { seats: 2, allTo: "bob" });
    await pool.client("s1").checkout("bob");
    await pool.client("s2").checkout("bob");
    pool.kill("bob");
    const bob = pool.start("bob");
    bob.store.fate = ({ puts }) =>
      puts.some(({ key }) => key === "allocation/cad") ? { kind: "lost" } : { kind: "answered" };
    await pool.time.until(
      "the entry is bob's again",
      () => (pool.record().allocated["bob"]?.epoch ?? 0) > 1,
      20_000,
    );
    // The watch has told bob's process of the record long before the write is settled.
    await pool.time.pass(200);
    const answer = await pool.client("s3").checkout("bob");
    expect(answer).toMatchObject({ refused: expect.stringMatching(/busy|no-seats/) as string });
  });

  test("with another disk, it takes nothing back, and its clients are not lost", async () => {
    const pool = await Pool.of(ALL, { seats: 2, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    pool.kill("bob");
    pool.start("bob", new MemoryJournal());
    await pool.ready(["bob"]);
    expect(await pool.client("s2").checkout("bob")).toMatchObject({ refused: "no-seats" });
    expect(await client.convert("bob")).toMatchObject({ converted: true });
  });
});

describe("when a client cannot reach its member", () => {
  test("the leader has the session handed over with its seat", async () => {
    const pool = await Pool.of(ALL, { seats: 1, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    expect(await client.convert("ada")).toMatchObject({ member: "ada", converted: true });
    expect(pool.record().allocated).toMatchObject({ ada: { seats: 1 }, bob: { seats: 0 } });
    expect(pool.member("bob").pool().members[1]?.sessions).toBe(0);
    expect(await pool.client("s2").checkout("bob")).toMatchObject({ refused: "no-seats" });
  });

  test("and the leader neither, it is sent back to it", async () => {
    const pool = await Pool.of(ALL, { seats: 2, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    pool.unreachable.add("bob");
    expect(await client.heartbeat("ada")).toMatchObject({ refused: "busy" });
    expect(await client.heartbeat("bob")).toMatchObject({ member: "bob", created: false });
  });

  test("and the leader neither, it gets a seat of the leader's if one is unused", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const client = pool.client("s1");
    await client.checkout("bob");
    pool.unreachable.add("bob");
    expect(await client.heartbeat("ada")).toMatchObject({ member: "ada", converted: true });
    expect(await pool.client("s2").checkout("ada")).toMatchObject({ member: "ada" });
    expect(await pool.client("s3").checkout("ada")).toMatchObject({ refused: "no-seats" });
  });
});

describe("a newer license", () => {
  test("that is smaller leaves a debt, throws nobody out, and is paid by releases", async () => {
    const pool = await Pool.of(ALL, { seats: 6 });
    const clients = Array.from({ length: 6 }, (_, index) => pool.client(`s${index}`));
    for (const [index, client] of clients.entries()) {
      await client.checkout(ALL[index % 3] ?? "ada");
    }
    const smaller = licenseText({ sequence: 2, seats: 4 });
    expect(await pool.time.outcome(pool.member("bob").installLicense(smaller))).toMatchObject({
      sequence: 2,
    });
    await pool.time.pass(2_000);
    expect(pool.record()).toMatchObject({ sequence: 2, seats: 4, free: 0, debt: 2 });
    for (const [index, client] of clients.entries()) {
      expect(await client.heartbeat(ALL[index % 3] ?? "ada")).toMatchObject({ created: false });
    }
    const [s0, s1, s2] = clients;
    await s0?.release("ada");
    await s1?.release("bob");
    await pool.time.pass(1_500);
    expect(pool.record()).toMatchObject({ free: 0, debt: 0 });
    expect(await pool.client("new").checkout("ada")).toMatchObject({ refused: "no-seats" });
    await s2?.release("cyd");
    // Just now every member was asked in vain: for a moment the leader believes that.
    await pool.time.pass(200);
    expect(await pool.client("new").checkout("ada")).toMatchObject({ member: "ada" });
    const older = licenseText({ sequence: 1, seats: 60 });
    expect(await pool.time.outcome(pool.member("cyd").installLicense(older))).toMatchObject({
      refused: "license-older",
    });
    const other = licenseText({ sequence: 2, seats: 60 });
    expect(await pool.time.outcome(pool.member("cyd").installLicense(other))).toMatchObject({
      refused: "license-conflict",
    });
  });
});

describe("the end of a member", () => {
  test("on purpose, its unused seats are free at once and its clients convert without a wait", async () => {
    const pool = await Pool.of(ALL, { seats: 3, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    await pool.stop("bob");
    expect(pool.memberRecord("bob")).toMatchObject({ epoch: 2, state: "stopped" });
    expect(pool.record()).toMatchObject({ free: 2, retired: { "bob/1": { seats: 1, of: 1 } } });
    expect(await client.convert("ada", 1_000)).toMatchObject({ member: "ada", converted: true });
    expect(await pool.client("s2").checkout("cyd")).toMatchObject({ member: "cyd" });
  });

  test("of the leader on purpose, another leads within a second", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    await pool.stop("ada");
    await pool.time.pass(1_000);
    expect(pool.leader()).not.toBe("ada");
  });

  test("a stopped member begins at once with its sessions", async () => {
    const pool = await Pool.of(ALL, { seats: 3, allTo: "bob" });
    const client = pool.client("s1");
    await client.checkout("bob");
    await pool.stop("bob");
    pool.start("bob");
    await pool.time.until("bob grants", () => pool.member("bob").readiness() === null, 2_000);
    await pool.time.pass(500);
    expect(await client.heartbeat("bob")).toMatchObject({ member: "bob", created: false });
  });

  test("whose journal fails resigns, and its clients go on elsewhere", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const client = pool.client("s1");
    await client.checkout("bob");
    const bob = pool.process("bob");
    bob.journal.fail();
    expect(await pool.client("s2").checkout("bob")).toMatchObject({ refused: "no-mandate" });
    await pool.time.until("bob has left", () => bob.exit !== null);
    expect(bob.exit).toMatchObject({ code: 10 });
    expect(pool.memberRecord("bob")).toMatchObject({ epoch: 2, state: "broken" });
    expect(await client.convert("ada", 3_000)).toMatchObject({ member: "ada", converted: true });
  });

  test("whose journal fails while the store is away ends all the same", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    const client = pool.client("s1");
    await client.checkout("bob");
    const bob = pool.process("bob");
    pool.cutOff("bob");
    bob.journal.fail();
    await client.release("bob");
    await pool.time.until("bob has left", () => bob.exit !== null, 20_000);
    expect(bob.exit).toMatchObject({ code: 10 });
  });
});
