/**
 * Verifies the tokens of sessions that are taken over: tens of thousands within seconds when their server is gone.
 *
 *   a few  -> libsodium, here: it needs less time for an Ed25519 signature than it takes to ask a thread
 *   many   -> a thread, asked once for all that came together: a fifth of what such a session costs otherwise
 *   without libsodium's binding -> the threads of node:crypto
 *
 * The thread is started when the first crowd comes. If it can't be, or ends, the crowd is verified here, in short turns
 * between which the event loop goes round.
 */
import { Worker } from "node:worker_threads";
import { generatePrivateKey, publicKeyOf, sign, verifySoon } from "./node-keys.ts";
import { loadSodium } from "./sodium.ts";
import {
  type Check,
  quickCheck,
  type ToVerify,
  type VerifierAnswer,
  type VerifierQuestion,
} from "./verifier-check.ts";

/** Whether `signature` (base64url) is of `text` (Latin-1) by the key `ed25519:…`. Never rejects. */
export type Verifier = (publicKey: string, text: string, signature: string) => Promise<boolean>;

/** What verifying here holds the event loop at a time. */
const TURN_MS = 2;
/** So many that came together are no crowd. */
const FEW = 8;
/** Asked of the thread at a time, so that the first ones need not wait for all. */
const QUESTION_MAX = 64;
/** Of the thread's answers so many go on in one round of the event loop: with each goes what waited for it. */
const ANSWERS_A_ROUND = 48;

/** `workerUrl`: what the thread runs. */
export function createVerifier(
  workerUrl = new URL("./verifier-worker.ts", import.meta.url),
): Verifier {
  const sodium = loadSodium();
  const isSigned = sodium === null ? null : quickCheck(sodium);
  if (isSigned === null || !isRight(isSigned)) {
    return (publicKey, text, signature) =>
      verifySoon(publicKey, Buffer.from(text, "latin1"), signature);
  }
  const crowd = new CrowdVerifier(isSigned, workerUrl);
  return (publicKey, text, signature) => crowd.verify({ publicKey, text, signature });
}

function isRight(isSigned: Check): boolean {
  const key = generatePrivateKey();
  const probe = "a signature of another library, as the tokens of another server are";
  const signed = Buffer.from(probe, "latin1");
  return (
    isSigned(publicKeyOf(key), probe, sign(key, signed)) &&
    !isSigned(publicKeyOf(key), probe, sign(generatePrivateKey(), signed))
  );
}

interface Waiting extends ToVerify {
  readonly done: (isGood: boolean) => void;
}

class CrowdVerifier {
  readonly #isSigned: Check;
  readonly #workerUrl: URL;
  #waiting: Waiting[] = [];
  #isTurnDue = false;
  /** Null: there was no crowd yet, or the thread ended. */
  #thread: Worker | null = null;
  #threadFailed = false;
  /** What the thread was asked and has not answered, in order. */
  #asked: (readonly Waiting[])[] = [];
  #answered: { readonly done: (isGood: boolean) => void; readonly isGood: boolean }[] = [];

  constructor(isSigned: Check, workerUrl: URL) {
    this.#isSigned = isSigned;
    this.#workerUrl = workerUrl;
  }

  verify(what: ToVerify): Promise<boolean> {
    return new Promise((done) => {
      this.#waiting.push({ ...what, done });
      this.#turnSoon();
    });
  }

  #turnSoon(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#isTurnDue = false;
    const thread = this.#waiting.length > FEW ? this.#threadOf() : null;
    if (thread === null) this.#verifyHere();
    else {
      while (this.#waiting.length > 0) this.#ask(thread, this.#waiting.splice(0, QUESTION_MAX));
    }
  };

  #verifyHere(): void {
    const untilMs = performance.now() + TURN_MS;
    let done = 0;
    for (const each of this.#waiting) {
      each.done(this.#isSigned(each.publicKey, each.text, each.signature));
      done += 1;
      if (performance.now() >= untilMs) break;
    }
    this.#waiting = this.#waiting.slice(done);
    if (this.#waiting.length > 0) this.#turnSoon();
  }

  #ask(thread: Worker, waiting: readonly Waiting[]): void {
    this.#asked.push(waiting);
    const question: VerifierQuestion = waiting.map(({ publicKey, text, signature }) => ({
      publicKey,
      text,
      signature,
    }));
    // A worker thread has no origin; the rule means windows.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    thread.postMessage(question);
  }

  readonly #hear = (answer: VerifierAnswer): void => {
    const waiting = this.#asked.shift() ?? [];
    if (this.#answered.length === 0) setImmediate(this.#tell);
    for (const [index, { done }] of waiting.entries()) {
      this.#answered.push({ done, isGood: answer[index] === 1 });
    }
  };

  readonly #tell = (): void => {
    for (const { done, isGood } of this.#answered.splice(0, ANSWERS_A_ROUND)) done(isGood);
    if (this.#answered.length > 0) setImmediate(this.#tell);
  };

  #threadOf(): Worker | null {
    if (this.#thread !== null || this.#threadFailed) return this.#thread;
    const thread = new Worker(this.#workerUrl, { name: "verifier", execArgv: [] });
    // It keeps nothing that must be ended: the process need not wait for it.
    thread.unref();
    thread.on("message", this.#hear);
    thread.on("error", this.#fail);
    thread.on("exit", this.#fail);
    this.#thread = thread;
    return thread;
  }

  /** What it was asked is verified here, and all that comes later. */
  readonly #fail = (): void => {
    this.#threadFailed = true;
    this.#thread = null;
    this.#waiting.push(...this.#asked.flat());
    this.#asked = [];
    if (this.#waiting.length > 0) this.#turnSoon();
  };
}
