/** What kind of pool a seed is: its size, its times, and how scarce seats are. */
import { effectiveLifeMs } from "@quorate/core";
import type { Random } from "./random.ts";

export interface Profile {
  readonly members: number;
  readonly clients: number;
  readonly leaseMs: number;
  readonly lifeMs: number;
  readonly features: readonly { readonly name: string; readonly seats: number }[];
  /** How long a client keeps a seat, on average. */
  readonly holdMs: number;
  /** How long it does something else between two uses, on average. */
  readonly idleMs: number;
  /** Nothing but a minority of members ever dies: then no client may lose its seat (I5). */
  readonly calm: boolean;
  /** In words, for the summary. */
  readonly name: string;
}

/** With faults named by hand, no run is calm. */
export function profileOf(random: Random, members: number | null, byHand: boolean): Profile {
  const size = members ?? random.pick(MEMBERS);
  const leaseMs = random.pick([2_000, 5_000, 5_000]);
  const shortLife = random.chance(0.5);
  const lifeMs = effectiveLifeMs(shortLife ? 1 : 60_000, leaseMs);
  const clients = random.whole(4, 12);
  const scarcity = random.pick(SCARCITIES);
  const seats = Math.max(1, Math.round(clients * scarcity.seatsShare));
  const features = [{ name: "cad", seats }];
  if (random.chance(0.4)) features.push({ name: "cam", seats: random.whole(1, 2 * seats) });
  const holdMs = random.pick([0.3, 2, 6]) * lifeMs;
  const calm = random.chance(CALM_SHARE) && size >= 3 && !byHand;
  return {
    members: size,
    clients,
    leaseMs,
    lifeMs,
    features,
    holdMs,
    idleMs: holdMs * scarcity.idleShare,
    calm,
    name: `${calm ? "only a minority dies, " : ""}${scarcity.name}, ${shortLife ? "short" : "usual"} lives`,
  };
}

const CALM_SHARE = 0.2;
const MEMBERS = [1, 2, 3, 3, 3, 5] as const;
const SCARCITIES = [
  { name: "free seats left", seatsShare: 2, idleShare: 0.5 },
  { name: "just enough seats", seatsShare: 1, idleShare: 0.3 },
  { name: "every seat taken", seatsShare: 0.5, idleShare: 0.2 },
  { name: "hardly any seats", seatsShare: 0.2, idleShare: 0.5 },
] as const;
