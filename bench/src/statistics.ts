/** The few statistics that survive a noisy machine. */

/** The value below which the share `share` of all lies, by the nearest rank. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1));
  const value = sorted[rank];
  if (value === undefined) throw new Error("there is no quantile of nothing");
  return value;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export interface Rounds {
  readonly baseline: number;
  readonly candidate: number;
  /** Median of the ratios of each round: what disturbs one round disturbs both of its halves. */
  readonly ratio: number;
}

/**
 * Measures A B A B …: the machine's mood changes over minutes, so only neighbours are compared.
 * Who goes first changes from round to round.
 */
export async function alternate(
  rounds: number,
  baseline: (round: number) => Promise<number>,
  candidate: (round: number) => Promise<number>,
): Promise<Rounds> {
  const pairs: { readonly baseline: number; readonly candidate: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const early = round % 2 === 0 ? await baseline(round) : null;
    const measured = await candidate(round);
    pairs.push({ baseline: early ?? (await baseline(round)), candidate: measured });
  }
  return {
    baseline: median(pairs.map((pair) => pair.baseline)),
    candidate: median(pairs.map((pair) => pair.candidate)),
    ratio: median(pairs.map((pair) => pair.candidate / pair.baseline)),
  };
}
