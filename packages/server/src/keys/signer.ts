/**
 * Signs tokens, one for every grant. libsodium needs half of OpenSSL's time for an Ed25519 signature, which is most
 * of what a grant costs; where its binding is not installed, or signs anything else than OpenSSL does,
 * node:crypto signs. Ed25519 is deterministic (RFC 8032): both make the same bytes of the same input.
 */
import { type KeyObject, randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { sign } from "./node-keys.ts";

/** The signature of `bytes` as base64url. */
export type Signer = (bytes: Buffer) => string;

/** What is used of `sodium-native`, which comes without types. */
interface Sodium {
  readonly crypto_sign_BYTES: number;
  readonly crypto_sign_SECRETKEYBYTES: number;
  readonly crypto_sign_PUBLICKEYBYTES: number;
  /** Memory that is locked and has no neighbours. */
  sodium_malloc(bytes: number): Buffer;
  crypto_sign_seed_keypair(publicKey: Buffer, secretKey: Buffer, seed: Buffer): void;
  crypto_sign_detached(signature: Buffer, message: Buffer, secretKey: Buffer): void;
}

const PROBE_BYTES = 100;

export function signerOf(privateKey: KeyObject): Signer {
  const sodium = loadSodium();
  const quick = sodium === null ? null : quickSigner(sodium, privateKey);
  const probe = randomBytes(PROBE_BYTES);
  if (quick !== null && quick(probe) === sign(privateKey, probe)) return quick;
  return (bytes) => sign(privateKey, bytes);
}

function quickSigner(sodium: Sodium, privateKey: KeyObject): Signer | null {
  const { d } = privateKey.export({ format: "jwk" });
  if (d === undefined) return null;
  const secretKey = sodium.sodium_malloc(sodium.crypto_sign_SECRETKEYBYTES);
  const publicKey = Buffer.alloc(sodium.crypto_sign_PUBLICKEYBYTES);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, Buffer.from(d, "base64url"));
  // One for all signatures: each is text before the next is made.
  const signature = Buffer.alloc(sodium.crypto_sign_BYTES);
  return (bytes) => {
    sodium.crypto_sign_detached(signature, bytes, secretKey);
    return signature.toString("base64url");
  };
}

function loadSodium(): Sodium | null {
  try {
    const loaded: unknown = createRequire(import.meta.url)("sodium-native");
    return isSodium(loaded) ? loaded : null;
  } catch {
    // Not installed, or not built for this system: node:crypto does the same, more slowly.
    return null;
  }
}

function isSodium(loaded: unknown): loaded is Sodium {
  return (
    typeof loaded === "object" &&
    loaded !== null &&
    ["sodium_malloc", "crypto_sign_seed_keypair", "crypto_sign_detached"].every(
      (name) => typeof Reflect.get(loaded, name) === "function",
    )
  );
}
