/** The results as a table that people read, in the form that docs/testing.md keeps. */
import { cpus } from "node:os";
import type { Result } from "./row.ts";

const HEAD = [
  "fault",
  "seats over-issued",
  "sessions lost",
  "holders that waited",
  "p50",
  "max",
  "new requests, max",
  "",
];

export function tableOf(results: readonly Result[]): string {
  const lines = results.map((result) => [
    result.title,
    String(result.overIssued),
    result.lostWithout > 0
      ? `${result.lost} (${result.lostWithout} without a majority)`
      : String(result.lost),
    String(result.waited),
    seconds(result.waitP50Ms),
    seconds(result.waitMaxMs),
    seconds(result.newWaitMaxMs),
    result.failure === null ? "ok" : "FAILED",
  ]);
  const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [row(HEAD), row(HEAD.map(() => "---")), ...lines.map(row)].join("\n");
}

export function machineWords(): string {
  return `${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), Node ${process.version}`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
