/** libsodium's Ed25519, where its binding is installed: half of OpenSSL's time, for signing and for verifying. */
import { createRequire } from "node:module";

/** What is used of `sodium-native`, which comes without types. */
export interface Sodium {
  readonly crypto_sign_BYTES: number;
  readonly crypto_sign_SECRETKEYBYTES: number;
  readonly crypto_sign_PUBLICKEYBYTES: number;
  /** Memory that is locked and has no neighbours. */
  sodium_malloc(bytes: number): Buffer;
  crypto_sign_seed_keypair(publicKey: Buffer, secretKey: Buffer, seed: Buffer): void;
  crypto_sign_detached(signature: Buffer, message: Buffer, secretKey: Buffer): void;
  /** Takes buffers of exactly 64 and 32 bytes, and throws on others. */
  crypto_sign_verify_detached(signature: Buffer, message: Buffer, publicKey: Buffer): boolean;
}

export function loadSodium(): Sodium | null {
  try {
    const loaded: unknown = createRequire(import.meta.url)("sodium-native");
    return isSodium(loaded) ? loaded : null;
  } catch {
    // Not installed, or not built for this system: node:crypto does the same, more slowly.
    return null;
  }
}

const FUNCTIONS = [
  "sodium_malloc",
  "crypto_sign_seed_keypair",
  "crypto_sign_detached",
  "crypto_sign_verify_detached",
];

function isSodium(loaded: unknown): loaded is Sodium {
  return (
    typeof loaded === "object" &&
    loaded !== null &&
    FUNCTIONS.every((name) => typeof Reflect.get(loaded, name) === "function")
  );
}
