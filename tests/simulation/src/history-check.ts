/**
 * Was a seat too many in use at any instant of a recorded history? One sweep over all end points.
 *
 * A hold is the interval in which a client certainly believed, [fromMs, toMs), on one clock of the recorder;
 * so every finding is real. At equal times ends come first, then changes of the limit, then starts: a seat
 * that is given back and taken in the same instant is one seat.
 *
 * A limit that is lowered throws nobody out (I1): from then on the holds may stay above it but not grow.
 */
export interface Hold {
  readonly feature: string;
  readonly seats: number;
  readonly fromMs: number;
  /** Not included; Infinity if the hold did not end. */
  readonly toMs: number;
}

/** From `atMs` on, `feature` has `seats`. Before its first limit a feature has none. */
export interface Limit {
  readonly atMs: number;
  readonly feature: string;
  readonly seats: number;
}

export interface OverIssue {
  readonly feature: string;
  readonly atMs: number;
  readonly held: number;
  readonly allowed: number;
}

/** How much too much was held: what a wrong clock or a broken promise has cost. */
export interface OverIssueCost {
  /** The most seats beyond the allowed at one instant. */
  readonly seatsMax: number;
  /** Seats beyond the allowed, times how long. */
  readonly seatMs: number;
  /** The longest interval without a break in which a feature had too many holders. */
  readonly longestMs: number;
}

/** The same sweep as `overIssues`, measured instead of listed. */
export function overIssueCost(holds: readonly Hold[], limits: readonly Limit[]): OverIssueCost {
  let [seatsMax, seatMs, longestMs] = [0, 0, 0];
  const since = new Map<string, { atMs: number; excess: number; fromMs: number }>();
  sweep(holds, limits, (point, { held, allowed }) => {
    const last = since.get(point.feature) ?? { atMs: point.atMs, excess: 0, fromMs: point.atMs };
    seatMs += last.excess * (point.atMs - last.atMs);
    if (last.excess > 0) longestMs = Math.max(longestMs, point.atMs - last.fromMs);
    const excess = Math.max(0, held - allowed);
    seatsMax = Math.max(seatsMax, excess);
    const fromMs = last.excess > 0 ? last.fromMs : point.atMs;
    since.set(point.feature, { atMs: point.atMs, excess, fromMs });
  });
  return { seatsMax, seatMs, longestMs };
}

/** Every instant at which a hold began that was too much, in the order of time. */
export function overIssues(holds: readonly Hold[], limits: readonly Limit[]): OverIssue[] {
  const found: OverIssue[] = [];
  sweep(holds, limits, (point, state) => {
    if (point.rank === START && state.held > state.allowed) report(found, point, state);
  });
  return found;
}

/** All end points in the order of time; `look` sees each feature's state after each of them. */
function sweep(
  holds: readonly Hold[],
  limits: readonly Limit[],
  look: (point: Point, state: { readonly held: number; readonly allowed: number }) => void,
): void {
  const points: Point[] = [];
  for (const hold of holds) {
    if (!(hold.toMs > hold.fromMs)) continue;
    points.push({ atMs: hold.fromMs, rank: START, feature: hold.feature, seats: hold.seats });
    points.push({ atMs: hold.toMs, rank: END, feature: hold.feature, seats: hold.seats });
  }
  for (const limit of limits) {
    points.push({ atMs: limit.atMs, rank: LIMIT, feature: limit.feature, seats: limit.seats });
  }
  points.sort((a, b) => a.atMs - b.atMs || a.rank - b.rank || order(a.feature, b.feature));

  const features = new Map<string, { held: number; licensed: number; allowed: number }>();
  for (const point of points) {
    let state = features.get(point.feature);
    if (state === undefined) {
      state = { held: 0, licensed: 0, allowed: 0 };
      features.set(point.feature, state);
    }
    if (point.rank === START) {
      state.held += point.seats;
    } else {
      if (point.rank === END) state.held -= point.seats;
      else state.licensed = point.seats;
      // What was held above a lower limit may stay, but what ended of it may not come back.
      state.allowed = Math.max(state.licensed, Math.min(state.held, state.allowed));
    }
    look(point, state);
  }
}

const END = 0;
const LIMIT = 1;
const START = 2;

interface Point {
  readonly atMs: number;
  readonly rank: typeof END | typeof LIMIT | typeof START;
  readonly feature: string;
  readonly seats: number;
}

function order(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Several holds that begin in one instant are one finding: the highest count. */
function report(
  found: OverIssue[],
  point: Point,
  state: { readonly held: number; readonly allowed: number },
): void {
  const last = found.at(-1);
  const finding = {
    feature: point.feature,
    atMs: point.atMs,
    held: state.held,
    allowed: state.allowed,
  };
  if (last?.feature === point.feature && last.atMs === point.atMs)
    found[found.length - 1] = finding;
  else found.push(finding);
}
