/**
 * What goes wrong and when, each kind at its own rate, all from the seed. Safety must hold through all of it.
 *
 * The rates are drawn once a run, so that some runs see storms of one kind and others a little of all. Every
 * fault has a name of its own ("crash#3") and dice of its own: leaving one out moves no other, which is what
 * lets a failing story be shrunk to the faults that it needs.
 */
import type { Random } from "./random.ts";
import { AIM_AT_FOLDERS, AIM_AT_STORES } from "./aimed-workloads.ts";
import { FAULT_KINDS, strike, type FaultKind, type FaultWorld } from "./fault-kinds.ts";
import { FAIR_WEATHER } from "./virtual-network.ts";
import { FAIR_STORE } from "./virtual-store.ts";

export type { FaultWorld };

export interface Happened {
  /** "crash#3" */
  readonly name: string;
  readonly kind: FaultKind | "aim";
}

export class Faults {
  /** Every fault that found something to break, in the order of time. */
  readonly happened: Happened[] = [];
  readonly #world: FaultWorld;
  readonly #only: ReadonlySet<string> | null;
  #active = true;

  /**
   * `kinds` leaves all other kinds out; `only`, if given, all faults that it does not name. `aim` is what the
   * workload aims at.
   */
  constructor(
    world: FaultWorld,
    random: Random,
    kinds: readonly string[] | null,
    only: readonly string[] | null,
    aim: string | null,
  ) {
    this.#world = world;
    this.#only = only === null ? null : new Set(only);
    const drawn = new Map<FaultKind, number>();
    // Not the dice of the faults themselves: a high intensity would begin with a long wait.
    const howOften = random.stream("how often");
    for (const kind of Object.keys(FAULT_KINDS) as FaultKind[]) {
      drawn.set(kind, intensityOf(kind, howOften.stream(kind).pick(INTENSITIES), kinds));
    }
    // A store that went backwards together with a disk that did can't be seen from inside (design 4.7).
    if (kinds === null) {
      const dice = random.stream("what goes back").chance(STORES_GO_BACK_SHARE);
      const stores = aim === AIM_AT_STORES || (aim !== AIM_AT_FOLDERS && dice);
      for (const kind of stores ? DISKS_GO_BACK : STORES_GO_BACK) drawn.set(kind, 0);
    }
    for (const [kind, intensity] of drawn) {
      if (intensity === 0) continue;
      this.#repeat(kind, random.stream(kind), FAULT_KINDS[kind].meanMs / intensity, 1);
    }
  }

  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { kind } of this.happened) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    return counts;
  }

  /** Whether the strike of an aimed workload with this name happens. */
  aims(name: string): boolean {
    if (this.#only !== null && !this.#only.has(name)) return false;
    this.happened.push({ name, kind: "aim" });
    return true;
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
    Object.assign(store.weather, FAIR_STORE);
    for (const member of members) {
      member.isAttended = true;
      member.disk.heal();
      if (broken.has(member.id)) {
        member.mayRun = false;
        member.crash();
      } else {
        if (member.disk.hasFailed()) member.crash();
        member.mayRun = true;
        member.start();
      }
    }
  }

  #repeat(kind: FaultKind, random: Random, meanMs: number, number: number): void {
    this.#world.scheduler.after(random.exponential(meanMs), () => {
      if (!this.#active) return;
      const name = `${kind}#${number}`;
      if (this.#only === null || this.#only.has(name)) {
        const what = strike(kind, this.#world, random.stream(String(number)), () => this.#active);
        if (what !== null) {
          this.happened.push({ name, kind });
          this.#world.story.tell("fault", `${name}: ${what}`);
        }
      }
      this.#repeat(kind, random, meanMs, number + 1);
    });
  }
}

function intensityOf(kind: FaultKind, drawn: number, kinds: readonly string[] | null): number {
  if (kinds !== null) return kinds.includes(kind) ? 1 : 0;
  return FAULT_KINDS[kind].onlyByName === true ? 0 : drawn;
}

const INTENSITIES = [0, 0, 0.3, 1, 1, 3] as const;
/** The share of seeds in which the store may go back, and no disk. */
const STORES_GO_BACK_SHARE = 0.3;
const STORES_GO_BACK: readonly FaultKind[] = ["store restored"];
const DISKS_GO_BACK: readonly FaultKind[] = ["older disk", "new disk", "member replaced"];
