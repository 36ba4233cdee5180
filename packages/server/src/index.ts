/** One member of a Quorate pool, as a library. */
export { FolderLockedError } from "./journal/sqlite-journal.ts";
export type { ClientsDoor, Door } from "./http/access.ts";
export type { OidcOptions } from "./http/oidc-issuer.ts";
export type { ClientAuth, TlsFiles } from "./http/tls.ts";
export { JournalFailedError } from "./journal/journal.ts";
export { openMember, type OpenMember, type OpenMemberOptions } from "./open-member.ts";
export { StoreLostError } from "./store/store.ts";
export { parseEtcdStore } from "./store/etcd-address.ts";
export type { HistoryUsers } from "./journal/sqlite-journal-messages.ts";
export type { WebhookTarget } from "./webhooks/webhooks.ts";
export { webhookKeyOf } from "./webhooks/signature.ts";
export type { StoreChoice } from "./store/open-store.ts";
