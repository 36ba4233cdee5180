/** The audit log for who has a data folder and no server: `@quorate/server/audit`. */
export { type AuditCheck, checkAudit } from "./audit-check.ts";
export { type AuditLog, openAuditLog } from "./audit-log.ts";
