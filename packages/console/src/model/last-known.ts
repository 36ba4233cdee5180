/**
 * While the leader changes, a server answers for itself alone and names those it does not know of. What was
 * last heard of them is nearer to the truth than nothing at all.
 */
import type { FeatureRow, FeaturesAnswer } from "@quorate/protocol";

export function withLastKnown(
  before: FeaturesAnswer | null,
  after: FeaturesAnswer,
  alive: ReadonlySet<string>,
): FeaturesAnswer {
  if (before === null || after.missing.length === 0) return after;
  const features = after.features.map((row) => {
    const known = before.features.find((each) => each.name === row.name);
    return known === undefined ? row : filled(row, known, after.missing, alive);
  });
  return { ...after, features };
}

function filled(
  row: FeatureRow,
  known: FeatureRow,
  missing: readonly string[],
  alive: ReadonlySet<string>,
): FeatureRow {
  const members = { ...row.members };
  let { inUse, free } = row;
  for (const id of missing) {
    const now = members[id];
    const last = known.members[id];
    if (now === undefined || last === undefined) continue;
    const more = Math.max(0, Math.min(last.inUse, now.seats) - now.inUse);
    members[id] = { ...now, inUse: now.inUse + more };
    inUse += more;
    // A dead server's seats were not counted as free in the first place.
    if (alive.has(id)) free = Math.max(0, free - more);
  }
  return {
    ...row,
    members,
    inUse,
    free,
    queued: Math.max(row.queued, known.queued),
    denied: Math.max(row.denied, known.denied),
  };
}
