/**
 * Public keys, signatures and base64url as text. Ed25519 only: there is nothing to choose, so nothing to
 * downgrade. Verification is WebCrypto's, which browsers offer only to secure contexts (HTTPS, localhost).
 */
const PUBLIC_KEY_PREFIX = "ed25519:";
const PUBLIC_KEY_BYTES = 32;
const PUBLIC_KEY_CHARACTERS = PUBLIC_KEY_PREFIX.length + 43;
/** What 64 bytes take as base64url. */
const SIGNATURE_CHARACTERS = 86;

/** The one line of text that stands for a public key everywhere (design section 5). */
export function formatPublicKey(bytes: Uint8Array): string {
  if (bytes.length !== PUBLIC_KEY_BYTES) throw new RangeError("an Ed25519 public key is 32 bytes");
  return PUBLIC_KEY_PREFIX + base64urlOf(bytes);
}

/** The 32 bytes of `ed25519:<base64url>`, or null for any other text. */
export function parsePublicKey(text: string): Uint8Array<ArrayBuffer> | null {
  if (text.length !== PUBLIC_KEY_CHARACTERS || !text.startsWith(PUBLIC_KEY_PREFIX)) return null;
  return bytesOfBase64url(text.slice(PUBLIC_KEY_PREFIX.length));
}

/** The 64 bytes of a signature in base64url, or null. */
export function parseSignature(text: string): Uint8Array<ArrayBuffer> | null {
  return text.length === SIGNATURE_CHARACTERS ? bytesOfBase64url(text) : null;
}

/** Whether `signature` (base64url) is of `bytes` by the key that `publicKey` names. Never throws. */
export async function verifySignature(
  publicKey: string,
  bytes: Uint8Array<ArrayBuffer>,
  signature: string,
): Promise<boolean> {
  const keyBytes = parsePublicKey(publicKey);
  const signatureBytes = parseSignature(signature);
  if (keyBytes === null || signatureBytes === null) return false;
  try {
    const key = await globalThis.crypto.subtle.importKey("raw", keyBytes, "Ed25519", false, [
      "verify",
    ]);
    return await globalThis.crypto.subtle.verify("Ed25519", key, signatureBytes, bytes);
  } catch {
    // 32 bytes that are no point of the curve make importKey reject: such a key has signed nothing.
    return false;
  }
}

export function base64urlOf(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return base64urlOfBinary(binary);
}

/** Like `base64urlOf` for a text whose characters are bytes (none above U+00FF). */
export function base64urlOfBinary(binary: string): string {
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * Null for anything but the one canonical spelling. Two spellings of the same bytes would let a signed text
 * be changed without breaking it.
 */
export function bytesOfBase64url(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || !endsCanonically(text)) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** What is left over after groups of four characters has four or two bits too many in its last one: all zero. */
function endsCanonically(text: string): boolean {
  const left = text.length % 4;
  if (left === 0) return true;
  if (left === 1) return false;
  return ALPHABET.indexOf(text.charAt(text.length - 1)) % (left === 2 ? 16 : 4) === 0;
}
