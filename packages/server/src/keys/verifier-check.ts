/** Verifies one signature with libsodium, on whichever thread; and what the two threads tell each other. */
import { parsePublicKey } from "@quorate/protocol";
import type { Sodium } from "./sodium.ts";

/** Whether `signature` (base64url) is of `text` (Latin-1) by the key `ed25519:…`. */
export type Check = (publicKey: string, text: string, signature: string) => boolean;

export interface ToVerify {
  readonly publicKey: string;
  readonly text: string;
  readonly signature: string;
}

/** For the thread: answered in the order in which they were sent, by one byte each, 1 for a good one. */
export type VerifierQuestion = readonly ToVerify[];
export type VerifierAnswer = Uint8Array;

const KEYS_CACHED_MAX = 64;

export function quickCheck(sodium: Sodium): Check {
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
  return (publicKey, text, signature) => {
    const key = keyOf(publicKey);
    const signatureBytes = Buffer.from(signature, "base64url");
    if (key === null || signatureBytes.length !== sodium.crypto_sign_BYTES) return false;
    return sodium.crypto_sign_verify_detached(signatureBytes, Buffer.from(text, "latin1"), key);
  };
}
