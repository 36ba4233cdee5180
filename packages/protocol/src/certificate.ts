/**
 * What the customer's pool key says about one member, so that a machine is replaced without asking the vendor
 * (design section 5).
 *
 * **What is signed**: `quorate-member-1\n` followed by the RFC 8785 form of the certificate without its
 * `signature` member, by the pool key.
 */
import { isInstant } from "./instant.ts";
import { isObject } from "./json-text.ts";
import { parsePublicKey, parseSignature, verifySignature } from "./keys.ts";
import { prefixedBytes } from "./license-document.ts";
import { isName } from "./license-shape.ts";

const CERTIFICATE_PREFIX = "quorate-member-1\n";

export interface MemberCertificate {
  readonly quorate: 1;
  /** The pool's name, when it was known; the pool key alone already names the pool. */
  readonly pool?: string;
  readonly member: string;
  /** The member's public key. */
  readonly key: string;
  /** RFC 3339. */
  readonly issued: string;
  /** `key` is the pool's public key. */
  readonly signature: { readonly key: string; readonly value: string };
}

/** What the pool key signs. */
export function certificateBytes(
  certificate: Omit<MemberCertificate, "signature">,
): Uint8Array<ArrayBuffer> {
  const bytes = prefixedBytes(CERTIFICATE_PREFIX, certificate);
  if (bytes === null) throw new TypeError("a certificate holds only names, keys and instants");
  return bytes;
}

/** The certificate if the value has its shape and no other names, else null. Not yet verified. */
export function parseCertificate(value: unknown): MemberCertificate | null {
  if (!isObject(value) || value["quorate"] !== 1) return null;
  const { pool, member, key, issued, signature } = value;
  if (pool !== undefined && !isName(pool)) return null;
  if (!isName(member) || !isPublicKey(key) || !isInstant(issued)) return null;
  if (!isObject(signature) || !isPublicKey(signature["key"])) return null;
  const signatureValue = signature["value"];
  if (typeof signatureValue !== "string" || parseSignature(signatureValue) === null) return null;
  const certificate: MemberCertificate = {
    quorate: 1,
    ...(pool === undefined ? {} : { pool }),
    member,
    key,
    issued,
    signature: { key: signature["key"], value: signatureValue },
  };
  const known = Object.keys(certificate).length === Object.keys(value).length;
  return known && Object.keys(signature).length === 2 ? certificate : null;
}

/** Whether the pool key signed it. */
export async function verifyCertificate(
  certificate: MemberCertificate,
  poolKey: string,
): Promise<boolean> {
  if (certificate.signature.key !== poolKey) return false;
  return verifySignature(poolKey, certificateBytes(certificate), certificate.signature.value);
}

function isPublicKey(value: unknown): value is string {
  return typeof value === "string" && parsePublicKey(value) !== null;
}
