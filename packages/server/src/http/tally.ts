/** What is counted about answers, for `/metrics`: cheap enough for the hot path. */
import type { RefusalCode } from "@quorate/core";

export interface Tally {
  answered: number;
  /** Of the refusals, those of an address or a client that had no share left. */
  readonly limited: Record<"address" | "client", number>;
  refused(code: RefusalCode): void;
  refusals(): ReadonlyMap<RefusalCode, number>;
}

export function createTally(): Tally {
  const refusals = new Map<RefusalCode, number>();
  return {
    answered: 0,
    limited: { address: 0, client: 0 },
    refused: (code) => {
      refusals.set(code, (refusals.get(code) ?? 0) + 1);
    },
    refusals: () => refusals,
  };
}
