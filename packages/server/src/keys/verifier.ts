/**
 * Verifies the tokens of sessions that are taken over: tens of thousands within seconds when their server is gone.
 *
 * libsodium needs less time for an Ed25519 signature than it takes to hand it to a thread, so it works here, a few
 * milliseconds at a time between which the event loop gets its turn. Without its binding the threads of node:crypto
 * do it.
 */
import { parsePublicKey } from "@quorate/protocol";
import { generatePrivateKey, publicKeyOf, sign, verifySoon } from "./node-keys.ts";
import { loadSodium, type Sodium } from "./sodium.ts";

/** Whether `signature` (base64url) is of `bytes` by the key `ed25519:…`. Never rejects. */
export type Verifier = (publicKey: string, bytes: Buffer, signature: string) => Promise<boolean>;

/** What verifying holds the event loop at a time. */
const TURN_MS = 4;
const KEYS_CACHED_MAX = 64;

export function createVerifier(): Verifier {
  const sodium = loadSodium();
  if (sodium === null) return verifySoon;
  const isSigned = quickCheck(sodium);
  const key = generatePrivateKey();
  const probe = Buffer.from("a signature of another library, as the tokens of another server are");
  const works =
    isSigned(publicKeyOf(key), probe, sign(key, probe)) &&
    !isSigned(publicKeyOf(key), probe, sign(generatePrivateKey(), probe));
  return works ? inTurns(isSigned) : verifySoon;
}

type Check = (publicKey: string, bytes: Buffer, signature: string) => boolean;

function quickCheck(sodium: Sodium): Check {
  const keys = new Map<string, Buffer>();
  const keyOf = (text: string): Buffer | null => {
    const known = keys.get(text);
    if (known !== undefined) return known;
    const bytes = parsePublicKey(text);
    if (bytes === null) return null;
    // A pool has fewer members.
    if (keys.size >= KEYS_CACHED_MAX) keys.clear();
    const key = Buffer.from(bytes);
    keys.set(text, key);
    return key;
  };
  return (publicKey, bytes, signature) => {
    const key = keyOf(publicKey);
    const signatureBytes = Buffer.from(signature, "base64url");
    if (key === null || signatureBytes.length !== sodium.crypto_sign_BYTES) return false;
    return sodium.crypto_sign_verify_detached(signatureBytes, bytes, key);
  };
}

interface Waiting {
  readonly publicKey: string;
  readonly bytes: Buffer;
  readonly signature: string;
  readonly done: (isGood: boolean) => void;
}

function inTurns(isSigned: Check): Verifier {
  let waiting: Waiting[] = [];
  const turn = (): void => {
    const untilMs = performance.now() + TURN_MS;
    let done = 0;
    for (const each of waiting) {
      each.done(isSigned(each.publicKey, each.bytes, each.signature));
      done += 1;
      if (performance.now() >= untilMs) break;
    }
    waiting = waiting.slice(done);
    if (waiting.length > 0) setImmediate(turn);
  };
  return (publicKey, bytes, signature) =>
    new Promise((done) => {
      waiting.push({ publicKey, bytes, signature, done });
      if (waiting.length === 1) setImmediate(turn);
    });
}
