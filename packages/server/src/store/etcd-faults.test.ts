/** The etcd store against real members that are killed, frozen, cut off, compacted and replaced. */
import { execFileSync } from "node:child_process";
import { ChannelCredentials } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { EtcdClient } from "./etcd-client.ts";
import { TXN } from "./etcd-messages.ts";
import { EtcdProxy } from "./etcd-proxy.ts";
import { openEtcdStore } from "./etcd-store.ts";
import { toTxnSince } from "./etcd-transaction.ts";
import { RealEtcd, whyNoEtcd } from "./real-etcd.ts";
import { StoreLostError } from "./store.ts";
import type { Change, Outcome, Store, Transaction } from "./store.ts";

/** As the members' own deadline of a call. */
const DEADLINE_MS = 500;
const LONG_DEADLINE_MS = 10_000;
/** An etcd whose leader was frozen holds a lost write for 7 s; asking again is quicker. */
const ANSWER_MS_MAX = 2_000;
const WAIT = { timeout: 15_000, interval: 20 };
/** Far over what was measured; a client that repeats or waits on its own takes 7 to 15 s. */
const STOPPED_MS_MAX = 6_000;

const clusters: RealEtcd[] = [];
const proxies: EtcdProxy[] = [];
const stores: Store[] = [];

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const proxy of proxies.splice(0)) proxy.close();
  for (const cluster of clusters.splice(0)) await cluster.stop();
});

async function start(members: 1 | 3): Promise<RealEtcd> {
  const etcd = await RealEtcd.start({ members });
  clusters.push(etcd);
  return etcd;
}

async function open(endpoints: readonly string[]): Promise<Store> {
  const store = await openEtcdStore({ endpoints, prefix: "faults" });
  stores.push(store);
  return store;
}

async function before(port: number): Promise<EtcdProxy> {
  const proxy = await EtcdProxy.before(port);
  proxies.push(proxy);
  return proxy;
}

describe.skipIf(whyNoEtcd() !== null)("three members of etcd", () => {
  let etcd: RealEtcd;
  beforeEach(async () => {
    etcd = await start(3);
  });

  test.for([
    ["is killed", "SIGKILL"],
    ["is frozen", "SIGSTOP"],
  ] as const)(
    "no increment is lost or doubled when the leader %s",
    { timeout: 60_000 },
    async ([, signal]) => {
      const urls = etcd.urls;
      const handles = [
        await open(urls),
        await open([urls[1]!, urls[2]!, urls[0]!]),
        await open([urls[2]!, urls[0]!, urls[1]!]),
      ];
      let acknowledged = 0;
      let stopped = false;
      let lastMs = performance.now();
      let longestMs = 0;
      const counting = handles.map((store, i) =>
        count(
          store,
          `handle-${i}`,
          () => stopped,
          () => {
            acknowledged += 1;
            const nowMs = performance.now();
            longestMs = Math.max(longestMs, nowMs - lastMs);
            lastMs = nowMs;
          },
        ),
      );
      await vi.waitUntil(() => acknowledged > 100, WAIT);
      const leader = await etcd.leader();
      const atFault = acknowledged;
      etcd.signal(leader, signal);
      await vi.waitUntil(() => acknowledged > atFault + 100, WAIT);
      if (signal === "SIGSTOP") {
        etcd.signal(leader, "SIGCONT");
        const atThaw = acknowledged;
        await vi.waitUntil(() => acknowledged > atThaw + 100, WAIT);
      }
      stopped = true;
      await Promise.all(counting);
      const { total, nonces } = await readCounter(handles[0]!);
      expect(total).toBe(acknowledged);
      expect(Object.keys(nonces)).toHaveLength(3);
      expect(longestMs).toBeLessThan(STOPPED_MS_MAX);
      console.log(`writes stopped for ${Math.round(longestMs)} ms when the leader got ${signal}`);
    },
  );

  test("a watch goes on when its member is frozen, and without a quorum calls are unknown", async () => {
    const watcher = await open(etcd.urls);
    const writer = await open([etcd.urls[1]!, etcd.urls[2]!]);
    const told: Change[] = [];
    watcher.watch("w/", 0, (change) => told.push(change));
    await insist(writer, put("w/before"));
    await vi.waitUntil(() => told.length === 1, WAIT);
    etcd.signal(0, "SIGSTOP");
    await insist(writer, put("w/meanwhile"));
    // The members read all the time; the first answer that does not come moves the watch.
    await watcher.transact({ compare: [], puts: [], reads: ["w/"] }, DEADLINE_MS);
    await vi.waitUntil(() => told.length === 2, WAIT);
    etcd.signal(0, "SIGCONT");
    await etcd.kill(1);
    await etcd.kill(2);
    const outcome = await watcher.transact(put("w/alone"), DEADLINE_MS);
    expect(outcome.outcome).toBe("unknown");
  });
});

describe.skipIf(whyNoEtcd() !== null)("one member of etcd", () => {
  let etcd: RealEtcd;
  let proxy: EtcdProxy;
  beforeEach(async () => {
    etcd = await start(1);
    proxy = await before(etcd.ports[0]!);
  });

  test("a lost answer is unknown, never rejected, and the write was made once", async () => {
    const [store, direct] = [await open([proxy.url]), await open(etcd.urls)];
    const made = await insist(store, put("a"));
    proxy.dropsAnswers = true;
    const lost: Transaction = {
      compare: [{ key: "a", revision: made.revision }],
      puts: [{ key: "a", value: "nonce" }],
      reads: [],
    };
    expect((await store.transact(lost, DEADLINE_MS)).outcome).toBe("unknown");
    proxy.dropsAnswers = false;
    const after = await insist(direct, { compare: [], puts: [], reads: ["a"] });
    expect(after.read).toEqual([{ key: "a", value: "nonce", revision: made.revision + 1 }]);
    // The connection on which nothing came back was given up.
    expect((await insist(store, { ...lost, reads: ["a"] })).outcome).toBe("rejected");
    expect(after.revision).toBe(made.revision + 1);
  });

  test("an answer that is cut off is unknown, and only what reads is asked again", async () => {
    const store = await open([proxy.url, etcd.urls[0]!]);
    const made = await insist(store, put("a"));
    const once: Transaction = { ...put("b"), compare: [{ key: "b", revision: 0 }] };
    proxy.dropsAnswers = true;
    const write = store.transact(once, LONG_DEADLINE_MS);
    await vi.waitUntil(() => exists(etcd, "/quorate/faults/b"), WAIT);
    proxy.cut();
    // Asked again of the other address, it would be rejected by its own first try.
    expect((await write).outcome).toBe("unknown");
    proxy.dropsAnswers = false;
    const other = await before(etcd.ports[0]!);
    const reader = await open([other.url, etcd.urls[0]!]);
    other.dropsAnswers = true;
    const read = reader.transact({ compare: [], puts: [], reads: ["b"] }, LONG_DEADLINE_MS);
    await vi.waitUntil(() => other.dropped > 0, WAIT);
    other.cut();
    expect(await read).toMatchObject({ outcome: "applied", revision: made.revision + 1 });
  });

  test("a connection on which nothing comes back is replaced by a new one", async () => {
    const store = await open([proxy.url]);
    const told: Change[] = [];
    store.watch("", 0, (change) => told.push(change));
    await insist(store, put("a"));
    await vi.waitUntil(() => told.length === 1, WAIT);
    proxy.mute();
    expect((await store.transact(put("b"), DEADLINE_MS)).outcome).toBe("unknown");
    // Its pings would notice only after 10 s, twice the length of a lease.
    expect((await store.transact(put("c"), ANSWER_MS_MAX)).outcome).toBe("applied");
    await vi.waitUntil(() => told.at(-1)?.key === "c", WAIT);
  });

  test("a write whose compares were checked before fails when a key was deleted since", async () => {
    const store = await open(etcd.urls);
    const { revision } = await insist(store, put("a"));
    const name = "the test's own client";
    const client = new EtcdClient(name, etcd.urls, () => ChannelCredentials.createInsecure(), null);
    const since = () => toTxnSince("/quorate/faults/", put("b"), revision);
    const written = async () => (await client.call(TXN, since(), DEADLINE_MS, false)).succeeded;
    try {
      await insist(store, { compare: [], puts: [], deletes: ["absent"], reads: [] });
      expect(await written()).toBe(true);
      await insist(store, { compare: [], puts: [], deletes: ["b"], reads: [] });
      expect(await written()).toBe(false);
    } finally {
      client.close();
    }
  });

  test("what was certainly not sent goes to another member within the deadline", async () => {
    const refusing = await before(etcd.ports[0]!);
    refusing.refuses = true;
    const store = await open([refusing.url, etcd.urls[0]!]);
    for (let i = 0; i < 20; i += 1) {
      expect((await store.transact(put(`k${i}`), DEADLINE_MS)).outcome).toBe("applied");
    }
    expect(refusing.taken).toBe(0);
  });

  test("a watch that is cut twice while it resumes tells every change", async () => {
    const [watcher, writer] = [await open([proxy.url]), await open(etcd.urls)];
    const told: Change[] = [];
    watcher.watch("w/", 0, (change) => told.push(change));
    const big = "v".repeat(10_000);
    const changes = 300;
    for (let i = 0; i < changes; i += 1) {
      // The first cut loses the stream, the second one hits it while it catches up.
      if (i === 50) {
        proxy.refuses = true;
        proxy.cut();
      }
      if (i === 200) proxy.refuses = false;
      if (i > 200 && i % 20 === 0) proxy.cut();
      await insist(writer, { ...put(`w/${i}`), puts: [{ key: `w/${i}`, value: big }] });
    }
    await vi.waitUntil(() => new Set(told.map(({ key }) => key)).size === changes, WAIT);
    const revisions = told.map(({ revision }) => revision);
    expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
  });

  test("a watch that is cut inside one revision tells the rest of that revision", async () => {
    const [watcher, writer] = [await open([proxy.url]), await open(etcd.urls)];
    // etcd sends what is larger than 1.5 MiB in pieces, and these revisions are 1.2 MB each.
    const [revisions, keys, value] = [6, 40, "v".repeat(30_000)];
    const start = await insist(writer, put("before"));
    for (let i = 0; i < revisions; i += 1) {
      const puts = Array.from({ length: keys }, (_, j) => ({ key: `w/${i}-${j}`, value }));
      await insist(writer, { compare: [], puts, reads: [] });
    }
    const told: Change[] = [];
    watcher.watch("w/", start.revision, (change) => {
      told.push(change);
      if ([10, 60, 130].includes(told.length)) proxy.cut();
    });
    await vi.waitUntil(() => told.at(-1)?.key.startsWith(`w/${revisions - 1}-`), WAIT);
    await insist(writer, put("w/last"));
    await vi.waitUntil(() => told.at(-1)?.key === "w/last", WAIT);
    expect(new Set(told.map(({ key }) => key)).size).toBe(revisions * keys + 1);
  });

  test("after a compaction a watch tells what is there and what is gone", async () => {
    const [watcher, writer] = [await open([proxy.url]), await open(etcd.urls)];
    const told: Change[] = [];
    watcher.watch("w/", 0, (change) => told.push(change));
    await insist(writer, put("w/gone"));
    await insist(writer, put("w/kept"));
    await vi.waitUntil(() => told.length === 2, WAIT);
    proxy.refuses = true;
    proxy.cut();
    await insist(writer, { compare: [], puts: [], deletes: ["w/gone"], reads: [] });
    await insist(writer, put("w/new"));
    const last = await insist(writer, put("w/new"));
    execFileSync("etcdctl", ["--endpoints", etcd.urls[0]!, "compact", String(last.revision)], {
      env: { ...process.env, ETCDCTL_API: "3" },
    });
    proxy.refuses = false;
    await vi.waitUntil(() => told.length === 4, WAIT);
    expect(told.slice(2)).toEqual([
      { key: "w/new", value: "1", revision: last.revision },
      { key: "w/gone", value: null, revision: last.revision },
    ]);
    await insist(writer, put("w/after"));
    await vi.waitUntil(() => told.length === 5, WAIT);
  });

  test("another cluster at the same address is a lost store, and nothing is written to it", async () => {
    const other = await start(1);
    const [store, direct] = [await open([proxy.url]), await open(other.urls)];
    await insist(store, put("a"));
    const empty = await insist(direct, { compare: [], puts: [], reads: [] });
    proxy.target = other.ports[0]!;
    proxy.cut();
    await vi.waitFor(
      () => expect(store.transact(put("b"), DEADLINE_MS)).rejects.toThrow(StoreLostError),
      WAIT,
    );
    await expect(store.transact(put("b"), DEADLINE_MS)).rejects.toThrow("quorate pool rebuild");
    const after = await insist(direct, { compare: [], puts: [], reads: ["b"] });
    expect(after).toEqual({ ...empty, read: [] });
  });

  test("a member that starts again is used again", async () => {
    const store = await open(etcd.urls);
    const told: Change[] = [];
    store.watch("", 0, (change) => told.push(change));
    const made = await insist(store, put("a"));
    await etcd.kill(0);
    expect((await store.transact(put("b"), DEADLINE_MS)).outcome).toBe("unknown");
    etcd.startMember(0);
    const again = await insist(store, put("c"));
    expect(again.revision).toBeGreaterThan(made.revision);
    await vi.waitUntil(() => told.some(({ key }) => key === "c"), WAIT);
  });

  test("a transaction of many compares sees deletions and changes of the compared keys", async () => {
    const store = await open(etcd.urls);
    const keys = Array.from({ length: 200 }, (_, i) => `k/${String(i).padStart(3, "0")}`);
    const all = (value: string): Transaction["puts"] => keys.map((key) => ({ key, value }));
    const made = await insist(store, { compare: [], puts: all("1"), reads: [] });
    const compare = keys.map((key) => ({ key, revision: made.revision }));
    const other = await open(etcd.urls);
    // Changes elsewhere in the pool, all the time, must not make it fail.
    const stop = new AbortController();
    const busy = (async () => {
      while (!stop.signal.aborted) await insist(other, put("busy"));
    })();
    const second = await insist(store, { compare, puts: all("2"), reads: ["k/"] });
    stop.abort();
    await busy;
    expect(second.outcome).toBe("applied");
    expect(second.read.every(({ revision }) => revision === second.revision)).toBe(true);
    await insist(other, { compare: [], puts: [], deletes: [keys[7]!], reads: [] });
    const now = keys.map((key) => ({ key, revision: second.revision }));
    const stale = await insist(store, { compare: now, puts: all("3"), reads: ["k/"] });
    expect(stale.outcome).toBe("rejected");
    expect(stale.read).toHaveLength(keys.length - 1);
    // Deletions leave a mark of their own, which nobody is shown.
    const watched: Change[] = [];
    other.watch("", 0, (change) => watched.push(change));
    await vi.waitUntil(() => watched.length > 0, WAIT);
    expect(watched.filter(({ key }) => key.includes("\0"))).toEqual([]);
  });

  test("a prefix of more keys than one page is read whole, and as of one revision", async () => {
    const store = await open(etcd.urls);
    for (let i = 0; i < 3; i += 1) {
      const puts = Array.from({ length: 1_000 }, (_, j) => ({ key: `p/${i}-${j}`, value: "1" }));
      await insist(store, { compare: [], puts, reads: [] });
    }
    const { read } = await insist(store, { compare: [], puts: [], reads: ["p/"] });
    expect(read).toHaveLength(3_000);
    const told: Change[] = [];
    store.watch("p/", 0, (change) => told.push(change));
    await vi.waitUntil(() => told.length === 3_000, WAIT);
  });
});

interface Counter {
  readonly total: number;
  /** The last nonce of each writer, so that an unknown write can be recognised. */
  readonly nonces: Readonly<Record<string, string>>;
}

/** Increments by compare-and-swap until told to stop; each increment is told once it is known to be made. */
async function count(
  store: Store,
  writer: string,
  isOver: () => boolean,
  onMade: () => void,
): Promise<void> {
  for (let i = 0; !isOver(); i += 1) {
    const nonce = `${writer}/${i}`;
    for (;;) {
      const now = await readCounter(store);
      // Found although the answer was lost: it was applied after all.
      if (now.nonces[writer] === nonce) break;
      const next = { total: now.total + 1, nonces: { ...now.nonces, [writer]: nonce } };
      const outcome = await store.transact(
        {
          compare: [{ key: "counter", revision: now.revision }],
          puts: [{ key: "counter", value: JSON.stringify(next) }],
          reads: [],
        },
        DEADLINE_MS,
      );
      if (outcome.outcome === "applied") break;
      if (outcome.outcome === "unknown" && (await settle(store, now.revision, writer, nonce)))
        break;
    }
    onMade();
  }
}

/** An unknown write is over once the key has moved past the revision that it compared. */
async function settle(
  store: Store,
  compared: number,
  writer: string,
  nonce: string,
): Promise<boolean> {
  for (;;) {
    const now = await readCounter(store);
    if (now.revision > compared) return now.nonces[writer] === nonce;
    const { total, nonces } = now;
    await store.transact(
      {
        compare: [{ key: "counter", revision: compared }],
        puts: [{ key: "counter", value: JSON.stringify({ total, nonces }) }],
        reads: [],
      },
      DEADLINE_MS,
    );
  }
}

async function readCounter(store: Store): Promise<Counter & { readonly revision: number }> {
  for (;;) {
    const read = { compare: [], puts: [], reads: ["counter"] };
    const outcome = await store.transact(read, DEADLINE_MS);
    if (outcome.outcome === "unknown") continue;
    const [found] = outcome.read;
    const value =
      found === undefined ? { total: 0, nonces: {} } : (JSON.parse(found.value) as Counter);
    return { ...value, revision: found?.revision ?? 0 };
  }
}

/** Until there is an answer; only for what may be repeated. */
async function insist(
  store: Store,
  transaction: Transaction,
): Promise<Exclude<Outcome, { outcome: "unknown" }>> {
  for (;;) {
    const outcome = await store.transact(transaction, ANSWER_MS_MAX);
    if (outcome.outcome !== "unknown") return outcome;
  }
}

function put(key: string): Transaction {
  return { compare: [], puts: [{ key, value: "1" }], reads: [] };
}

function exists(etcd: RealEtcd, key: string): boolean {
  const args = ["--endpoints", etcd.urls[0]!, "get", "--keys-only", key];
  const env = { ...process.env, ETCDCTL_API: "3" };
  return execFileSync("etcdctl", args, { env }).includes(key);
}
