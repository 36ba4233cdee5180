/**
 * A license as text: parsed, checked, canonicalised, verified.
 *
 * **What is signed**: the ASCII text `quorate-license-1\n` followed by the RFC 8785 form of the document
 * without its `signature` member. The first line keeps a signature from meaning anything in another place where
 * the same key signs. The canonical form makes spaces, line ends and the order of names irrelevant.
 *
 * **`canonical`** is the RFC 8785 form of the whole document, signature included. Two texts are the same
 * license exactly when their `canonical` is the same (I7).
 */
import { LICENSE_BYTES_MAX, type License } from "@quorate/core";
import { canonicalText, isObject, parseJsonText } from "./json-text.ts";
import { verifySignature } from "./keys.ts";
import { checkLicenseShape, mistakesSentence, type ShapeFindings } from "./license-shape.ts";

const LICENSE_PREFIX = "quorate-license-1\n";
const POOL_SIZE_DEFAULT = 1;

export interface ParsedLicense {
  /** With `pool.size` filled in. Names this version does not know are still there. */
  readonly license: License;
  readonly canonical: string;
  /** What the vendor's signature covers, for Node code that verifies synchronously. */
  readonly signed: Uint8Array<ArrayBuffer>;
  /** Sentences about names that this version does not know. */
  readonly warnings: readonly string[];
}

/** Refuses in words what is no license. Looks at shape only: the signature is NOT verified. Never throws. */
export function parseLicense(text: string): ParsedLicense | { invalid: string } {
  const read = readDocument(text);
  if ("invalid" in read) return read;
  const { document } = read;
  const findings = checkLicenseShape(document, true);
  if (!isSigned(document, findings)) return { invalid: mistakesSentence(findings) };
  const canonical = canonicalText(document);
  const signed = signedBytes(document);
  if (canonical === null || signed === null) return { invalid: NO_CANONICAL_FORM };
  return {
    license: { ...document, pool: sized(document.pool) },
    canonical,
    signed,
    warnings: findings.warnings,
  };
}

/** Like `parseLicense`, and the signature must be by `vendorKey` (`ed25519:…`) itself. */
export async function verifyLicense(
  text: string,
  vendorKey: string,
): Promise<ParsedLicense | { invalid: string }> {
  const parsed = parseLicense(text);
  if ("invalid" in parsed) return parsed;
  const { key, value } = parsed.license.signature;
  if (key !== vendorKey) return { invalid: otherVendor(key, vendorKey) };
  return (await verifySignature(vendorKey, parsed.signed, value))
    ? parsed
    : { invalid: SIGNATURE_BROKEN };
}

export const SIGNATURE_BROKEN =
  "the signature does not fit the content: the license was changed after it was signed";

export function otherVendor(key: string, vendorKey: string): string {
  return `it is signed by ${key}, not by the vendor's key ${vendorKey}`;
}

/**
 * A document that waits for the vendor's signature, with `pool.size` and `issued` filled in where they are
 * missing and an old signature taken off. `issuedAt` is RFC 3339.
 */
export function parseUnsignedLicense(
  text: string,
  issuedAt: string,
): { document: Omit<License, "signature">; warnings: readonly string[] } | { invalid: string } {
  const read = readDocument(text);
  if ("invalid" in read) return read;
  const { signature: _old, ...written } = read.document;
  const findings = checkLicenseShape(written, false);
  if (!isUnsigned(written, findings)) return { invalid: mistakesSentence(findings) };
  const document = {
    ...written,
    issued: written.issued ?? issuedAt,
    pool: sized(written.pool),
  };
  if (canonicalText(document) === null) return { invalid: NO_CANONICAL_FORM };
  return { document, warnings: findings.warnings };
}

/**
 * What a signature over the document covers; null when it has no canonical form. Pass the document as it was
 * written: a value that was filled in later belongs to what is signed only if it is in the text, too.
 */
export function signedBytes(document: object): Uint8Array<ArrayBuffer> | null {
  return prefixedBytes(LICENSE_PREFIX, document);
}

/** `prefix` and the canonical form of the document without its `signature` member, as UTF-8. */
export function prefixedBytes(prefix: string, document: object): Uint8Array<ArrayBuffer> | null {
  const { signature: _signature, ...rest }: { signature?: unknown } = document;
  const canonical = canonicalText(rest);
  return canonical === null ? null : new TextEncoder().encode(prefix + canonical);
}

/** A license as it is written: what may be missing in the text. */
type Written = Omit<License, "signature" | "issued" | "pool"> & {
  readonly issued?: string;
  readonly pool: { readonly name: string; readonly size?: number; readonly key?: string };
};
type Signed = Written & Pick<License, "signature" | "issued">;

/** The shape check is what makes a document a license for the compiler, too. */
function isSigned(document: object, findings: ShapeFindings): document is Signed {
  return "signature" in document && findings.mistakes.length === 0;
}

function isUnsigned(document: object, findings: ShapeFindings): document is Written {
  return !("signature" in document) && findings.mistakes.length === 0;
}

function sized(pool: Written["pool"]): License["pool"] {
  return { ...pool, size: pool.size ?? POOL_SIZE_DEFAULT };
}

const NO_CANONICAL_FORM =
  "it holds a number or text that has no canonical form (RFC 8785): a lone surrogate or a number too large";

function readDocument(text: string): { document: Record<string, unknown> } | { invalid: string } {
  // Every character is at least one byte, so the length already refuses what is far too long.
  const tooLong =
    text.length > LICENSE_BYTES_MAX || new TextEncoder().encode(text).length > LICENSE_BYTES_MAX;
  if (tooLong) return { invalid: `it is larger than ${LICENSE_BYTES_MAX} bytes` };
  // Editors on Windows put a byte-order mark in front; JSON.parse does not like it.
  const parsed = parseJsonText(text.startsWith("\uFEFF") ? text.slice(1) : text);
  if ("invalid" in parsed) return { invalid: `it ${parsed.invalid}` };
  if (!isObject(parsed.value)) return { invalid: "a license is one JSON object" };
  return { document: parsed.value };
}
