/**
 * Ed25519 with node:crypto, synchronous: a grant must not wait a turn of the event loop for its signature.
 */
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signBytes,
  verify as verifyBytes,
} from "node:crypto";
import { formatPublicKey, parsePublicKey, parseSignature } from "@quorate/protocol";

/** More than a pool has members, vendor and pool keys; a stranger's keys only push each other out. */
const KEYS_CACHED_MAX = 64;

/** The fixed head of the DER form of an Ed25519 public key (RFC 8410); the 32 bytes follow. */
const SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");

const cached = new Map<string, KeyObject>();

export function generatePrivateKey(): KeyObject {
  return generateKeyPairSync("ed25519").privateKey;
}

/** `ed25519:…` of the public half. */
export function publicKeyOf(privateKey: KeyObject): string {
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  return formatPublicKey(spki.subarray(SPKI_HEAD.length));
}

/** The signature as base64url. */
export function sign(privateKey: KeyObject, bytes: Uint8Array): string {
  return signBytes(null, bytes, privateKey).toString("base64url");
}

/** Whether `signature` (base64url) is of `bytes` by the key `ed25519:…`. Never throws. */
export function verify(publicKey: string, bytes: Uint8Array, signature: string): boolean {
  const key = keyObjectOf(publicKey);
  const signatureBytes = parseSignature(signature);
  return key !== null && signatureBytes !== null && verifyBytes(null, bytes, key, signatureBytes);
}

/** The same on a thread of the pool: for many at once, of which none must hold up the event loop. */
export function verifySoon(
  publicKey: string,
  bytes: Uint8Array,
  signature: string,
): Promise<boolean> {
  const key = keyObjectOf(publicKey);
  const signatureBytes = parseSignature(signature);
  if (key === null || signatureBytes === null) return Promise.resolve(false);
  return new Promise((resolve) => {
    verifyBytes(null, bytes, key, signatureBytes, (error, isGood) => {
      resolve(error === null && isGood);
    });
  });
}

function keyObjectOf(publicKey: string): KeyObject | null {
  const known = cached.get(publicKey);
  if (known !== undefined) return known;
  const bytes = parsePublicKey(publicKey);
  if (bytes === null) return null;
  const key = createPublicKey({
    key: Buffer.concat([SPKI_HEAD, bytes]),
    format: "der",
    type: "spki",
  });
  if (cached.size >= KEYS_CACHED_MAX) {
    const oldest = cached.keys().next();
    if (oldest.done !== true) cached.delete(oldest.value);
  }
  cached.set(publicKey, key);
  return key;
}
