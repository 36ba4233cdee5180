const INSTANT = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

/**
 * Whether the value is an RFC 3339 date-time with its zone. A day the month does not have is refused:
 * `Date.parse` would silently take February 30th for March 2nd.
 */
export function isInstant(value: unknown): value is string {
  if (typeof value !== "string") return false;
  const parts = INSTANT.exec(value);
  if (parts === null || Number.isNaN(Date.parse(value))) return false;
  const daysOfMonth = new Date(Date.UTC(Number(parts[1]), Number(parts[2]), 0)).getUTCDate();
  return Number(parts[3]) <= daysOfMonth;
}
