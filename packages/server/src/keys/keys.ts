/**
 * Keys, certificates and license files on a member's disk, and fast synchronous signatures.
 *
 * This is the package's second entry, `@quorate/server/keys`: the offline commands need these files
 * and none of the server.
 */
export { writeFileDurably } from "./durable-file.ts";
export { withFolderLocked } from "./folder-lock.ts";
export { ForPeople } from "./for-people.ts";
export {
  readPrivateKey,
  readPublicKey,
  type StoredPrivateKey,
  writePrivateKey,
  writePublicKey,
} from "./key-files.ts";
export {
  checkLicense,
  createLicenseFiles,
  type LicenseFiles,
  readOwnLicense,
} from "./license-files.ts";
export { type MemberFolder, openMemberFolder, storeCertificate } from "./member-folder.ts";
export { createMemberTokens, type MemberTokensOptions } from "./member-tokens.ts";
export { generatePrivateKey, publicKeyOf, sign, verify } from "./node-keys.ts";
