/**
 * Lines of CSV as RFC 4180 has them. Names come from clients and the file is opened in a spreadsheet, so a text
 * that it would take for a formula gets an apostrophe in front.
 */
export function csvLines(rows: readonly (readonly unknown[])[]): string[] {
  return rows.map((row) => `${row.map(fieldOf).join(",")}\r\n`);
}

function fieldOf(value: unknown): string {
  if (typeof value === "number") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
