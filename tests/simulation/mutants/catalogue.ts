/**
 * Planted bugs: each breaks one rule of the design by a small change of production source. The simulator
 * must find every one; one that it misses is a hole in the simulator (docs/testing.md has the table).
 *
 * `find` must be there exactly once, so that a refactoring cannot silently lose a mutant.
 */
import { CLIENT_AND_LICENSE } from "./client-and-license.ts";
import { CONVERSIONS_AND_RETURNS } from "./conversions-and-returns.ts";
import { LEASES_AND_RECORDS } from "./leases-and-records.ts";

export interface Change {
  /** From the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutant extends Change {
  readonly name: string;
  /** The rule that it breaks, and where the design says so. */
  readonly rule: string;
  /** The workload that reaches the rule (`aimed-workloads.ts`); left out: whatever the seed draws. */
  readonly aim?: string;
  /** Where one place alone would be caught by the next: the other places. */
  readonly also?: readonly Change[];
}

export const MUTANTS: readonly Mutant[] = [
  ...LEASES_AND_RECORDS,
  ...CONVERSIONS_AND_RETURNS,
  ...CLIENT_AND_LICENSE,
];

export function mutantOf(name: string): Mutant {
  const found = MUTANTS.find((mutant) => mutant.name === name);
  if (found === undefined) {
    throw new Error(
      `no mutant "${name}"; there are: ${MUTANTS.map((each) => each.name).join(", ")}`,
    );
  }
  return found;
}

export function changesOf(mutant: Mutant): readonly Change[] {
  return [mutant, ...(mutant.also ?? [])];
}

/** The source with the bug in it. Throws if what is to be changed is not there exactly once. */
export function mutated(source: string, { file, find, replace }: Change): string {
  const parts = source.split(find);
  if (parts.length !== 2) {
    throw new Error(`${file} has ${parts.length - 1} places like this, not one:\n${find}`);
  }
  return parts.join(replace);
}
