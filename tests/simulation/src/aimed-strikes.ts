/** What an aimed workload does to its pool in one strike, where several need it or it takes some steps. */
import type { FaultWorld } from "./fault-kinds.ts";
import type { Random } from "./random.ts";
import type { VirtualMember } from "./virtual-member.ts";
import { STORE_MACHINE } from "./virtual-store.ts";

export interface AimedWorld extends FaultWorld {
  /** False once the faults are over. */
  readonly isActive: () => boolean;
  /** False for a strike that is left out while a story is shrunk. */
  readonly mayHappen: (name: string) => boolean;
  /** A second process of a member on an empty machine, as after a hasty replacement. */
  startTwin(member: VirtualMember, forMs: number): boolean;
}

/**
 * A machine is replaced, and as soon as the new one has its record all are cut from the store, one for less long:
 * it reads of the new member for the first time when that is long silent. In leases.
 */
export function appearAndBeCutOff(world: AimedWorld, random: Random): number {
  const { leaseMs, network, scheduler, store, story } = world;
  const known = new Set(world.members.map(({ id }) => id));
  const cutMs = world.members.map(() => random.between(2.5, 4) * leaseMs);
  cutMs[random.whole(0, cutMs.length - 1)] = random.between(1, 1.9) * leaseMs;
  const untilThere = (): void => {
    if (!world.isActive()) return;
    const isThere = ({ id }: VirtualMember): boolean => !known.has(id) && store.has(`member/${id}`);
    if (!world.members.some(isThere)) {
      scheduler.after(0.01 * leaseMs, untilThere);
      return;
    }
    world.members.forEach(({ machine }, index) => {
      network.cut(machine, STORE_MACHINE, cutMs[index] ?? 0);
      network.cut(STORE_MACHINE, machine, cutMs[index] ?? 0);
    });
    story.tell("aim", "a new machine has its record, and all are cut from the store");
  };
  if (world.administrator.replaceMember(random) !== null) untilThere();
  return world.lifeMs / leaseMs + random.between(4, 8);
}

/** Both ways, or only the answers. */
export function cutSomeClients(
  world: AimedWorld,
  random: Random,
  member: VirtualMember,
  ms: number,
): void {
  for (const { machine } of world.clients) {
    if (!random.chance(0.5)) continue;
    if (random.chance(0.6)) world.network.cut(machine.name, member.machine, ms);
    world.network.cut(member.machine, machine.name, ms);
  }
}

/** They believe to the end of their lives and reach nobody, or only one member. */
export function isolateSomeClients(
  world: AimedWorld,
  random: Random,
  but: VirtualMember | null,
  ms: number,
): void {
  for (const { machine } of world.clients) {
    if (!random.chance(0.5)) continue;
    for (const { machine: member } of world.members) {
      if (member === but?.machine) continue;
      world.network.cut(machine.name, member, ms);
      world.network.cut(member, machine.name, ms);
    }
  }
}

/** Cut from the store or dead, with clients that nobody hears of. */
export function dieAmongIsolated(
  world: AimedWorld,
  random: Random,
  member: VirtualMember,
  ms: number,
): void {
  const { network, scheduler, story } = world;
  isolateSomeClients(world, random, member, ms);
  const dies = random.chance(0.4);
  if (dies) {
    member.mayRun = false;
    member.crash();
  } else {
    network.cut(member.machine, STORE_MACHINE, ms);
    network.cut(STORE_MACHINE, member.machine, ms);
  }
  story.tell("aim", `${member.id} ${dies ? "is dead" : "is cut off"} for ${ms} ms`);
  scheduler.after(ms, () => {
    // After the faults it is known who stays broken for ever.
    if (!dies || !world.isActive() || member.isReplaced) return;
    member.mayRun = true;
    member.start();
  });
}

/**
 * A member is cut from the store and goes on answering to the end of its mandate; each of its clients is cut off
 * from everybody somewhere in that time, so that some have an answer of the very last moment.
 */
export function hearTheLast(
  world: AimedWorld,
  random: Random,
  member: VirtualMember,
  ms: number,
): void {
  const { network, scheduler, story, leaseMs, isActive } = world;
  network.cut(member.machine, STORE_MACHINE, ms);
  network.cut(STORE_MACHINE, member.machine, ms);
  for (const { machine } of world.clients) {
    if (!random.chance(0.7)) continue;
    scheduler.after(random.between(0.3, 0.95) * leaseMs, () => {
      if (!isActive()) return;
      for (const other of world.members) {
        network.cut(machine.name, other.machine, ms);
        network.cut(other.machine, machine.name, ms);
      }
    });
  }
  story.tell("aim", `${member.id} is cut off for ${ms} ms, its clients a little later`);
}

/**
 * Lives are as long as ever, then a license makes them shorter, and before all clients have heard of it a member
 * and some clients are gone: they believe in the longer ones.
 */
export function shortenLives(world: AimedWorld, random: Random, member: VirtualMember): number {
  const { administrator, scheduler, story, lifeMs, leaseMs, isActive } = world;
  const tell = (what: string | null): void => story.tell("aim", what ?? "nobody listens");
  const others = world.members.filter((each) => each !== member);
  tell(administrator.changeLives(random.pick(others), 1));
  // All have heard of the long lives: three heartbeats to a life.
  const shortAfterMs = random.between(0.5, 0.8) * lifeMs;
  scheduler.after(shortAfterMs, () => {
    if (isActive()) tell(administrator.changeLives(random.pick(others), SHORT_LIFE_SHARE));
  });
  const goneAfterMs = shortAfterMs + random.between(0.05, 2) * leaseMs;
  scheduler.after(goneAfterMs, () => {
    if (isActive()) dieAmongIsolated(world, random, member, lifeMs);
  });
  return goneAfterMs + lifeMs;
}

/** The store answers hardly anything in the moment in which a member returns, and some clients reach only that one. */
export function returnToWeakStore(
  world: AimedWorld,
  random: Random,
  member: VirtualMember,
): number {
  const { network, scheduler, store, story, lifeMs, leaseMs, isActive } = world;
  const ms = random.between(1.3, 2.5) * leaseMs;
  if (random.chance(0.5)) member.crash();
  else {
    network.cut(member.machine, STORE_MACHINE, ms);
    network.cut(STORE_MACHINE, member.machine, ms);
  }
  isolateSomeClients(world, random, member, 0.8 * lifeMs);
  story.tell("aim", `${member.id} comes back to a weak store`);
  scheduler.after(random.between(0.8, 1.1) * ms, () => {
    if (!isActive()) return;
    Object.assign(store.weather, { lostAnswerShare: 0.3, lateShare: 0.5, lateMsMax: 900 });
    scheduler.after(random.between(1, 3) * leaseMs, () => {
      if (isActive()) Object.assign(store.weather, { lostAnswerShare: 0, lateShare: 0 });
    });
  });
  return 0.8 * lifeMs;
}

/**
 * Checkouts are granted unheard at one member and heard at others, and copies of the messages that drop the
 * duplicates come late. Meanwhile some clients, and that member, are cut from the others: so they go on at that
 * one, on seats that are not held. Then they are cut off from everybody and believe to their end.
 */
export function dropLate(world: AimedWorld, random: Random, member: VirtualMember): number {
  const { network, scheduler, story, lifeMs, leaseMs, isActive } = world;
  const ms = CHECKOUT_TIMEOUT_MS + random.between(1, 3) * leaseMs;
  lead(world, member.id);
  for (const { machine } of world.clients) network.cut(member.machine, machine.name, ms);
  Object.assign(network.weather, { duplicateShare: 0.6, duplicateLateMsMax: 0.9 * lifeMs });
  story.tell("aim", `no client hears ${member.id} for ${ms} ms`);
  const others = world.members.filter((each) => each !== member);
  const cut = (name: string, from: readonly VirtualMember[], forMs: number): void => {
    for (const { machine } of from) {
      network.cut(name, machine, forMs);
      network.cut(machine, name, forMs);
    }
  };
  // The next heartbeat, a third of a life later, drops the duplicate; the one after that finds no server.
  const awayMs = ms + random.between(0.35, 0.6) * lifeMs;
  scheduler.after(awayMs, () => {
    if (!isActive()) return;
    cut(member.machine, others, 1.5 * lifeMs);
    for (const { machine } of world.clients) {
      if (!random.chance(0.4)) continue;
      cut(machine.name, others, 1.5 * lifeMs);
      scheduler.after(random.between(0.25, 0.65) * lifeMs, () => {
        if (isActive()) cut(machine.name, [member], 1.2 * lifeMs);
      });
    }
    story.tell("aim", `clients and ${member.id} are cut from the others`);
  });
  return awayMs + 1.8 * lifeMs;
}

/** Of one member's heartbeats some are handled, but no client hears of them before it is cut off for good. */
export function hearNoMore(
  world: AimedWorld,
  random: Random,
  member: VirtualMember,
  ms: number,
): void {
  const { network, scheduler, lifeMs, isActive } = world;
  for (const { machine } of world.clients) {
    if (!random.chance(0.7)) continue;
    for (const other of world.members) {
      network.cut(other.machine, machine.name, ms);
      if (other !== member) network.cut(machine.name, other.machine, ms);
    }
    scheduler.after(random.between(0, 0.35) * lifeMs, () => {
      if (isActive()) network.cut(machine.name, member.machine, ms);
    });
  }
  world.story.tell("aim", `clients of ${member.id} hear nothing for ${ms} ms`);
}

/**
 * Sessions are handed over to the leader, whose answers get lost; then another member leads, and the one that
 * they came from dies: their tokens still name it.
 */
export function handOverUnheard(world: AimedWorld, random: Random, member: VirtualMember): void {
  const { network, scheduler, leaseMs, story, isActive } = world;
  const others = random.shuffled(world.members.filter((each) => each !== member));
  const [leader, next = leader] = others;
  if (leader === undefined || next === undefined) return;
  lead(world, leader.id);
  const ms = 5 * leaseMs;
  scheduler.after(0.5 * leaseMs, () => {
    if (!isActive()) return;
    for (const { machine } of world.clients) {
      if (!random.chance(0.5)) continue;
      network.cut(machine.name, member.machine, ms);
      network.cut(member.machine, machine.name, ms);
      network.cut(leader.machine, machine.name, ms);
    }
    story.tell("aim", `clients are cut from ${member.id} and do not hear ${leader.id}`);
  });
  scheduler.after(random.between(1.5, 3) * leaseMs, () => {
    if (!isActive()) return;
    lead(world, next.id);
    for (const { machine } of world.clients) network.cut(machine.name, leader.machine, ms);
    member.crash();
  });
}

export function weakenStore(
  { store, scheduler, leaseMs, isActive }: AimedWorld,
  random: Random,
): void {
  const lateMsMax = random.pick([450, 1_500]);
  Object.assign(store.weather, { lostAnswerShare: 0.3, lateShare: 0.2, lateMsMax });
  scheduler.after(2 * leaseMs, () => {
    if (isActive()) Object.assign(store.weather, { lostAnswerShare: 0, lateShare: 0 });
  });
}

export function moveLead(world: AimedWorld, random: Random): void {
  const run = random.pick(world.members).listening();
  const { id } = random.pick(world.members);
  run?.process.deliver(0, () => void run.api.lead(id));
}

/** Asked of everybody: only the leader can do it, or pass it on. */
function lead({ members }: AimedWorld, id: string): void {
  for (const member of members) {
    const run = member.listening();
    run?.process.deliver(0, () => void run.api.lead(id));
  }
}

/** So short that six leases are left of eighteen. */
const SHORT_LIFE_SHARE = 1 / 3;
/** How long the SDK waits for a checkout's answer. */
const CHECKOUT_TIMEOUT_MS = 2_000;
