/**
 * What goes wrong, each kind at its own rate, all from the seed. Safety must hold through all of it.
 *
 * The rates are drawn once a run, so that some runs see storms of one kind and others a little of all.
 */
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Story } from "./story.ts";
import type { MemberApi } from "./server-parts.ts";
import type { VirtualClient } from "./virtual-client.ts";
import type { VirtualMember } from "./virtual-member.ts";
import { FAIR_WEATHER, type VirtualNetwork } from "./virtual-network.ts";
import { STORE_MACHINE, type VirtualStoreServer } from "./virtual-store.ts";

export interface FaultWorld {
  readonly scheduler: Scheduler;
  readonly network: VirtualNetwork;
  readonly store: VirtualStoreServer;
  readonly members: readonly VirtualMember[];
  readonly clients: readonly VirtualClient[];
  readonly story: Story;
  /** 2 margins: more hidden from all clocks is excluded by assumption. */
  readonly hiddenPauseMsMax: number;
  readonly lifeMs: number;
  readonly leaseMs: number;
  /** Installs a newer license at one member, or brings an older file back to it. */
  changeLicense(random: Random): string;
}

/** The kinds, and the mean time between two faults of one when its intensity is 1. */
const RATES = [
  ["crash", 60_000],
  ["pause", 45_000],
  ["suspend", 120_000],
  ["hidden pause", 300_000],
  ["wall clock set", 90_000],
  ["partition", 60_000],
  ["bad network", 60_000],
  ["store away", 120_000],
  ["bad store", 60_000],
  ["slow disk", 150_000],
  ["disk failure", 240_000],
  ["older disk", 400_000],
  ["stop on purpose", 120_000],
  ["license change", 180_000],
  ["whole pool loses power", 600_000],
  ["leader moved", 120_000],
  ["revocation", 240_000],
  ["minority dies", 20_000],
] as const;

type FaultKind = (typeof RATES)[number][0];

export class Faults {
  readonly counts = new Map<string, number>();
  readonly #world: FaultWorld;
  #active = true;
  readonly #hiddenUntilMs = new Map<string, number>();

  /** `only` leaves all other kinds out. */
  constructor(world: FaultWorld, random: Random, only: readonly string[] | null) {
    this.#world = world;
    for (const [kind, meanMs] of RATES) {
      const own = random.stream(kind);
      const intensity = own.pick(INTENSITIES);
      const usual = kind === "minority dies" ? 0 : intensity;
      const wanted = only === null ? usual : only.includes(kind) ? 1 : 0;
      if (wanted > 0) this.#repeat(kind, own, meanMs / wanted);
    }
  }

  isActive(): boolean {
    return this.#active;
  }

  /** No new faults; what is broken at members, links and store heals, except for `broken` members. */
  heal(broken: ReadonlySet<string>): void {
    this.#active = false;
    const { network, store, members } = this.#world;
    Object.assign(network.weather, FAIR_WEATHER);
    network.heal((machine) => !broken.has(machine));
    Object.assign(store.weather, {
      awayUntilMs: 0,
      lateShare: 0,
      lateMsMax: 0,
      lostAnswerShare: 0,
    });
    for (const member of members) {
      member.disk.heal();
      if (broken.has(member.id)) {
        member.mayRun = false;
        member.crash();
      } else {
        if (member.disk.hasFailed()) member.crash();
        member.start();
      }
    }
  }

  #repeat(kind: FaultKind, random: Random, meanMs: number): void {
    this.#world.scheduler.after(random.exponential(meanMs), () => {
      if (!this.#active) return;
      const what = this.#strike(kind, random);
      if (what !== null) {
        this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
        this.#world.story.tell("fault", `${kind}: ${what}`);
      }
      this.#repeat(kind, random, meanMs);
    });
  }

  /** In words what was done, or null if there was nothing to do it to. */
  #strike(kind: FaultKind, random: Random): string | null {
    const { members, network, store, clients, scheduler } = this.#world;
    const member = random.pick(members);
    const machines = [
      ...members.map(({ hardware }) => hardware),
      ...clients.map(({ machine }) => machine),
    ];
    switch (kind) {
      case "crash":
        return member.crash() ? member.id : null;
      case "pause": {
        const ms = this.#durationMs(random);
        return member.process()?.pause(ms) === true ? `${member.id} for ${ms} ms` : null;
      }
      case "suspend": {
        const machine = random.pick(machines);
        const ms = this.#durationMs(random);
        return machine.stop("suspend", ms) ? `${machine.name} for ${ms} ms` : null;
      }
      case "hidden pause": {
        const machine = random.pick(machines);
        const ms = Math.floor(random.between(10, this.#world.hiddenPauseMsMax));
        // Two of them within one wait would add up to more than is assumed.
        if ((this.#hiddenUntilMs.get(machine.name) ?? 0) > scheduler.nowMs()) return null;
        if (!machine.stop("hidden", ms)) return null;
        this.#hiddenUntilMs.set(machine.name, scheduler.nowMs() + 3 * this.#world.lifeMs);
        return `${machine.name} for ${ms} ms`;
      }
      case "wall clock set": {
        const machine = random.pick(machines);
        // Without a boot clock a wall clock set back would hide a sleep.
        const lowest = machine.hasBootClock ? -WALL_JUMP_MS_MAX : 0;
        const ms = Math.floor(random.between(lowest, WALL_JUMP_MS_MAX));
        machine.setWall(ms);
        return `${machine.name} by ${ms} ms`;
      }
      case "partition":
        return this.#partition(random);
      case "bad network": {
        Object.assign(network.weather, {
          lossShare: random.pick([0, 0.02, 0.1, 0.3]),
          duplicateShare: random.pick([0, 0.02, 0.2]),
          slowShare: random.pick([0, 0.05, 0.3]),
          slowMsMax: random.pick([100, 600, 3_000]),
        });
        scheduler.after(this.#durationMs(random), () =>
          Object.assign(network.weather, FAIR_WEATHER),
        );
        return JSON.stringify(network.weather);
      }
      case "store away": {
        const ms = this.#durationMs(random);
        store.weather.awayUntilMs = scheduler.nowMs() + ms;
        return `for ${ms} ms`;
      }
      case "bad store": {
        Object.assign(store.weather, {
          lateShare: random.pick([0, 0.05, 0.3]),
          lateMsMax: random.pick([300, 1_500, 8_000]),
          lostAnswerShare: random.pick([0, 0.05, 0.3]),
        });
        scheduler.after(this.#durationMs(random), () => {
          Object.assign(store.weather, { lateShare: 0, lostAnswerShare: 0 });
        });
        return JSON.stringify(store.weather);
      }
      case "slow disk": {
        const ms = this.#durationMs(random);
        member.disk.slow(ms);
        return `${member.id} for ${ms} ms`;
      }
      case "disk failure":
        return member.disk.fail() ? member.id : null;
      case "older disk":
        return this.#olderDisk(member, random);
      case "stop on purpose":
        return member.stop() ? member.id : null;
      case "license change":
        return this.#world.changeLicense(random);
      case "leader moved": {
        const to = random.pick(members).id;
        return this.#atMember(member, (api) => api.lead(to)) ? `to ${to}, by ${member.id}` : null;
      }
      case "revocation": {
        const session = random.pick(this.#world.clients).session();
        if (session === "") return null;
        const revoke = { session, administrator: true, reason: "simulated" };
        return this.#atMember(member, (api) => api.release(revoke))
          ? `${session} by ${member.id}`
          : null;
      }
      case "minority dies": {
        // Only when all are well again, so that it stays a minority.
        if (members.some((each) => each.api()?.readiness() !== null)) return null;
        // A member that dies again before its clients heard from it in its new epoch takes their seats
        // along: their tokens name an epoch whose seats have moved on with the member (design 4.4, 4.5).
        const { leaseMs, lifeMs } = this.#world;
        const restMs = 2 * leaseMs + lifeMs / 2;
        if (member.startedMs > 0 && scheduler.nowMs() - member.startedMs < restMs) return null;
        const onPurpose = random.chance(0.3);
        return (onPurpose ? member.stop() : member.crash()) ? member.id : null;
      }
      case "whole pool loses power": {
        const down = members.filter((each) => each.crash());
        return down.map(({ id }) => id).join(", ");
      }
      default:
        throw new Error(`no such fault: ${String(kind satisfies never)}`);
    }
  }

  /** An administrator at the machine asks a member; what it answers is only told. */
  #atMember(member: VirtualMember, ask: (api: MemberApi) => Promise<unknown>): boolean {
    const run = member.listening();
    run?.process.deliver(0, () => {
      void ask(run.api).then((answer) =>
        this.#world.story.tell(member.id, `answers the administrator ${JSON.stringify(answer)}`),
      );
    });
    return run !== null;
  }

  /** Around the waits that matter: a lease, a life; seldom several of them. */
  #durationMs(random: Random): number {
    const { leaseMs, lifeMs } = this.#world;
    const longest = random.pick([0.3 * leaseMs, leaseMs, 1.5 * leaseMs, 4 * leaseMs, 1.5 * lifeMs]);
    return Math.floor(random.between(0.05, 1) * longest) + 1;
  }

  #partition(random: Random): string {
    const { members, network } = this.#world;
    const names = [...members.map(({ id }) => id), STORE_MACHINE];
    const clients = this.#world.clients.map(({ machine }) => machine.name);
    const ms = this.#durationMs(random);
    const inside = random.pick(names);
    const others = [...names, ...clients].filter((name) => name !== inside);
    const cutOff = random.chance(0.5) ? others : others.filter(() => random.chance(0.4));
    const ways = random.pick(["both ways", "in", "out"]);
    for (const other of cutOff) {
      if (ways !== "out") network.cut(other, inside, ms);
      if (ways !== "in") network.cut(inside, other, ms);
    }
    return `${inside} from ${cutOff.join(" ")} (${ways}) for ${ms} ms`;
  }

  /** Keeps a copy of the folder now and brings it back after a later crash. */
  #olderDisk(member: VirtualMember, random: Random): string | null {
    if (member.process() === null) return null;
    member.disk.keepCopy();
    this.#world.scheduler.after(random.between(1_000, 2 * this.#world.lifeMs), () => {
      if (!this.#active) return;
      member.crash();
      if (member.disk.restoreCopy()) {
        this.#world.story.tell("fault", `the disk of ${member.id} is as it was`);
      }
    });
    return `a copy of the disk of ${member.id} will come back`;
  }
}

const INTENSITIES = [0, 0, 0.3, 1, 1, 3] as const;
const WALL_JUMP_MS_MAX = 7_200_000;
