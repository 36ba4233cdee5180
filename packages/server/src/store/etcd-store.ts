/**
 * The store of a pool on several machines: an etcd cluster, version 3.4 or later.
 *
 * All of a pool's keys lie under one prefix, which its callers never see. There are deliberately no leases of
 * etcd's in use, no serializable reads and no repeated writes: whoever is in doubt looks for his nonce.
 */
import { EtcdSetupError } from "./etcd-address.ts";
import { watchCertificates } from "./etcd-certificates.ts";
import { EtcdClient, EtcdUnknown } from "./etcd-client.ts";
import { RANGE, TXN, type TxnResponse } from "./etcd-messages.ts";
import { type EtcdStoreOptions, checked } from "./etcd-options.ts";
import {
  COMPARES_MAX,
  isMark,
  rangeOf,
  rangesOf,
  toCheck,
  toKeyValue,
  toPermissionProbe,
  toTxn,
  toTxnSince,
} from "./etcd-transaction.ts";
import { awaySentence, setupSentence } from "./etcd-trouble.ts";
import { EtcdWatch } from "./etcd-watch.ts";
import type { Change, KeyValue, Outcome, Store, Transaction, Watch } from "./store.ts";
import { checkTransaction, isPrefix, orderedByKey } from "./transaction-bounds.ts";

/**
 * How long writes stop when etcd's leader is killed or frozen, ms: 0.9 to 2.1 s were measured with etcd's own timing
 * (heartbeat 100 ms, election 1,000 ms) and 2.9 s after a split vote. A longer gap costs take-overs, never safety.
 */
const FAILOVER_GAP_MS = 2_500;
/** How long opening waits for the first answer before it leaves an etcd that is away to the calls, ms. */
const OPEN_MS_MAX = 3_000;
/** The calls give up this much before the deadline, ms, so that their reason still arrives; a tenth at most. */
const ANSWER_MARGIN_MS = 20;
/** Transactions without an answer yet; more are refused unsent. */
const PENDING_MAX = 4_096;
const WATCHES_MAX = 1_000;
/** How often a transaction with many compares starts again because the pool was written meanwhile. */
const MANY_COMPARES_TRIES_MAX = 20;
/** Pages after the first that one prefix may have. */
const PAGES_MAX = 100;

/**
 * Opens the store. An etcd that is away is waited for by the calls, not here. Rejects with EtcdSetupError for
 * what waiting can't mend: files, certificates, names, users, permissions, something that is no etcd.
 */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<Store> {
  const { endpoints, root, user, credentials, certificates } = checked(options);
  const onWarning = options.onWarning ?? (() => {});
  const name = `etcd:${endpoints.join(",")}`;
  const client = new EtcdClient(name, endpoints, credentials, user);
  try {
    await probe(client, root, onWarning);
  } catch (error) {
    client.close();
    throw error;
  }
  const watch =
    certificates === null
      ? null
      : watchCertificates(
          certificates,
          { onRenewed: (renewed) => client.useCredentials(renewed), onWarning },
          options.certificatesLookMs,
        );
  return new EtcdStore(name, root, client, watch);
}

interface Closes {
  close(): void;
}

class EtcdStore implements Store {
  readonly name: string;
  readonly failoverGapMs = FAILOVER_GAP_MS;
  readonly #root: string;
  readonly #client: EtcdClient;
  readonly #certificates: Closes | null;
  readonly #watches = new Set<EtcdWatch>();
  readonly #running = new Set<Promise<void>>();
  #pending = 0;

  constructor(name: string, root: string, client: EtcdClient, certificates: Closes | null) {
    this.name = name;
    this.#root = root;
    this.#client = client;
    this.#certificates = certificates;
  }

  async transact(transaction: Transaction, deadlineMs: number): Promise<Outcome> {
    checkTransaction(transaction);
    if (this.#client.lost !== null) throw this.#client.lost;
    if (this.#client.isClosed) return unknown("the store was closed");
    if (this.#pending >= PENDING_MAX) return unknown("too many transactions are waiting");
    this.#pending += 1;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Outcome>((resolve) => {
      const reason = `${this.name} gave no answer within ${deadlineMs} ms`;
      timer = setTimeout(() => resolve(unknown(reason)), deadlineMs);
    });
    try {
      const margin = Math.min(ANSWER_MARGIN_MS, deadlineMs / 10);
      return await Promise.race([this.#decide(transaction, deadlineMs - margin), late]);
    } catch (error) {
      if (error instanceof EtcdUnknown) return unknown(error.message);
      throw error;
    } finally {
      clearTimeout(timer);
      this.#pending -= 1;
    }
  }

  watch(prefix: string, fromRevision: number, onChange: (change: Change) => void): Watch {
    if (this.#watches.size >= WATCHES_MAX) throw new RangeError(`over ${WATCHES_MAX} watches`);
    const watch = new EtcdWatch(this.#client, this.#root, prefix, fromRevision, onChange);
    this.#watches.add(watch);
    const running = watch.run().finally(() => {
      this.#watches.delete(watch);
      this.#running.delete(running);
    });
    this.#running.add(running);
    return { close: () => watch.close() };
  }

  async close(): Promise<void> {
    this.#certificates?.close();
    for (const watch of this.#watches) watch.close();
    this.#client.close();
    await Promise.all(this.#running);
  }

  async #decide(transaction: Transaction, deadlineMs: number): Promise<Outcome> {
    const endAtMs = performance.now() + deadlineMs;
    if (transaction.compare.length > COMPARES_MAX) return this.#decideMany(transaction, endAtMs);
    const onlyReads = transaction.puts.length + (transaction.deletes ?? []).length === 0;
    const request = toTxn(this.#root, transaction);
    const response = await this.#client.call(TXN, request, deadlineMs, onlyReads);
    const outcome = response.succeeded ? "applied" : "rejected";
    return this.#outcome(outcome, transaction, response, 0, endAtMs);
  }

  /** More compares than etcd allows: look first, then write if the pool was not written since. */
  async #decideMany(transaction: Transaction, endAtMs: number): Promise<Outcome> {
    const { compare } = transaction;
    for (let tries = 0; tries < MANY_COMPARES_TRIES_MAX; tries += 1) {
      const check = toCheck(this.#root, transaction);
      const seen = await this.#client.call(TXN, check, endAtMs - performance.now(), true);
      const ranges = rangesOf(seen.responses);
      const holds = compare.every(
        ({ revision }, i) => (ranges[i]?.kvs[0]?.modRevision ?? 0) === revision,
      );
      if (!holds) return this.#outcome("rejected", transaction, seen, compare.length, endAtMs);
      const request = toTxnSince(this.#root, transaction, seen.header?.revision ?? 0);
      const response = await this.#client.call(TXN, request, endAtMs - performance.now(), false);
      if (response.succeeded) return this.#outcome("applied", transaction, response, 0, endAtMs);
    }
    return unknown("the pool was written too often to check so many keys at once");
  }

  /** `skip` ranges of the answer come before those of `reads`. */
  async #outcome(
    outcome: "applied" | "rejected",
    { reads }: Transaction,
    response: TxnResponse,
    skip: number,
    endAtMs: number,
  ): Promise<Outcome> {
    const revision = response.header?.revision ?? 0;
    const ranges = rangesOf(response.responses).slice(skip);
    if (ranges.length !== reads.length) {
      return unknown(`${this.name} answered ${ranges.length} of ${reads.length} reads`);
    }
    const found: KeyValue[] = [];
    for (const [i, read] of reads.entries()) {
      let page = ranges[i]!;
      for (let pages = 0; ; pages += 1) {
        for (const kv of page.kvs) {
          if (!isMark(this.#root, kv.key)) found.push(toKeyValue(this.#root, kv));
        }
        const last = page.kvs.at(-1);
        if (!page.more || !isPrefix(read) || last === undefined) break;
        if (pages >= PAGES_MAX) return unknown(`${read} has too many keys to be read`);
        const rest = { ...rangeOf(this.#root, read), key: `${last.key}\0`, revision };
        page = await this.#client.call(RANGE, rest, endAtMs - performance.now(), true);
      }
    }
    return { outcome, revision, read: orderedByKey(found) };
  }
}

/** Asks all members; one that shows that the pool's keys can be read and written is enough. */
async function probe(
  client: EtcdClient,
  root: string,
  onWarning: (sentence: string) => void,
): Promise<void> {
  const setup: string[] = [];
  const away: string[] = [];
  await Promise.all(
    client.endpoints.map(async (endpoint) => {
      try {
        await endpoint.ready(OPEN_MS_MAX);
        const metadata = await client.metadata(endpoint);
        const { header } = await endpoint.call(TXN, toPermissionProbe(root), metadata, OPEN_MS_MAX);
        client.inspect(header);
      } catch (error) {
        const sentence = setupSentence(endpoint.url, error);
        if (sentence !== null) setup.push(sentence);
        else away.push(awaySentence(endpoint.url, error));
      }
    }),
  );
  if (client.lost !== null) {
    throw new EtcdSetupError(
      "the addresses of etcd belong to different clusters; give those of one cluster",
    );
  }
  const good = client.endpoints.length - setup.length - away.length;
  if (good === 0 && setup.length > 0) throw new EtcdSetupError(setup[0]);
  for (const sentence of [...setup, ...away]) onWarning(sentence);
}

function unknown(reason: string): Outcome {
  return { outcome: "unknown", reason };
}
