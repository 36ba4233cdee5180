/**
 * The wire of Quorate: shapes, schemas, codes, licenses and tokens as text.
 *
 * Deliberately absent: I/O of any kind. Runs in Node and browsers.
 */
export * from "./api.ts";
export * from "./certificate.ts";
export { formatPublicKey, parsePublicKey, parseSignature, verifySignature } from "./keys.ts";
export {
  otherVendor,
  parseLicense,
  type ParsedLicense,
  parseUnsignedLicense,
  SIGNATURE_BROKEN,
  signedBytes,
  verifyLicense,
} from "./license-document.ts";
export { isInstant } from "./instant.ts";
export * from "./session-id.ts";
export * from "./token.ts";
export { openApiDocument } from "./openapi.ts";
export * from "./problems.ts";
export * from "./routes.ts";
export * from "./schemas.ts";
