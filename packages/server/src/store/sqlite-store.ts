/**
 * The store of an embedded pool: a SQLite file that the members of one machine share.
 *
 * This side only counts deadlines and passes messages; the file is the worker's. Whatever the worker is
 * doing, `transact` answers within its deadline. There is deliberately no retry here.
 */
import { Worker } from "node:worker_threads";
import type { FromWorker, ToWorker } from "./sqlite-store-worker.ts";
import { StoreLostError } from "./store.ts";
import type { Change, Outcome, Store, Transaction, Watch } from "./store.ts";
import { checkTransaction } from "./transaction-bounds.ts";

/** Another process that dies inside a write frees its lock at once; its log is recovered within this, ms. */
const FAILOVER_GAP_MS = 200;
/** The worker gives up this much before the deadline, ms, so that its reason still arrives; a tenth at most. */
const ANSWER_MARGIN_MS = 50;
/** Transactions without an answer yet; more are refused unsent. */
const PENDING_MAX = 4_096;
/** How long closing waits for the worker to finish what it was given, ms. */
const CLOSE_WAIT_MS = 3_000;

/**
 * Opens the store file, or makes it (mode 0600, its folder 0700). Rejects with StoreLostError when it is
 * damaged or no store, and with Error when it can't be opened.
 */
export async function openSqliteStore(path: string): Promise<Store> {
  const worker = new Worker(new URL("./sqlite-store-worker.ts", import.meta.url), {
    workerData: { path },
    // node:sqlite still warns in some releases of Node 24, and nobody can act on it.
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
  const first = await new Promise<FromWorker>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  worker.removeAllListeners("error");
  if (first.kind === "opened") return new SqliteStore(path, worker);
  await worker.terminate();
  const message = "message" in first ? first.message : first.kind;
  throw first.kind === "lost" ? new StoreLostError(message) : new Error(message);
}

interface Pending {
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: StoreLostError) => void;
  readonly timer: NodeJS.Timeout;
}

class SqliteStore implements Store {
  readonly name: string;
  readonly failoverGapMs = FAILOVER_GAP_MS;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  readonly #pending = new Map<number, Pending>();
  readonly #watches = new Map<number, (change: Change) => void>();
  #lastId = 0;
  #lost: StoreLostError | null = null;
  #closing: Promise<void> | null = null;

  constructor(path: string, worker: Worker) {
    this.name = `sqlite:${path}`;
    this.#worker = worker;
    worker.on("message", (message: FromWorker) => this.#receive(message));
    worker.on("error", (error) =>
      this.#lose(`The thread of ${this.name} failed: ${String(error)}. Start this member again.`),
    );
    this.#ended = new Promise((resolve) => {
      worker.once("exit", () => {
        if (this.#closing === null)
          this.#lose(`The thread of ${this.name} ended by itself. Start this member again.`);
        this.#answerAll("the store was closed");
        resolve();
      });
    });
  }

  async transact(transaction: Transaction, deadlineMs: number): Promise<Outcome> {
    checkTransaction(transaction);
    if (this.#lost !== null) throw this.#lost;
    if (this.#closing !== null) return unknown("the store was closed");
    if (this.#pending.size >= PENDING_MAX) return unknown("too many transactions are waiting");
    const nowMs = Number(process.hrtime.bigint()) / 1e6;
    const giveUpAtMs = nowMs + deadlineMs - Math.min(ANSWER_MARGIN_MS, deadlineMs / 10);
    const request = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const late = unknown(`${this.name} gave no answer within ${deadlineMs} ms`);
      const timer = setTimeout(() => this.#settle(request)?.resolve(late), deadlineMs);
      this.#pending.set(request, { resolve, reject, timer });
      this.#send({ kind: "transact", request, transaction, giveUpAtMs });
    });
  }

  watch(prefix: string, fromRevision: number, onChange: (change: Change) => void): Watch {
    const watch = ++this.#lastId;
    if (this.#closing === null) {
      this.#watches.set(watch, onChange);
      this.#send({ kind: "watch", watch, prefix, fromRevision });
    }
    return {
      close: () => {
        if (this.#watches.delete(watch)) this.#send({ kind: "unwatch", watch });
      },
    };
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#watches.clear();
    this.#send({ kind: "close" });
    const timer = setTimeout(() => void this.#worker.terminate(), CLOSE_WAIT_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case "answer":
        this.#settle(message.request)?.resolve(message.outcome);
        return;
      case "changes":
        // Looked up for each change: the watch may be closed while it is told.
        for (const change of message.changes) this.#watches.get(message.watch)?.(change);
        return;
      case "lost":
        this.#lose(message.message);
        return;
      case "opened":
      case "not-opened":
        throw new Error(`the thread of ${this.name} said ${message.kind} twice`);
    }
  }

  #settle(request: number): Pending | null {
    const pending = this.#pending.get(request);
    if (pending === undefined) return null;
    this.#pending.delete(request);
    clearTimeout(pending.timer);
    return pending;
  }

  #lose(message: string): void {
    this.#lost ??= new StoreLostError(message);
    for (const request of this.#pending.keys()) this.#settle(request)?.reject(this.#lost);
  }

  #answerAll(reason: string): void {
    for (const request of this.#pending.keys()) this.#settle(request)?.resolve(unknown(reason));
  }

  #send(message: ToWorker): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window: it has no origin
    this.#worker.postMessage(message);
  }
}

function unknown(reason: string): Outcome {
  return { outcome: "unknown", reason };
}
