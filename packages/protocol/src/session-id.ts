/**
 * A session is the hash of a secret that the client made (design section 4.6): lists, logs and reports may
 * show the session, and nobody who reads them can speak for it.
 */
import { base64urlOf } from "./keys.ts";

const SECRET_BYTES = 32;

/** The secret as text, from 32 random bytes that the caller draws. */
export function newSecret(random32: Uint8Array): string {
  if (random32.length !== SECRET_BYTES) throw new RangeError("a secret is made of 32 bytes");
  return base64urlOf(random32);
}

/** base64url(SHA-256(secret as text)). */
export async function sessionOf(secret: string): Promise<string> {
  const bytes = new TextEncoder().encode(secret);
  return base64urlOf(new Uint8Array(await globalThis.crypto.subtle.digest("SHA-256", bytes)));
}
