/**
 * A watch that outlives its connections.
 *
 *   listing --told all present--> streaming --cut, refused, member down--> pause --> streaming
 *      ^                              |
 *      +---- compacted, or the store went back
 *
 * It resumes after the last revision that was told WHOLE, however often it is cut: what was told of a
 * revision before a cut is told again rather than lost. After a compaction it lists and tells what changed; keys
 * that it had told and that are gone are told as deleted, at the revision of the list.
 */
import { EtcdUnknown, type EtcdClient } from "./etcd-client.ts";
import {
  EVENT_DELETE,
  type EtcdKeyValue,
  RANGE,
  type RangeResponse,
  WATCH,
  type WatchResponse,
} from "./etcd-messages.ts";
import { endOfPrefix, isMark, rangeOf, toKeyValue } from "./etcd-transaction.ts";
import { StoreLostError } from "./store.ts";
import type { Change } from "./store.ts";

const RETRY_MS_FIRST = 50;
const RETRY_MS_MAX = 1_000;
/** A member that has not begun a watch within this, ms, is taken for down. */
const BEGIN_MS_MAX = 2_000;
const LIST_MS_MAX = 5_000;
/** With PAGE_KEYS_MAX keys each: more than any pool has. */
const PAGES_MAX = 100;
/** Keys whose deletion can still be told after a compaction. */
const KNOWN_KEYS_MAX = 20_000;

type End = "again" | "compacted";

export class EtcdWatch {
  readonly #client: EtcdClient;
  readonly #root: string;
  readonly #prefix: string;
  readonly #onChange: (change: Change) => void;
  readonly #known = new Set<string>();
  /** All changes up to this revision were told. */
  #last: number;
  #closed = false;
  #end: (() => void) | null = null;
  #retryMs = RETRY_MS_FIRST;

  constructor(
    client: EtcdClient,
    root: string,
    prefix: string,
    fromRevision: number,
    onChange: (change: Change) => void,
  ) {
    this.#client = client;
    this.#root = root;
    this.#prefix = prefix;
    this.#onChange = onChange;
    this.#last = fromRevision;
  }

  close(): void {
    this.#closed = true;
    this.#end?.();
  }

  /** Resolves when it is closed, or when the store is another one. */
  async run(): Promise<void> {
    // From the very start a list tells all in one answer, where etcd would repeat its history.
    let end: End = this.#last === 0 ? "compacted" : "again";
    while (!this.#over) {
      try {
        const listed = end === "compacted";
        if (listed) await this.#list();
        end = "again";
        end = await this.#stream(listed);
      } catch (error) {
        if (error instanceof StoreLostError) return;
        if (!(error instanceof EtcdUnknown)) throw error;
      }
      if (this.#over) return;
      await this.#client.pause(this.#retryMs);
      this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS_MAX);
    }
  }

  get #over(): boolean {
    return this.#closed || this.#client.isClosed;
  }

  async #list(): Promise<void> {
    const all = rangeOf(this.#root, "");
    const range = {
      ...all,
      key: this.#root + this.#prefix,
      rangeEnd: endOfPrefix(this.#root + this.#prefix),
    };
    let page: RangeResponse = await this.#client.call(RANGE, range, LIST_MS_MAX, true);
    const revision = page.header?.revision ?? 0;
    const found: EtcdKeyValue[] = [...page.kvs];
    for (let pages = 1; page.more && pages < PAGES_MAX; pages += 1) {
      const key = `${found.at(-1)?.key ?? ""}\0`;
      page = await this.#client.call(RANGE, { ...range, key, revision }, LIST_MS_MAX, true);
      found.push(...page.kvs);
    }
    // A store that was put back to an older state: everything is new then.
    if (revision < this.#last) this.#last = 0;
    const present = new Set(found.map(({ key }) => key));
    const changed = found
      .filter(({ modRevision }) => modRevision > this.#last)
      .sort((a, b) => a.modRevision - b.modRevision);
    for (const entry of changed) this.#tell(entry, entry.value);
    for (const key of this.#known) {
      if (!present.has(key)) this.#tell({ key, modRevision: revision }, null);
    }
    this.#last = Math.max(this.#last, revision);
  }

  async #stream(listed: boolean): Promise<End> {
    const endpoint = await this.#client.readyEndpoint(BEGIN_MS_MAX);
    const metadata = await this.#client.metadata(endpoint).catch((error: unknown) => {
      throw new EtcdUnknown(String(error));
    });
    if (this.#over) return "again";
    return new Promise<End>((resolve) => {
      const stream = endpoint.stream(WATCH, metadata);
      const notBegun = setTimeout(() => endpoint.down(), BEGIN_MS_MAX);
      const stopListening = endpoint.onDown(() => finish("again"));
      let over = false;
      const finish = (end: End): void => {
        if (over) return;
        over = true;
        clearTimeout(notBegun);
        stopListening();
        this.#end = null;
        stream.cancel();
        resolve(end);
      };
      this.#end = () => finish("again");
      // Cancelling is told as an error, too; every reason for a cut leads to the same.
      stream.on("error", () => finish("again"));
      stream.on("end", () => finish("again"));
      stream.on("data", (response: WatchResponse) => {
        if (over) return;
        if (response.created) clearTimeout(notBegun);
        const end = this.#receive(response, listed);
        if (end !== null) finish(end);
      });
      const key = this.#root + this.#prefix;
      // In fragments: a long absence would come as one message, larger than may be received.
      const create = { key, rangeEnd: endOfPrefix(key), startRevision: this.#last + 1 };
      stream.write({ create: { ...create, fragment: true } });
    });
  }

  /** Not null: the stream is over. */
  #receive(response: WatchResponse, listed: boolean): End | null {
    try {
      this.#client.inspect(response.header);
    } catch {
      // The next call finds the store lost and says so.
      return "again";
    }
    if (response.compactRevision > 0) return "compacted";
    if (response.canceled) {
      // An old token is one of the reasons, and etcd 3.4 does not tell it from a missing permission.
      if (/permission denied|auth/.test(response.cancelReason)) this.#client.forgetToken();
      return "again";
    }
    if (response.created) {
      this.#retryMs = RETRY_MS_FIRST;
      // This member is behind, or etcd was put back to an older state: a list finds out which.
      if (!listed && (response.header?.revision ?? 0) < this.#last) return "compacted";
    }
    for (const { type, kv } of response.events) {
      if (kv !== null) this.#tell(kv, type === EVENT_DELETE ? null : kv.value);
    }
    const newest = response.events.at(-1)?.kv?.modRevision;
    // The rest of a fragment's last revision may still come.
    if (newest !== undefined) this.#last = response.fragment ? newest - 1 : newest;
    return null;
  }

  #tell(entry: { readonly key: string; readonly modRevision: number }, value: string | null): void {
    if (isMark(this.#root, entry.key) || this.#over) return;
    if (value === null) this.#known.delete(entry.key);
    else if (this.#known.size < KNOWN_KEYS_MAX) this.#known.add(entry.key);
    const { key, revision } = toKeyValue(this.#root, { ...entry, value: "" });
    this.#onChange({ key, revision, value });
  }
}
