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
    if (!dies || !world.isActive()) return;
    member.mayRun = true;
    member.start();
  });
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
