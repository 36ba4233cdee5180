/** The main thread's end of the journal's worker: starts it, asks it, notices its death, ends it. */
import { Worker } from "node:worker_threads";
import type { HistoryPlace, HistoryQuery, UsageQuery, UsageStretch } from "./journal.ts";
import { JournalFailedError } from "./journal.ts";
import type {
  Answer,
  CommitAnswer,
  HistoryAnswer,
  PageAnswer,
  PagedTable,
  Request,
  WorkerMessage,
  WorkerSettings,
} from "./sqlite-journal-messages.ts";

/** Two processes must never journal into the same folder. */
export class FolderLockedError extends Error {
  override readonly name = "FolderLockedError";
  /** The process that has the folder, if it could be read. */
  readonly pid: number | null;

  constructor(folder: string, pid: number | null) {
    const who = pid === null ? "" : ` (pid ${pid})`;
    super(
      `another quorate process${who} uses the folder ${folder}: stop it first, or give this one its own folder`,
    );
    this.pid = pid;
  }
}

interface Asked {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: JournalFailedError) => void;
}

export class JournalWorker {
  readonly openedSequence: number;
  readonly #thread: Worker;
  readonly #asked = new Map<number, Asked>();
  readonly #exited: Promise<void>;
  #lastId = 0;
  #death: JournalFailedError | null = null;
  #onDeath: (error: JournalFailedError) => void = () => undefined;

  private constructor(thread: Worker, openedSequence: number, folder: string) {
    this.#thread = thread;
    this.openedSequence = openedSequence;
    thread.on("message", (message: WorkerMessage) => this.#hear(message));
    thread.on("error", (error) => {
      this.#die(`the journal of ${folder} stopped: ${messageOf(error)}; restart`);
    });
    this.#exited = new Promise((resolve) => {
      thread.on("exit", () => {
        this.#die(`the journal of ${folder} is closed`);
        resolve();
      });
    });
  }

  static open(settings: WorkerSettings): Promise<JournalWorker> {
    const thread = new Worker(new URL("./sqlite-journal-worker.ts", import.meta.url), {
      name: "journal",
      workerData: settings,
      // Nothing of the parent's flags; people need not read that SQLite is new in Node.
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    return new Promise((resolve, reject) => {
      thread.once("error", (error) => {
        reject(new JournalFailedError(`the journal can't start: ${messageOf(error)}`));
      });
      thread.once("message", (message: WorkerMessage) => {
        thread.removeAllListeners("error");
        if (message.kind === "opened") {
          return resolve(new JournalWorker(thread, message.sequence, settings.folder));
        }
        // The thread ends by itself; it is waited for, so that the folder is free when the caller is told.
        thread.once("exit", () => {
          reject(
            message.kind === "locked"
              ? new FolderLockedError(settings.folder, message.pid)
              : new JournalFailedError(message.kind === "broken" ? message.message : message.kind),
          );
        });
      });
    });
  }

  /** Calls back once if the thread ends without `close()` having been asked for. */
  onDeath(callback: (error: JournalFailedError) => void): void {
    this.#onDeath = callback;
  }

  async commit(entries: string, nowMs: number): Promise<CommitAnswer> {
    const answer = await this.#ask({ kind: "commit", entries, nowMs });
    if (answer.kind !== "committed") throw unexpected(answer);
    return answer;
  }

  async page(of: PagedTable, after: string | number): Promise<PageAnswer> {
    const answer = await this.#ask({ kind: "page", of, after });
    if (answer.kind !== "page") throw unexpected(answer);
    return answer;
  }

  async history(query: HistoryQuery, before: HistoryPlace | null): Promise<HistoryAnswer> {
    const answer = await this.#ask({ kind: "history", query, before });
    if (answer.kind !== "history") throw unexpected(answer);
    return answer;
  }

  async usage(query: UsageQuery): Promise<UsageStretch> {
    const answer = await this.#ask({ kind: "usage", query });
    if (answer.kind !== "usage") throw unexpected(answer);
    const stretch: UsageStretch = JSON.parse(answer.stretch);
    return stretch;
  }

  /** Ends the thread by force if `close()` has not ended it by then. */
  endAfter(ms: number): void {
    const deadline = setTimeout(() => void this.#thread.terminate(), ms);
    void this.#exited.then(() => clearTimeout(deadline));
  }

  async close(): Promise<void> {
    this.#onDeath = () => undefined;
    if (this.#death === null) this.#post({ kind: "close" });
    await this.#exited;
  }

  #ask(request: Request): Promise<Answer> {
    if (this.#death !== null) return Promise.reject(this.#death);
    const id = this.#post(request);
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  #post(request: Request): number {
    this.#lastId += 1;
    // A worker thread has no origin; the rule means windows.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    this.#thread.postMessage([this.#lastId, request]);
    return this.#lastId;
  }

  #hear(message: WorkerMessage): void {
    if (message.kind !== "answer" && message.kind !== "failed") return;
    const asked = this.#asked.get(message.id);
    this.#asked.delete(message.id);
    if (message.kind === "answer") asked?.resolve(message.answer);
    else asked?.reject(new JournalFailedError(message.message));
  }

  #die(words: string): void {
    if (this.#death !== null) return;
    this.#death = new JournalFailedError(words);
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    for (const { reject } of asked) reject(this.#death);
    this.#onDeath(this.#death);
  }
}

function unexpected(answer: Answer): Error {
  return new Error(`the journal's worker answered something else: ${answer.kind}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
