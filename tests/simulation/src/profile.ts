/** What kind of pool a seed is: its size, its times, and how scarce seats are. */
import { effectiveLifeMs } from "@quorate/core";
import { aimedProfile, aimOf } from "./aimed-workloads.ts";
import type { Random } from "./random.ts";

export interface Profile {
  readonly members: number;
  readonly clients: number;
  readonly leaseMs: number;
  /** Of the first license; later ones may say more or less. */
  readonly lifeMs: number;
  readonly features: readonly { readonly name: string; readonly seats: number }[];
  /** How long a client keeps a seat, on average. */
  readonly holdMs: number;
  /** How long it does something else between two uses, on average. */
  readonly idleMs: number;
  /** Nothing but a minority of members ever dies: then no client may lose its seat (I5). */
  readonly calm: boolean;
  /** Hand-made clients that do everything wrong (`virtual-mischief.ts`). */
  readonly mischief: number;
  /** Share of uses that begin with another running program's session, as after a copied process. */
  readonly sharedSessions: number;
  /** All servers' clocks at the fast end of the drift bound, all clients' at the slow one. */
  readonly fastServers: boolean;
  /** No program dies or is stopped: every seat that counts as used is believed in. */
  readonly steadyClients: boolean;
  /** A process that ended is started again within this, mostly much sooner. */
  readonly restartMsMax: number;
  /** What the workload aims at (`aimed-workloads.ts`), or null. */
  readonly aim: string | null;
  /** Whether the usual faults happen too. */
  readonly usualFaults: boolean;
  /** In words, for the summary. */
  readonly name: string;
}

/** With faults named by hand, no run is calm or aimed. `aim` names one; "none" leaves them out. */
export function profileOf(
  random: Random,
  members: number | null,
  byHand: boolean,
  aim: string | null = null,
): Profile {
  const usual = usualProfile(random, members, byHand);
  const own = random.stream("aim");
  const name = aimOf(own, byHand ? (aim ?? "none") : aim);
  if (name === null) return usual;
  const usualFaults = own.chance(USUAL_FAULTS_SHARE);
  return { ...usual, usualFaults, ...aimedProfile(name, own), aim: name };
}

function usualProfile(random: Random, members: number | null, byHand: boolean): Profile {
  const size = members ?? random.pick(MEMBERS);
  const leaseMs = random.pick([2_000, 5_000, 5_000]);
  const shortLife = random.chance(0.5);
  const lifeMs = effectiveLifeMs(shortLife ? 1 : 60_000, leaseMs);
  const dice = random.next();
  const crowd = CROWDS.find(({ below }) => dice < below) ?? CROWDS[0];
  const clients = random.whole(crowd.from, crowd.to);
  const scarcity = random.pick(SCARCITIES);
  const seats = Math.max(1, Math.round(clients * scarcity.seatsShare));
  const features = FEATURE_NAMES.slice(0, random.pick(FEATURE_COUNTS)).map((name, index) => ({
    name,
    seats: index === 0 ? seats : random.whole(1, 2 * seats),
  }));
  const holdMs = random.pick([0.3, 2, 6]) * lifeMs;
  const calm = random.chance(CALM_SHARE) && size >= 3 && !byHand;
  const mistakes = !calm && random.chance(MISTAKES_SHARE);
  return {
    members: size,
    clients,
    leaseMs,
    lifeMs,
    features,
    holdMs,
    idleMs: holdMs * scarcity.idleShare,
    calm,
    mischief: mistakes ? random.whole(0, 2) : 0,
    sharedSessions: mistakes ? random.pick([0, 0.05, 0.2]) : 0,
    fastServers: false,
    steadyClients: false,
    restartMsMax: RESTART_MS_MAX,
    aim: null,
    usualFaults: true,
    name: [
      ...(calm ? ["only a minority dies"] : []),
      ...(mistakes ? ["clients make mistakes"] : []),
      scarcity.name,
      `${shortLife ? "short" : "usual"} lives`,
    ].join(", "),
  };
}

const CALM_SHARE = 0.2;
/** Share of the aimed seeds that have the usual faults as well. */
const USUAL_FAULTS_SHARE = 0.25;
const RESTART_MS_MAX = 40_000;
const MISTAKES_SHARE = 0.3;
const MEMBERS = [1, 2, 2, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7] as const;
const FEATURE_NAMES = ["cad", "cam", "fem", "pcb"] as const;
const FEATURE_COUNTS = [1, 1, 1, 1, 1, 1, 2, 2, 3, 4] as const;
/** One seed of a hundred or so has a crowd: it costs as much as twenty others. */
const CROWDS = [
  { below: 0.85, from: 4, to: 12 },
  { below: 0.99, from: 13, to: 40 },
  { below: 1, from: 100, to: 300 },
] as const;
const SCARCITIES = [
  { name: "free seats left", seatsShare: 2, idleShare: 0.5 },
  { name: "just enough seats", seatsShare: 1, idleShare: 0.3 },
  { name: "every seat taken", seatsShare: 0.5, idleShare: 0.2 },
  { name: "hardly any seats", seatsShare: 0.2, idleShare: 0.5 },
] as const;
