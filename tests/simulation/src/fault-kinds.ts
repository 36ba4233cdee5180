/** The kinds of fault: how often each happens when its intensity is 1, and what it does. */
import type { MemberApi } from "./server-parts.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Story } from "./story.ts";
import type { VirtualAdministrator } from "./virtual-administrator.ts";
import type { VirtualClient } from "./virtual-client.ts";
import type { VirtualMember } from "./virtual-member.ts";
import { FAIR_WEATHER, type VirtualNetwork } from "./virtual-network.ts";
import { FAIR_STORE, STORE_MACHINE, type VirtualStoreServer } from "./virtual-store.ts";

export interface FaultWorld {
  readonly scheduler: Scheduler;
  readonly network: VirtualNetwork;
  readonly store: VirtualStoreServer;
  readonly members: readonly VirtualMember[];
  readonly clients: readonly VirtualClient[];
  readonly administrator: VirtualAdministrator;
  readonly story: Story;
  /** 2 margins: more hidden from all clocks is excluded by assumption. */
  readonly hiddenPauseMsMax: number;
  readonly lifeMs: number;
  readonly leaseMs: number;
  changeLicense(random: Random): string;
  /** Until when a machine can't be stopped invisibly again, by its name. */
  readonly hiddenUntilMs: Map<string, number>;
}

/** `meanMs`: the mean time between two faults of the kind at intensity 1. */
export const FAULT_KINDS: Readonly<Record<FaultKind, Rate>> = {
  crash: { meanMs: 60_000 },
  pause: { meanMs: 45_000 },
  suspend: { meanMs: 120_000 },
  "hidden pause": { meanMs: 300_000 },
  "wall clock set": { meanMs: 90_000 },
  partition: { meanMs: 60_000 },
  "bad network": { meanMs: 60_000 },
  "store away": { meanMs: 120_000 },
  "bad store": { meanMs: 60_000 },
  "watch reconnects": { meanMs: 60_000 },
  "store restored": { meanMs: 200_000 },
  "needless rebuild": { meanMs: 600_000 },
  "slow disk": { meanMs: 150_000 },
  "disk failure": { meanMs: 240_000 },
  "disk full": { meanMs: 300_000 },
  "older disk": { meanMs: 400_000 },
  "new disk": { meanMs: 240_000 },
  "stop on purpose": { meanMs: 120_000 },
  "stop dies half way": { meanMs: 240_000 },
  "license change": { meanMs: 180_000 },
  "whole pool loses power": { meanMs: 400_000 },
  "leader moved": { meanMs: 120_000 },
  "member replaced": { meanMs: 120_000 },
  revocation: { meanMs: 240_000 },
  "minority dies": { meanMs: 20_000, onlyByName: true },
};

interface Rate {
  readonly meanMs: number;
  /** Never drawn: it happens only where it is named. */
  readonly onlyByName?: boolean;
}

export type FaultKind =
  | "crash"
  | "pause"
  | "suspend"
  | "hidden pause"
  | "wall clock set"
  | "partition"
  | "bad network"
  | "store away"
  | "bad store"
  | "watch reconnects"
  | "store restored"
  | "needless rebuild"
  | "slow disk"
  | "disk failure"
  | "disk full"
  | "older disk"
  | "new disk"
  | "stop on purpose"
  | "stop dies half way"
  | "license change"
  | "whole pool loses power"
  | "leader moved"
  | "member replaced"
  | "revocation"
  | "minority dies";

type Strike = (world: FaultWorld, random: Random, isActive: () => boolean) => string | null;

/** In words what was done, or null if there was nothing to do it to. */
export function strike(
  kind: FaultKind,
  world: FaultWorld,
  random: Random,
  isActive: () => boolean,
): string | null {
  return STRIKES[kind](world, random, isActive);
}

const STRIKES: Readonly<Record<FaultKind, Strike>> = {
  crash: ({ members }, random) => {
    const member = random.pick(members);
    return member.crash() ? member.id : null;
  },
  pause: (world, random) => {
    const member = random.pick(world.members);
    const ms = durationMs(world, random);
    return member.process()?.pause(ms) === true ? `${member.id} for ${ms} ms` : null;
  },
  suspend: (world, random) => {
    const machine = random.pick(machinesOf(world));
    const ms = durationMs(world, random);
    return machine.stop("suspend", ms) ? `${machine.name} for ${ms} ms` : null;
  },
  "hidden pause": (world, random) => {
    const { scheduler, hiddenUntilMs } = world;
    const machine = random.pick(machinesOf(world));
    const ms = Math.floor(random.between(10, world.hiddenPauseMsMax));
    // Two of them within one wait would add up to more than is assumed.
    if ((hiddenUntilMs.get(machine.name) ?? 0) > scheduler.nowMs()) return null;
    if (!machine.stop("hidden", ms)) return null;
    hiddenUntilMs.set(machine.name, scheduler.nowMs() + HIDDEN_REST_LIVES * world.lifeMs);
    return `${machine.name} for ${ms} ms`;
  },
  "wall clock set": (world, random) => {
    const machine = random.pick(machinesOf(world));
    // Without a boot clock a wall clock set back would hide a sleep.
    const lowest = machine.hasBootClock ? -WALL_JUMP_MS_MAX : 0;
    const ms = Math.floor(random.between(lowest, WALL_JUMP_MS_MAX));
    machine.setWall(ms);
    return `${machine.name} by ${ms} ms`;
  },
  partition,
  "bad network": (world, random) => {
    const { network, scheduler } = world;
    Object.assign(network.weather, {
      lossShare: random.pick([0, 0.02, 0.1, 0.3]),
      duplicateShare: random.pick([0, 0.02, 0.2]),
      duplicateLateMsMax: random.pick([0, 500, 10_000]),
      slowShare: random.pick([0, 0.05, 0.3]),
      slowMsMax: random.pick([100, 600, 3_000]),
    });
    scheduler.after(durationMs(world, random), () => Object.assign(network.weather, FAIR_WEATHER));
    return JSON.stringify(network.weather);
  },
  "store away": (world, random) => {
    const ms = durationMs(world, random);
    world.store.weather.awayUntilMs = world.scheduler.nowMs() + ms;
    return `for ${ms} ms`;
  },
  "bad store": (world, random) => {
    const { store, scheduler } = world;
    Object.assign(store.weather, {
      lateShare: random.pick([0, 0.05, 0.3]),
      lateMsMax: random.pick([300, 1_500, 8_000]),
      lostAnswerShare: random.pick([0, 0.05, 0.3]),
    });
    const { awayUntilMs: _away, ...fair } = FAIR_STORE;
    scheduler.after(durationMs(world, random), () => Object.assign(store.weather, fair));
    return JSON.stringify(store.weather);
  },
  "watch reconnects": (world, random) => {
    const ms = Math.floor(random.between(0, 2 * world.leaseMs));
    const watches = world.store.breakWatches(ms, () => random.chance(0.7));
    return watches === 0 ? null : `${watches} watches after ${ms} ms`;
  },
  "store restored": ({ administrator }, random) => administrator.restoreStore(random),
  "needless rebuild": ({ administrator }, random) => administrator.rebuild(random),
  "slow disk": (world, random) => {
    const member = random.pick(world.members);
    const ms = durationMs(world, random);
    member.disk.slow(ms);
    return `${member.id} for ${ms} ms`;
  },
  "disk failure": ({ members }, random) => {
    const member = random.pick(members);
    return member.disk.fail() ? member.id : null;
  },
  "disk full": (world, random) => {
    const member = random.pick(world.members);
    const ms = durationMs(world, random);
    member.disk.fill(ms);
    return `${member.id} for ${ms} ms`;
  },
  "older disk": (world, random, isActive) => {
    const member = random.pick(world.members);
    if (member.process() === null) return null;
    member.disk.keepCopy();
    world.scheduler.after(random.between(1_000, 2 * world.lifeMs), () => {
      if (!isActive()) return;
      member.crash();
      if (member.disk.restoreCopy()) {
        world.story.tell("fault", `the disk of ${member.id} is as it was`);
      }
    });
    return `a copy of the disk of ${member.id} will come back`;
  },
  "new disk": ({ members }, random) => {
    const member = random.pick(members);
    member.crash();
    return member.disk.replace() ? member.id : null;
  },
  "stop on purpose": ({ members }, random) => {
    const member = random.pick(members);
    return member.stop() ? member.id : null;
  },
  "stop dies half way": (world, random) => {
    const member = random.pick(world.members);
    if (!member.stop()) return null;
    const ms = Math.floor(random.between(0, random.pick([10, 100, 1_000])));
    const process = member.process();
    world.scheduler.after(ms, () => {
      if (process !== null && member.process() === process) member.crash();
    });
    return `${member.id} after ${ms} ms`;
  },
  "license change": ({ changeLicense }, random) => changeLicense(random),
  "whole pool loses power": ({ members }) => {
    const down = members.filter((each) => each.crash());
    return down.length === 0 ? null : down.map(({ id }) => id).join(", ");
  },
  "leader moved": (world, random) => {
    const member = random.pick(world.members);
    const to = random.pick(world.members).id;
    return atMember(world, member, (api) => api.lead(to)) ? `to ${to}, by ${member.id}` : null;
  },
  "member replaced": ({ administrator }, random) => administrator.replaceMember(random),
  revocation: (world, random) => {
    const member = random.pick(world.members);
    const session = random.pick(world.clients).session();
    if (session === "") return null;
    const revoke = { session, administrator: true, reason: "simulated" };
    return atMember(world, member, (api) => api.release(revoke))
      ? `${session} by ${member.id}`
      : null;
  },
  "minority dies": ({ members }, random) => {
    const member = random.pick(members);
    // Only when all are well again, so that it stays a minority.
    if (members.some((each) => each.api()?.readiness() !== null)) return null;
    const onPurpose = random.chance(0.3);
    return (onPurpose ? member.stop() : member.crash()) ? member.id : null;
  },
};

function machinesOf({ members, clients }: FaultWorld) {
  return [
    ...members.map(({ hardware }) => hardware),
    ...clients.map(({ machine }) => machine),
  ] as const;
}

/** An administrator at the machine asks a member; what it answers is only told. */
function atMember(
  { story }: FaultWorld,
  member: VirtualMember,
  ask: (api: MemberApi) => Promise<unknown>,
): boolean {
  const run = member.listening();
  run?.process.deliver(0, () => {
    void ask(run.api).then((answer) =>
      story.tell(member.id, `answers the administrator ${JSON.stringify(answer)}`),
    );
  });
  return run !== null;
}

/** Around the waits that matter: a lease, a life; seldom several of them. */
function durationMs({ leaseMs, lifeMs }: FaultWorld, random: Random): number {
  const longest = random.pick([0.3 * leaseMs, leaseMs, 1.5 * leaseMs, 4 * leaseMs, 1.5 * lifeMs]);
  return Math.floor(random.between(0.05, 1) * longest) + 1;
}

function partition(world: FaultWorld, random: Random): string {
  const { members, network } = world;
  const names = [...members.map(({ id }) => id), STORE_MACHINE];
  const clients = world.clients.map(({ machine }) => machine.name);
  const ms = durationMs(world, random);
  const inside = random.pick(names);
  const others = [...names, ...clients].filter((name) => name !== inside);
  const cutOff = random.chance(0.5) ? others : others.filter(() => random.chance(0.4));
  const ways = random.pick(["both ways", "in", "out"]);
  for (const other of cutOff) {
    if (ways !== "out") network.cut(other, inside, ms);
    if (ways !== "in") network.cut(inside, other, ms);
  }
  const whom = cutOff.length === others.length ? "everybody" : cutOff.join(" ");
  return `${inside} from ${whom} (${ways}) for ${ms} ms`;
}

const WALL_JUMP_MS_MAX = 7_200_000;
const HIDDEN_REST_LIVES = 3;
