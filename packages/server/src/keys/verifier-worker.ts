/** The thread that verifies the signatures of a crowd. */
import { parentPort } from "node:worker_threads";
import { loadSodium } from "./sodium.ts";
import { quickCheck, type VerifierQuestion } from "./verifier-check.ts";

const sodium = loadSodium();
if (sodium === null) throw new Error("libsodium is not there");
const isSigned = quickCheck(sodium);

parentPort?.on("message", (question: VerifierQuestion) => {
  const answer = Uint8Array.from(question, ({ publicKey, text, signature }) =>
    isSigned(publicKey, text, signature) ? 1 : 0,
  );
  // A worker thread has no origin; the rule means windows.
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  parentPort?.postMessage(answer);
});
