/**
 * Signs tokens, one for every grant. libsodium needs half of OpenSSL's time for an Ed25519 signature, which is most
 * of what a grant costs; where its binding is not installed, or signs anything else than OpenSSL does,
 * node:crypto signs. Ed25519 is deterministic (RFC 8032): both make the same bytes of the same input.
 */
import { type KeyObject, randomBytes } from "node:crypto";
import { sign } from "./node-keys.ts";
import { loadSodium, type Sodium } from "./sodium.ts";

/** The signature of `bytes` as base64url. */
export type Signer = (bytes: Buffer) => string;

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
