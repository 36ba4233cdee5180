/** What a measurement hands over, and how a person reads it: one row of a Markdown table each. */
import { cpus, loadavg, release, totalmem } from "node:os";

export interface Figure {
  readonly name: string;
  readonly measured: string;
  /** What it is compared with, measured in the same run. */
  readonly baseline: string;
  readonly ratio: string;
  readonly target: string;
  /** Null: reported only, there is no target. */
  readonly met: boolean | null;
}

const COLUMNS = ["Figure", "Measured", "Baseline", "Ratio", "Target", "Met"] as const;

export function tableOf(figures: readonly Figure[]): string {
  const rows = figures.map(({ name, measured, baseline, ratio, target, met }) => [
    name,
    measured,
    baseline,
    ratio,
    target,
    met === null ? "–" : met ? "yes" : "NO",
  ]);
  const all = [[...COLUMNS], ...rows];
  const widths = COLUMNS.map((_, column) =>
    Math.max(...all.map((row) => (row[column] ?? "").length)),
  );
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const rule = widths.map((width) => "-".repeat(width));
  return [line(COLUMNS), line(rule), ...rows.map(line)].join("\n");
}

/** The machine and how busy it was, without which no figure means anything. */
export function machineLine(): string {
  const all = cpus();
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  const load = loadavg()[0]?.toFixed(2) ?? "?";
  return (
    `${all.length} × ${all[0]?.model.trim() ?? "unknown processor"}, ${memory} GiB, ` +
    `${process.platform} ${release()}, Node ${process.version}; load before the run: ${load}`
  );
}

export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

export function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** Progress goes to stderr, so that stdout is the table and nothing else. */
export function tell(words: string): void {
  process.stderr.write(`bench: ${words}\n`);
}
