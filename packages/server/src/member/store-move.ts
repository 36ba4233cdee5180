/**
 * Moves a pool's store to another place: from the SQLite file of one machine to etcd. Sessions survive, because
 * they are in the members' journals; what is copied is who may grant how much, and in which epoch.
 *
 *   every server stopped --fence the old store, one write that compares all member records-->
 *   copy --the new store's id, last--> done
 *
 * The fence takes the old store's id away, so that a server that starts there by mistake grants nothing: its
 * first renewal reads the id in the same commit. The copy begins AFTER the fence. Every write into the new store
 * compares that its id is still absent, so that no late one meets a pool at work. Whatever of this was done
 * before is not done again.
 */
import { isDeepStrictEqual } from "node:util";
import { ForPeople } from "../keys/for-people.ts";
import type { KeyValue, Outcome, Store, Transaction } from "../store/store.ts";
import {
  ALL_KEYS,
  MEMBER_PREFIX,
  type MemberRecord,
  type MovedFrom,
  STORE_KEY,
  type StoreRecord,
} from "./keys.ts";

const CALL_MS = 2_000;
const TRIES_MAX = 15;
/** Of keys and values together in one write: a third of what etcd takes by default. */
const CHUNK_BYTES_MAX = 512 * 1024;
const CHUNK_KEYS_MAX = 100;

type Answer = Exclude<Outcome, { readonly outcome: "unknown" }>;

/** Throws ForPeople when it can't be done; `nonce` makes ids. True: it was moved now or before. */
export async function moveStore(from: Store, to: Store, nonce: () => string): Promise<void> {
  const there = recordOf(await reading(to, [STORE_KEY]));
  const fence = await fenced(from, to, there, nonce);
  const next: StoreRecord = {
    id: fence.movedTo,
    rebuilds: fence.rebuilds,
    nonces: {},
    movedFrom: fence.movedAs,
  };
  if (there === null) await copy(from, to, next);
  const now = recordOf(await reading(to, [STORE_KEY]));
  if (!isDeepStrictEqual(now?.movedFrom, fence.movedAs)) throw holdsAnother(to);
}

interface Fence extends StoreRecord {
  readonly movedTo: string;
  readonly movedAs: MovedFrom;
}

/** The old store's record once nobody grants by it any more. */
async function fenced(
  from: Store,
  to: Store,
  there: StoreRecord | null,
  nonce: () => string,
): Promise<Fence> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const before = await reading(from, [STORE_KEY, MEMBER_PREFIX]);
    const record = recordOf(before);
    if (record === null) {
      throw new ForPeople(`${from.name} holds no pool's store; correct --store-from`);
    }
    if (isFence(record)) return record;
    if (there !== null) throw holdsAnother(to);
    refuseLiving(before.read, from);
    const fence: Fence = {
      ...record,
      // Nobody's: a server that knows the old id or the new one must not know this one.
      id: nonce(),
      movedTo: nonce(),
      movedAs: { id: record.id, revision: before.revision },
    };
    // Written or not: the next look says it.
    await from.transact(
      {
        compare: before.read.map(({ key, revision }) => ({ key, revision })),
        puts: [{ key: STORE_KEY, value: JSON.stringify(fence) }],
        reads: [],
      },
      CALL_MS,
    );
  }
  throw new ForPeople(`${from.name} could not be written; look at its disk and start this again`);
}

function refuseLiving(read: readonly KeyValue[], from: Store): void {
  for (const { key, value } of read) {
    if (!key.startsWith(MEMBER_PREFIX)) continue;
    const { state } = JSON.parse(value) as MemberRecord;
    if (state === "stopped" || state === "removed" || state === "broken") continue;
    const id = key.slice(MEMBER_PREFIX.length);
    throw new ForPeople(
      `${id} did not stop on purpose in ${from.name}: it still runs there, or it died. ` +
        `Stop it with SIGTERM (start it there first if it died), then start this again`,
    );
  }
}

async function copy(from: Store, to: Store, record: StoreRecord): Promise<void> {
  const { read } = await reading(from, ALL_KEYS);
  const absent = { compare: [{ key: STORE_KEY, revision: 0 }], reads: [] };
  for (const puts of chunksOf(read.filter(({ key }) => key !== STORE_KEY))) {
    await settled(to, { ...absent, puts });
  }
  await settled(to, { ...absent, puts: [{ key: STORE_KEY, value: JSON.stringify(record) }] });
}

function chunksOf(values: readonly KeyValue[]): { key: string; value: string }[][] {
  const chunks: { key: string; value: string }[][] = [];
  let bytes = Infinity;
  for (const { key, value } of values) {
    const more = Buffer.byteLength(key) + Buffer.byteLength(value);
    const last = chunks.at(-1);
    if (last === undefined || bytes + more > CHUNK_BYTES_MAX || last.length === CHUNK_KEYS_MAX) {
      chunks.push([{ key, value }]);
      bytes = more;
    } else {
      last.push({ key, value });
      bytes += more;
    }
  }
  return chunks;
}

function reading(store: Store, reads: readonly string[]): Promise<Answer> {
  return settled(store, { compare: [], puts: [], reads });
}

/** Each of these may be done twice without harm, so an unknown outcome is simply tried again. */
async function settled(store: Store, transaction: Transaction): Promise<Answer> {
  let reason = "";
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const outcome = await store.transact(transaction, CALL_MS);
    if (outcome.outcome !== "unknown") return outcome;
    reason = outcome.reason;
  }
  throw new ForPeople(`the pool's store can't be moved: ${reason}`);
}

function recordOf({ read }: Answer): StoreRecord | null {
  const found = read.find(({ key }) => key === STORE_KEY);
  return found === undefined ? null : (JSON.parse(found.value) as StoreRecord);
}

function isFence(record: StoreRecord): record is Fence {
  return record.movedTo !== undefined && record.movedAs !== undefined;
}

function holdsAnother(to: Store): ForPeople {
  return new ForPeople(
    `${to.name} holds another pool's store; give an empty one, or leave --store-from out`,
  );
}
