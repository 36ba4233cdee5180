/** A pool's store that goes on in another place: nothing is lost by it, and nothing granted twice. */
import { describe, expect, test } from "vitest";
import { MemoryStore } from "../store/memory-store.ts";
import type { Outcome, Store, Transaction } from "../store/store.ts";
import { Pool } from "./pool-fixture.ts";
import { moveStore } from "./store-move.ts";

const ALL = ["ada", "bob", "cyd"] as const;
/** More transactions than a move has. */
const TRANSACTIONS_MAX = 12;

let nonces = 0;
const nonce = (): string => `nonce ${(nonces += 1)}`;

/** A stopped pool with a session of each member. */
async function stopped(): Promise<{ pool: Pool; clients: readonly ReturnType<Pool["client"]>[] }> {
  const pool = await Pool.of(ALL, { seats: 6 });
  const clients = ALL.map((id) => pool.client(`session of ${id}`));
  for (const [index, client] of clients.entries()) await client.checkout(ALL[index]!);
  for (const id of ALL) await pool.stop(id);
  return { pool, clients };
}

function contentOf(store: MemoryStore): Map<string, string> {
  const reads = ["license", "members", "leader", "tokens", "member/", "allocation/"];
  const { read } = store.apply({ compare: [], puts: [], reads });
  return new Map(read.map(({ key, value }) => [key, value]));
}

/** At the transactions of these numbers, counted from one over all stores, something goes wrong. */
function broken(store: MemoryStore, count: { n: number }, fate: (n: number) => Fate): Store {
  return {
    name: store.name,
    failoverGapMs: 0,
    transact: async (transaction: Transaction): Promise<Outcome> => {
      const how = fate((count.n += 1));
      if (how === "dies") throw new Error("the process died");
      if (how === "never") return { outcome: "unknown", reason: "lost on the way" };
      const outcome = store.apply(transaction);
      return how === "lost" ? { outcome: "unknown", reason: "the answer was lost" } : outcome;
    },
    watch: (prefix, from, onChange) => store.watch(prefix, from, onChange),
    close: () => store.close(),
  };
}

type Fate = "answered" | "lost" | "never" | "dies";

describe("a store that is moved", () => {
  test("takes every session along", async () => {
    const { pool, clients } = await stopped();
    const [from, to] = [pool.backing, new MemoryStore()];
    await moveStore(from, to, nonce);
    expect(contentOf(to)).toEqual(contentOf(from));
    pool.backing = to;
    for (const id of ALL) pool.start(id);
    await pool.ready(ALL);
    for (const [index, client] of clients.entries()) {
      expect(await client.heartbeat(ALL[index]!)).toMatchObject({ created: false });
    }
    const more = ALL.map((id) => pool.client(`more of ${id}`));
    for (const [index, client] of more.entries()) {
      expect(await client.checkout(ALL[index]!)).toMatchObject({ created: true });
    }
    expect(await pool.client("one too many").checkout("ada")).toMatchObject({
      refused: "no-seats",
    });
  });

  test("leaves nothing behind that a server would grant by", async () => {
    const { pool } = await stopped();
    const from = pool.backing;
    await moveStore(from, new MemoryStore(), nonce);
    const { member } = pool.start("bob");
    await pool.time.pass(20_000);
    expect(member.readiness()).toMatchObject({ refused: "no-mandate" });
    expect(member.pool().alarms).toEqual([expect.stringContaining("was moved away")]);
    expect(await pool.time.outcome(member.rebuild())).toMatchObject({
      detail: expect.stringContaining("was moved away") as string,
    });
  });

  test("is moved once, whatever went wrong on the way and however often it is asked for", async () => {
    for (const how of ["lost", "never", "dies"] as const) {
      for (let at = 1; at <= TRANSACTIONS_MAX; at += 1) {
        const { pool } = await stopped();
        const [from, to] = [pool.backing, new MemoryStore()];
        const count = { n: 0 };
        const fate = (n: number): Fate => (n === at ? how : "answered");
        const first = moveStore(broken(from, count, fate), broken(to, count, fate), nonce);
        await first.catch(() => undefined);
        await moveStore(from, to, nonce);
        const moved = to.data.revision;
        expect(contentOf(to)).toEqual(contentOf(from));
        await moveStore(from, to, nonce);
        expect(to.data.revision).toBe(moved);
      }
    }
  });

  test("is not taken from under a server that runs, or died", async () => {
    const pool = await Pool.of(ALL, { seats: 3 });
    await pool.stop("ada");
    await pool.stop("bob");
    const before = pool.backing.data.revision;
    await expect(moveStore(pool.backing, new MemoryStore(), nonce)).rejects.toThrow(
      /cyd did not stop on purpose/,
    );
    expect(pool.backing.data.revision).toBe(before);
  });

  test("does not go where another pool is", async () => {
    const [one, other] = [await stopped(), await stopped()];
    await expect(moveStore(one.pool.backing, other.pool.backing, nonce)).rejects.toThrow(
      /holds another pool/,
    );
  });

  test("that is older than a server has seen is another store to it", async () => {
    const { pool } = await stopped();
    const backup = new MemoryStore();
    for (const [key, value] of [...contentOf(pool.backing), ["store", storeOf(pool.backing)]]) {
      backup.apply({ compare: [], puts: [{ key: key!, value: value! }], reads: [] });
    }
    pool.start("ada");
    pool.start("bob");
    await pool.ready(["ada", "bob"]);
    await pool.stop("ada");
    await pool.stop("bob");
    const to = new MemoryStore();
    await moveStore(backup, to, nonce);
    pool.backing = to;
    const { member } = pool.start("ada");
    await pool.time.pass(20_000);
    expect(member.readiness()).toMatchObject({ refused: "no-mandate" });
  });
});

function storeOf(store: MemoryStore): string {
  return store.apply({ compare: [], puts: [], reads: ["store"] }).read[0]?.value ?? "";
}
