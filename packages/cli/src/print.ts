/** Output for people and for programs: the same facts, as aligned text or as JSON. */

/** One fact per line; an absent one is shown as "–". */
export function printFields(fields: Readonly<Record<string, unknown>>, asJson: boolean): void {
  if (asJson) {
    printJson(fields);
    return;
  }
  const width = Math.max(...Object.keys(fields).map((name) => name.length));
  for (const [name, value] of Object.entries(fields)) {
    console.log(`${name.padEnd(width)}  ${cell(value)}`);
  }
}

export function printJson(value: unknown): void {
  console.log(JSON.stringify(value, null, 2));
}

export function printTable(heads: readonly string[], rows: readonly (readonly unknown[])[]): void {
  for (const line of tableLines(heads, rows)) console.log(line);
}

/** Columns as wide as their widest cell; numbers, and their absence among numbers, stand to the right. */
export function tableLines(
  heads: readonly string[],
  rows: readonly (readonly unknown[])[],
): readonly string[] {
  const cells = rows.map((row) => row.map(cell));
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const right = heads.map((_head, column) =>
    rows.every((row) => row[column] === null || typeof row[column] === "number"),
  );
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, column) =>
        right[column] === true
          ? text.padStart(widths[column] ?? 0)
          : text.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return [line(heads), ...cells.map(line)];
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}
