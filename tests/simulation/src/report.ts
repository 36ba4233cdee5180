/** What a run says to people: one seed in a few lines, many seeds in a table, and how to repeat a failure. */
import type { SimulationOptions, SimulationResult, SimulationSummary } from "./simulation.ts";

export function seedInWords(
  { seed, summary, violation }: SimulationResult,
  tookMs: number,
): string {
  const speed = Math.round((summary.virtualHours * HOUR_MS) / tookMs);
  const faults = Object.entries(summary.faults)
    .map(([kind, count]) => `${kind} ${count}`)
    .join(", ");
  const over = summary.overIssue;
  return [
    `seed ${seed}: ${violation === null ? "ok" : "FAILED"}`,
    `${summary.profile}, ${summary.members} members, ${summary.clients} clients`,
    `${summary.virtualHours.toFixed(2)} h in ${(tookMs / 1000).toFixed(1)} s (${speed}x)`,
    `${summary.grants} grants, ${summary.renewals} renewals, ${summary.conversions} conversions, ${summary.losses} lost`,
    `${summary.refusals} refusals, ${summary.crashes} crashes, ${summary.failovers} failovers, ` +
      `${summary.epochs} epochs, ${summary.reclaimedSeats} seats reclaimed, ${summary.licenses} licenses`,
    `faults: ${faults || "none"}`,
    ...(over === null ? [] : [overIssueInWords(over)]),
  ].join("\n  ");
}

function overIssueInWords(over: NonNullable<SimulationSummary["overIssue"]>): string {
  return (
    `clocks beyond the bound: at most ${over.seatsMax} seats too many at once, for at most ` +
    `${(over.longestMs / 1000).toFixed(1)} s, ${(over.seatMs / 1000).toFixed(1)} seat seconds in all`
  );
}

/** The one command that repeats a run. */
export function commandOf(options: SimulationOptions): string {
  const { seed, steps, minutes, members, faults, aim, onlyFaults, onlyClients, driftBeyond } =
    options;
  const named = (name: string, value: unknown): string[] =>
    value === null || value === undefined ? [] : [`--${name} ${quoted(value)}`];
  const list = (value: readonly string[] | null | undefined): string | null =>
    value === null || value === undefined ? null : value.join(",");
  return [
    "npm run simulate --",
    `--seed ${seed}`,
    ...named("steps", Number.isFinite(steps) ? steps : null),
    ...named("minutes", minutes),
    ...named("members", members),
    ...named("faults", list(faults)),
    ...named("aim", aim),
    ...named("drift-beyond", driftBeyond),
    ...named("only-faults", list(onlyFaults)),
    ...named("only-clients", list(onlyClients)),
  ].join(" ");
}

function quoted(value: unknown): string {
  const text = String(value);
  return /^[\w.,]+$/.test(text) ? text : `"${text}"`;
}

/** The sum over many seeds. */
export class Totals {
  seeds = 0;
  readonly failed: { readonly seed: number; readonly violation: string }[] = [];
  readonly #sums = new Map<string, number>();
  readonly #faults = new Map<string, number>();
  readonly #troubles = new Map<string, number>();
  #virtualHours = 0;
  #cpuMs = 0;
  readonly #over = { seeds: 0, seatsMax: 0, longestMs: 0, seatMs: 0 };
  #measuresOverIssue = false;

  add({ seed, summary, violation }: SimulationResult, tookMs: number): void {
    this.seeds += 1;
    this.#virtualHours += summary.virtualHours;
    this.#cpuMs += tookMs;
    if (violation !== null) this.failed.push({ seed, violation });
    for (const name of SUMMED) addTo(this.#sums, name, summary[name]);
    for (const [kind, count] of Object.entries(summary.faults)) addTo(this.#faults, kind, count);
    for (const [kind, count] of Object.entries(summary.troubles)) {
      addTo(this.#troubles, kind, count);
    }
    if (summary.overIssue === null) return;
    const { seatsMax, longestMs, seatMs } = summary.overIssue;
    this.#measuresOverIssue = true;
    if (seatsMax > 0) this.#over.seeds += 1;
    this.#over.seatsMax = Math.max(this.#over.seatsMax, seatsMax);
    this.#over.longestMs = Math.max(this.#over.longestMs, longestMs);
    this.#over.seatMs += seatMs;
  }

  progress(all: number, startedMs: number, nowMs: number): string {
    const leftMs = ((nowMs - startedMs) / Math.max(1, this.seeds)) * (all - this.seeds);
    return (
      `${this.seeds}/${all} seeds, ${this.failed.length} failed, ` +
      `${this.#virtualHours.toFixed(0)} virtual hours, ${this.#speed()}x a core, ` +
      `${Math.ceil(leftMs / 60_000)} min left`
    );
  }

  inWords(tookMs: number): string {
    const lines: [string, string | number][] = [
      ["seeds", this.seeds],
      ["virtual hours", this.#virtualHours.toFixed(1)],
      ["took", `${(tookMs / 1000).toFixed(0)} s, ${this.#speed()}x real time a core`],
      ...SUMMED.map((name): [string, number] => [WORDS[name], this.#sums.get(name) ?? 0]),
      ["faults", ""],
      ...sorted(this.#faults).map(([kind, count]): [string, number] => [`  ${kind}`, count]),
      ["other troubles", ""],
      ...[...this.#troubles].map(([kind, count]): [string, number] => [`  ${kind}`, count]),
      ["violations", this.failed.length],
    ];
    const width = Math.max(...lines.map(([name]) => name.length));
    const over = this.#measuresOverIssue
      ? [`${this.#over.seeds} of ${this.seeds} seeds over-issued; ${overIssueInWords(this.#over)}`]
      : [];
    return [...lines.map(([name, value]) => `${name.padEnd(width)}  ${value}`), ...over].join("\n");
  }

  #speed(): number {
    return Math.round((this.#virtualHours * HOUR_MS) / Math.max(1, this.#cpuMs));
  }
}

const WORDS = {
  grants: "grants",
  renewals: "renewals",
  conversions: "conversions",
  losses: "programs that lost their seat",
  refusals: "refusals",
  crashes: "crashes",
  failovers: "failovers",
  epochs: "epochs ended",
  reclaimedSeats: "reclaimed seats",
  licenses: "licenses in force",
} as const;
const SUMMED = Object.keys(WORDS) as (keyof typeof WORDS)[];
const HOUR_MS = 3_600_000;

function addTo(sums: Map<string, number>, name: string, count: number): void {
  sums.set(name, (sums.get(name) ?? 0) + count);
}

function sorted(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}
