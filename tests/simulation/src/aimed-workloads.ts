/**
 * Workloads that aim at one corner of the protocol: the pool, its licenses and its faults are made so that
 * the corner is reached every few seconds. Half of all seeds draw one; the usual faults come on top of
 * some of them.
 *
 * Lives are short (six to twelve leases), seats are scarce, and clocks run at both ends of the drift bound.
 */
import {
  type AimedWorld,
  appearAndBeCutOff,
  cutSomeClients,
  isolateSomeClients,
  dieAmongIsolated,
  dropLate,
  hearNoMore,
  hearTheLast,
  handOverUnheard,
  returnToWeakStore,
  shortenLives,
  weakenStore,
  moveLead,
} from "./aimed-strikes.ts";
import type { Profile } from "./profile.ts";
import type { Random } from "./random.ts";
import { STORE_MACHINE } from "./virtual-store.ts";

export const AIM_AT_FOLDERS = "old folders";
export const AIM_AT_STORES = "a store restored from a backup";

interface Aim {
  readonly name: string;
  readonly profile: (random: Random, leaseMs: number) => Partial<Profile>;
  /** Never drawn: it happens only where it is named. */
  readonly onlyByName?: boolean;
  /** One strike; returns how long to wait for the next, in leases. */
  readonly strike: (world: AimedWorld, random: Random) => number;
}

/** What several aims have in common. */
function scarce(random: Random, lifeMs: number): Partial<Profile> {
  const clients = random.whole(5, 10);
  const seats = Math.max(2, Math.round(clients * random.pick([0.5, 0.8, 1.2])));
  const holdMs = random.pick([0.5, 1.5, 4]) * lifeMs;
  return {
    members: 3,
    lifeMs,
    clients,
    features: [{ name: "cad", seats }],
    holdMs,
    idleMs: 0.1 * holdMs,
    restartMsMax: 1.5 * lifeMs,
  };
}

const AIMS: readonly Aim[] = [
  {
    name: "edges of the lease",
    // The shorter the lease, the more is in its margins.
    profile: (random) => ({
      ...scarce(random, 6 * EDGE_LEASE_MS),
      leaseMs: EDGE_LEASE_MS,
      clients: 12,
      // Who is cut from the store grants only what it has.
      features: [{ name: "cad", seats: random.pick([14, 40]) }],
      holdMs: EDGE_LEASE_MS,
      idleMs: 0.2 * EDGE_LEASE_MS,
    }),
    strike: (world, random) => {
      const { leaseMs, network, scheduler, hiddenPauseMsMax } = world;
      const member = random.pick(world.members);
      const { hardware } = member;
      const ms = random.between(1.1, 2.5) * leaseMs;
      const kind = random.pick(KINDS_AT_THE_EDGE);
      // A grant must be under way when the lease ends, or a renewal when the process is stopped.
      const fromShare = kind === "slow disk" ? 0.72 : 0;
      const toShare = kind === "pause" ? 0.2 : kind === "slow disk" ? 0.95 : 1.02;
      const atMs = random.between(fromShare, toShare) * leaseMs;
      const isLate = kind === "pause" || (kind === "hidden" && random.chance(0.6));
      // The last renewals are answered late; for longer, or much later, nobody would see anybody alive.
      const lateShare = kind === "pause" ? 0.6 : 0.35;
      Object.assign(world.store.weather, { lateShare: isLate ? lateShare : 0, lateMsMax: 420 });
      scheduler.after(isLate ? 600 : 300, () => {
        if (!world.isActive()) return;
        world.store.weather.lateShare = 0;
        network.cut(member.machine, STORE_MACHINE, ms);
        network.cut(STORE_MACHINE, member.machine, ms);
      });
      scheduler.after(atMs, () => {
        if (!world.isActive()) return;
        if (kind === "suspend") hardware.stop("suspend", random.between(0.8, 3) * leaseMs);
        else if (kind === "slow disk") member.disk.slow(random.between(0.45, 0.495) * leaseMs);
        else if (kind === "pause") member.process()?.pause(random.between(0.1, 0.7) * leaseMs);
        if (kind === "hidden" || kind === "pause") {
          const laterMs = kind === "pause" ? random.between(0.45, 1) * leaseMs : 0;
          scheduler.after(laterMs, () => {
            if (world.isActive()) hardware.stop("hidden", 0.98 * hiddenPauseMsMax);
          });
        }
      });
      world.story.tell("aim", `${member.id} is cut from the store for ${ms} ms, ${kind}`);
      // Two hidden pauses within one wait would add up to more than is assumed.
      return (ms + atMs) / leaseMs + (kind === "pause" ? 5 : 3);
    },
  },
  {
    name: "cut off for different times",
    profile: (random, leaseMs) => ({
      ...scarce(random, 6 * leaseMs),
      members: random.pick([2, 3, 5]),
    }),
    strike: (world, random) => {
      const { leaseMs, network } = world;
      for (const member of world.members) {
        const ms = random.between(0.8, 3) * leaseMs;
        network.cut(member.machine, STORE_MACHINE, ms);
        if (random.chance(0.5)) network.cut(STORE_MACHINE, member.machine, ms);
      }
      world.story.tell("aim", "all are cut from the store for different times");
      return random.between(4, 10);
    },
  },
  {
    name: "dies and returns within one life",
    profile: (random, leaseMs) => ({
      ...scarce(random, random.pick([6, 12]) * leaseMs),
      restartMsMax: random.pick([2, 5]) * leaseMs,
    }),
    strike: (world, random) => {
      const { leaseMs } = world;
      const member = random.pick(world.members);
      if (random.chance(0.5)) {
        cutSomeClients(world, random, member, random.between(0.5, 4) * leaseMs);
      } else isolateSomeClients(world, random, null, random.between(0.3, 1) * world.lifeMs);
      if (random.chance(0.3)) weakenStore(world, random);
      const how = random.pick(["crash", "crash", "crash", "stop", "cut"]);
      if (how === "crash") member.crash();
      else if (how === "stop") member.stop();
      else {
        const ms = random.between(1.2, 4) * leaseMs;
        world.network.cut(member.machine, STORE_MACHINE, ms);
        world.network.cut(STORE_MACHINE, member.machine, ms);
      }
      world.story.tell("aim", `${member.id}: ${how}`);
      return random.between(0.5, 4);
    },
  },
  {
    name: "dies for longer than a life",
    profile: (random) => ({
      ...scarce(random, 60_000),
      leaseMs: 2_000,
      clients: 20,
      features: [{ name: "cad", seats: 20 }],
      holdMs: random.pick([80_000, 300_000]),
      fastServers: true,
      steadyClients: random.chance(0.8),
    }),
    strike: (world, random) => {
      const ms = 1.1 * world.lifeMs;
      const member = random.pick(world.members);
      if (random.chance(0.7)) hearTheLast(world, random, member, ms);
      else dieAmongIsolated(world, random, member, ms);
      return ms / world.leaseMs + random.between(2, 6);
    },
  },
  {
    name: "cut off for most of a life",
    profile: (random, leaseMs) => ({
      ...scarce(random, random.pick([6, 10]) * leaseMs),
      steadyClients: random.chance(0.5),
    }),
    strike: (world, random) => {
      const { lifeMs, leaseMs, network } = world;
      const member = random.pick(world.members);
      const ms = random.between(0.6, 1) * lifeMs;
      network.cut(member.machine, STORE_MACHINE, ms);
      network.cut(STORE_MACHINE, member.machine, ms);
      if (random.chance(0.5)) {
        for (const other of world.members) network.cut(other.machine, member.machine, ms);
      }
      // Some reach only the others, some only the member that is cut off.
      cutSomeClients(world, random, member, ms);
      isolateSomeClients(world, random, member, ms);
      Object.assign(network.weather, { slowShare: 0.2, slowMsMax: 1_000 });
      world.story.tell("aim", `${member.id} is cut off for ${ms} ms`);
      return ms / leaseMs + random.between(1, 6);
    },
  },
  {
    name: "answers lost at conversions",
    profile: (random, leaseMs) => {
      const usual = scarce(random, random.pick([6, 12]) * leaseMs);
      const restartMsMax = random.pick([2, 8]) * leaseMs;
      return random.chance(0.4)
        ? { ...usual, restartMsMax, holdMs: leaseMs, idleMs: leaseMs }
        : { ...usual, restartMsMax };
    },
    strike: (world, random) => {
      const { leaseMs, network, scheduler } = world;
      const member = random.pick(world.members);
      const clients = random.shuffled(world.clients).slice(0, random.whole(1, 4));
      const fromMs = random.pick([0, 1, 1.3, 1.6]) * leaseMs;
      const ms = random.between(0.1, 1.5) * leaseMs;
      if (random.chance(0.7)) member.crash();
      else member.stop();
      // A second copy may come when its session has been released, but within one life.
      const comeLate = random.chance(0.5);
      network.weather.duplicateLateMsMax = comeLate ? 0.5 * world.lifeMs : 0;
      scheduler.after(fromMs, () => {
        if (!world.isActive()) return;
        for (const { machine } of clients) {
          for (const other of world.members) network.cut(other.machine, machine.name, ms);
        }
        Object.assign(network.weather, { duplicateShare: 0.3, slowShare: 0.3, slowMsMax: leaseMs });
        scheduler.after(ms, () => {
          const duplicateShare = comeLate ? 0.3 : 0;
          Object.assign(network.weather, { duplicateShare, slowShare: 0, slowMsMax: 0 });
        });
      });
      world.story.tell("aim", `${member.id} dies; answers are lost after ${fromMs} ms`);
      return random.between(2, 8);
    },
  },
  {
    name: "clients cut from their living member",
    profile: (random, leaseMs) => scarce(random, random.pick([6, 10]) * leaseMs),
    strike: (world, random) => {
      const { leaseMs, network } = world;
      const member = random.pick(world.members);
      if (random.chance(0.4)) {
        handOverUnheard(world, random, member);
        return random.between(4, 9);
      }
      cutSomeClients(world, random, member, random.between(1, 5) * leaseMs);
      if (random.chance(0.3)) {
        const other = random.pick(world.members);
        const ms = random.between(0.3, 3) * leaseMs;
        if (random.chance(0.5)) network.cut(member.machine, other.machine, ms);
        else network.cut(other.machine, member.machine, ms);
      }
      if (random.chance(0.5)) random.pick(world.members).crash();
      if (random.chance(0.25)) weakenStore(world, random);
      world.story.tell("aim", `clients are cut from ${member.id}`);
      return random.between(1, 5);
    },
  },
  {
    name: "lives made shorter",
    profile: (random, leaseMs) => {
      const lifeMs = 18 * leaseMs;
      return { ...scarce(random, lifeMs), holdMs: 3 * lifeMs, steadyClients: random.chance(0.8) };
    },
    strike: (world, random) => {
      const ms = shortenLives(world, random, random.pick(world.members));
      return ms / world.leaseMs + random.between(1, 4);
    },
  },
  {
    name: "returns to a weak store",
    profile: (random, leaseMs) => ({
      ...scarce(random, random.pick([6, 12]) * leaseMs),
      restartMsMax: leaseMs,
      steadyClients: random.chance(0.8),
    }),
    strike: (world, random) => {
      const ms = returnToWeakStore(world, random, random.pick(world.members));
      return ms / world.leaseMs + random.between(0.5, 3);
    },
  },
  {
    // While the leader waits for the store with one feature's record, seats of another are asked for.
    name: "returns to a weak store with several features",
    onlyByName: true,
    profile: (random, leaseMs) => ({
      ...scarce(random, 6 * leaseMs),
      clients: 14,
      features: ["cad", "cam", "fem"].map((name) => ({ name, seats: random.whole(5, 8) })),
      holdMs: random.pick([1, 4]) * leaseMs,
      idleMs: 0.3 * leaseMs,
      restartMsMax: leaseMs,
      steadyClients: true,
    }),
    strike: (world, random) => {
      const ms = returnToWeakStore(world, random, random.pick(world.members));
      return ms / world.leaseMs + random.between(0.5, 3);
    },
  },
  {
    name: "a new machine and cut off at once",
    onlyByName: true,
    // Nobody here makes room a second time in a store that was restored to before the machine was replaced.
    profile: (random, leaseMs) => ({ ...scarce(random, 6 * leaseMs), usualFaults: false }),
    strike: (world, random) => appearAndBeCutOff(world, random),
  },
  {
    name: "duplicates dropped late",
    profile: (random, leaseMs) => {
      const lifeMs = random.pick([6, 10]) * leaseMs;
      const usual = scarce(random, lifeMs);
      const clients = random.whole(4, 8);
      const features = [{ name: "cad", seats: 3 * clients }];
      const times = { holdMs: 2 * lifeMs, idleMs: 0.2 * lifeMs, restartMsMax: lifeMs };
      return { ...usual, ...times, clients, features, steadyClients: random.chance(0.8) };
    },
    strike: (world, random) => {
      const ms = dropLate(world, random, random.pick(world.members));
      return ms / world.leaseMs + random.between(0.5, 3);
    },
  },
  {
    name: "late and lost answers of the store",
    profile: (random, leaseMs) => ({
      ...scarce(random, 6 * leaseMs),
      holdMs: 3 * leaseMs,
      idleMs: leaseMs,
    }),
    strike: (world, random) => {
      Object.assign(world.store.weather, {
        lateShare: random.pick([0.1, 0.4, 0.8]),
        lateMsMax: random.pick([450, 450, 1_500, 4_000]),
        lostAnswerShare: random.pick([0, 0.1, 0.4]),
      });
      if (random.chance(0.3)) random.pick(world.members).process()?.pause(world.leaseMs);
      if (random.chance(0.1)) random.pick(world.members).crash();
      if (random.chance(0.4)) moveLead(world, random);
      world.story.tell("aim", `the store: ${JSON.stringify(world.store.weather)}`);
      return random.between(1, 4);
    },
  },
  {
    name: AIM_AT_FOLDERS,
    profile: (random, leaseMs) => ({
      ...scarce(random, 12 * leaseMs),
      restartMsMax: 2 * leaseMs,
    }),
    strike: (world, random) => {
      const member = random.pick(world.members);
      const { scheduler, leaseMs } = world;
      if (random.chance(0.7)) member.disk.keepCopy();
      const afterMs = random.between(0.5, 4) * leaseMs;
      const isolatesClients = random.chance(0.5);
      scheduler.after(afterMs, () => {
        if (!world.isActive()) return;
        if (isolatesClients) {
          isolateSomeClients(world, random, null, random.between(0.5, 1) * world.lifeMs);
        }
        member.crash();
        if (random.chance(0.6) && member.disk.restoreCopy()) {
          world.story.tell("aim", `the disk of ${member.id} is as it was`);
        }
      });
      // What an older folder proves nothing of, it does not prove at the next start either.
      if (random.chance(0.5)) {
        scheduler.after(afterMs + random.between(2, 5) * leaseMs, () => {
          if (world.isActive()) member.crash();
        });
      }
      return random.between(1, 6);
    },
  },
  {
    name: "licenses with other seats and lives",
    profile: (random, leaseMs) => {
      const usual = scarce(random, random.pick([12, 18]) * leaseMs);
      const [cad] = usual.features ?? [];
      const several = cad !== undefined && random.chance(0.6);
      return several ? { ...usual, features: [cad, { ...cad, name: "cam" }] } : usual;
    },
    strike: (world, random) => {
      world.story.tell("aim", world.changeLicense(random));
      const member = random.pick(world.members);
      if (random.chance(0.3)) {
        const ms = random.between(0.7, 1.2) * world.lifeMs;
        hearNoMore(world, random, member, ms);
        return ms / world.leaseMs;
      }
      if (random.chance(0.4)) member.crash();
      else if (random.chance(0.6)) {
        const { leaseMs, lifeMs } = world;
        const ms = random.between(0.5, 1.2) * lifeMs;
        world.scheduler.after(random.between(0, lifeMs / 2), () => {
          if (world.isActive()) dieAmongIsolated(world, random, member, ms);
        });
        return ms / leaseMs;
      }
      return random.between(2, 9);
    },
  },
  {
    name: AIM_AT_STORES,
    // A rebuilt pool waits for the longest life that it ever knew, and never less than a minute.
    profile: (random, leaseMs) => ({ ...scarce(random, 60_000), holdMs: 10 * leaseMs }),
    strike: (world, random) => {
      const what = world.administrator.restoreStore(random);
      if (what !== null) world.story.tell("aim", what);
      return (3 * world.lifeMs) / world.leaseMs;
    },
  },
  {
    name: "sleep and wall clocks",
    profile: (random, leaseMs) => scarce(random, random.pick([6, 10]) * leaseMs),
    strike: (world, random) => {
      const { leaseMs, lifeMs } = world;
      const client = random.pick(world.clients).machine;
      const member = random.pick(world.members).hardware;
      const machine = random.chance(0.6) ? client : member;
      const ms = random.between(0.2, 1.3) * lifeMs;
      const kind = random.pick(["suspend", "suspend", "wall"]);
      if (kind === "suspend") machine.stop("suspend", ms);
      else machine.setWall(random.between(0.2, 3) * lifeMs);
      world.story.tell("aim", `${machine.name}: ${kind} ${ms} ms`);
      return random.between(0.2, 2) * (lifeMs / leaseMs / 6);
    },
  },
  {
    name: "a second process of a member",
    profile: (random, leaseMs) => scarce(random, 6 * leaseMs),
    strike: (world, random) => {
      const { leaseMs, network } = world;
      const member = random.pick(world.members);
      if (random.chance(0.6)) {
        const ms = random.between(0.5, 4) * leaseMs;
        network.cut(member.machine, STORE_MACHINE, ms);
        network.cut(STORE_MACHINE, member.machine, ms);
      }
      const forMs = random.between(1, 6) * leaseMs;
      if (world.startTwin(member, forMs)) world.story.tell("aim", `a second ${member.id} starts`);
      return forMs / leaseMs + random.between(1, 5);
    },
  },
];

const DRAWN = AIMS.filter(({ onlyByName }) => onlyByName !== true);

/** The aim of a seed; null: the usual workload. `named` for a search by hand. */
export function aimOf(random: Random, named: string | null): string | null {
  if (named !== null) {
    if (named === "none") return null;
    if (!AIMS.some(({ name }) => name === named))
      throw new Error(`no aim "${named}"; ${aimNames()}`);
    return named;
  }
  return random.chance(AIMED_SHARE) ? random.pick(DRAWN).name : null;
}

export function aimNames(): string {
  return AIMS.map(({ name }) => `"${name}"`).join(", ");
}

export function aimedProfile(name: string, random: Random): Partial<Profile> {
  const leaseMs = random.pick([2_000, 2_000, 5_000]);
  return { leaseMs, calm: false, name, ...find(name).profile(random, leaseMs) };
}

/** Strikes again and again until the faults are over. Each strike has a name and dice of its own. */
export function aim(name: string, world: AimedWorld, random: Random): void {
  const { strike } = find(name);
  const again = (number: number, leases: number): void => {
    world.scheduler.after(leases * world.leaseMs, () => {
      if (!world.isActive()) return;
      const own = random.stream(String(number));
      const happens = world.mayHappen(`aim#${number}`);
      again(number + 1, happens ? strike(world, own) : LEASES_LEFT_OUT);
    });
  };
  again(1, FIRST_LEASES);
}

function find(name: string): Aim {
  const found = AIMS.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no aim "${name}"`);
  return found;
}

/** The time that a strike takes that is left out. */
const LEASES_LEFT_OUT = 3;
const EDGE_LEASE_MS = 2_000;
const KINDS_AT_THE_EDGE = [
  "hidden",
  "hidden",
  "hidden",
  "suspend",
  "pause",
  "slow disk",
  "slow disk",
  "slow disk",
] as const;
const AIMED_SHARE = 0.5;
/** The members have begun by then, and the first clients hold seats. */
const FIRST_LEASES = 6;
