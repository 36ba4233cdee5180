/**
 * The people who look after the pool: they install licenses, put new machines in the place of dead ones,
 * restore the store from a backup and rebuild the pool. They are honest, often late, and ask again when
 * they get no answer.
 */
import { effectiveLifeMs, isRefusal, LIFE_MS_DEFAULT } from "@quorate/core";
import { licenseText } from "./fake-tokens.ts";
import type { Profile } from "./profile.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { MemberApi } from "./server-parts.ts";
import type { Story } from "./story.ts";
import type { VirtualMember } from "./virtual-member.ts";
import type { VirtualStoreServer } from "./virtual-store.ts";

export interface AdministratorWorld {
  readonly scheduler: Scheduler;
  readonly story: Story;
  readonly store: VirtualStoreServer;
  readonly profile: Profile;
  /** The machines in use; a new one takes the place of a dead one. */
  readonly members: VirtualMember[];
  /** A new machine for the place `index` of the pool, with a name of its own. */
  newMember(id: string, index: number): VirtualMember;
  /** False once the faults are over: no new ones are made, what was begun is finished. */
  isActive(): boolean;
}

export class VirtualAdministrator {
  readonly counts = { rebuilds: 0, replaced: 0, restoredStores: 0, droppedFeatures: 0 };
  readonly #world: AdministratorWorld;
  #sequence = 1;
  #text: string;
  #olderText: string;
  /** The longest life that any license has named so far. */
  lifeMsMax: number;
  /** The store went back and nobody has rebuilt the pool yet. */
  #mustRebuild = false;
  #restoring = false;
  #dead: VirtualMember | null = null;
  /** A machine that was replaced and is switched on again, until it ends: it may find no place. */
  #old: VirtualMember | null = null;

  constructor(world: AdministratorWorld) {
    this.#world = world;
    this.lifeMsMax = world.profile.lifeMs;
    this.#text = this.#licenseOf(1, world.profile.features, world.profile.lifeMs);
    this.#olderText = this.#text;
  }

  /** The license of a new machine's installation. */
  license(): string {
    return this.#text;
  }

  mustRebuild(): boolean {
    return this.#mustRebuild;
  }

  /** A machine that was given up and whose successor is not there yet. */
  deadMember(): VirtualMember | null {
    return this.#dead;
  }

  // ---- licenses -------------------------------------------------------------------------------------

  /** A newer one at a running or a stopped member; now and then an older or a contradicting one. */
  changeLicense(random: Random): string {
    const { members, profile, story } = this.#world;
    const member = random.pick(members);
    const all = profile.features.map(({ name, seats }) => ({
      name,
      seats: Math.max(1, Math.round(seats * random.between(0.4, 1.6))),
    }));
    // Without one of its features, which the next license may name again.
    const drops = all.length > 1 && random.chance(DROP_SHARE) ? random.pick(all) : null;
    const features = all.filter((feature) => feature !== drops);
    const lifeMs = Math.round(profile.lifeMs * random.pick([1, 1, 1, 0.5, 2]));
    const kind = random.pick(["newer", "newer", "newer", "older", "contradicting"]);
    let text = this.#olderText;
    if (kind === "newer") {
      this.#sequence += 1;
      if (drops !== null) {
        this.counts.droppedFeatures += 1;
        // What no license names any more is taken back with the usual life.
        this.lifeMsMax = Math.max(this.lifeMsMax, LIFE_MS_DEFAULT);
      }
      text = this.#licenseOf(this.#sequence, features, lifeMs);
      this.#olderText = this.#text;
      this.#text = text;
    } else if (kind === "contradicting") {
      text = this.#licenseOf(this.#sequence, [...features, { name: "other", seats: 1 }], lifeMs);
    }
    const run = member.listening();
    if (run === null) member.licenseFile.install(text);
    run?.process.deliver(0, () => {
      void run.api.installLicense(text).then((answer) => {
        const heard = isRefusal(answer) ? answer.refused : `license ${answer.sequence}`;
        story.tell(member.id, `was brought a ${kind} license: ${heard}`);
      });
    });
    const seats = features.map((each) => `${each.name} ${each.seats}`).join(", ");
    const where = `${member.id}${run === null ? ", which is down" : ""}`;
    return `a ${kind} license at ${where}${kind === "older" ? "" : ` (${seats}, lives of ${lifeMs} ms)`}`;
  }

  /** A newer license that changes nothing but the lives. Null if nobody listens at the member. */
  changeLives(member: VirtualMember, share: number): string | null {
    const run = member.listening();
    if (run === null) return null;
    const { features, lifeMs } = this.#world.profile;
    this.#sequence += 1;
    const text = this.#licenseOf(this.#sequence, features, Math.round(lifeMs * share));
    this.#olderText = this.#text;
    this.#text = text;
    run.process.deliver(0, () => void run.api.installLicense(text));
    return `a newer license at ${member.id} (lives of ${Math.round(lifeMs * share)} ms)`;
  }

  #licenseOf(sequence: number, features: Profile["features"], lifeMs: number): string {
    const { members: size, leaseMs } = this.#world.profile;
    this.lifeMsMax = Math.max(this.lifeMsMax, effectiveLifeMs(lifeMs, leaseMs));
    return licenseText({ sequence, size, features, lifeMs });
  }

  // ---- the store ------------------------------------------------------------------------------------

  /** Keeps a backup now and brings it back later, or an empty store; then the pool is rebuilt. */
  restoreStore(random: Random): string | null {
    const { scheduler, store, story, profile } = this.#world;
    if (this.#restoring) return null;
    this.#restoring = true;
    const backup = random.chance(0.25) ? null : store.copy();
    const afterMs = random.between(BACKUP_AGE_MS_MIN, 2 * profile.lifeMs);
    scheduler.after(afterMs, () => {
      this.#restoring = false;
      if (!this.#world.isActive()) return;
      this.#mustRebuild = true;
      this.counts.restoredStores += 1;
      store.restore(backup);
      store.weather.awayUntilMs = scheduler.nowMs() + random.between(0, 5_000);
      story.tell("fault", `the store is ${backup === null ? "empty" : "as it was"}`);
      scheduler.after(random.between(1_000, this.patienceMs()), () =>
        this.#rebuildUntilDone(random),
      );
    });
    return `${backup === null ? "an empty store" : "a backup of the store"} will come in ${Math.round(afterMs)} ms`;
  }

  /** How long it may take until somebody notices that the store went back. */
  patienceMs(): number {
    return 2 * this.#world.profile.lifeMs;
  }

  /** For no reason: it costs everybody's seat a wait, and no more. */
  rebuild(random: Random): string | null {
    const member = random.pick(this.#world.members);
    return this.#askToRebuild(member, () => {}) ? `at ${member.id}` : null;
  }

  /** A rebuilt pool waits for the longest life it ever knew, and never less than the usual one. */
  #askToRebuild(member: VirtualMember, onDone: () => void): boolean {
    // Also when the answer gets lost.
    this.lifeMsMax = Math.max(this.lifeMsMax, LIFE_MS_DEFAULT);
    return this.#ask(
      member,
      "rebuild",
      (api) => api.rebuild(),
      (answer) => {
        if (isRefusal(answer)) return;
        this.counts.rebuilds += 1;
        onDone();
      },
    );
  }

  #rebuildUntilDone(random: Random): void {
    if (!this.#mustRebuild) return;
    this.#askToRebuild(random.pick(this.#world.members), () => {
      this.#mustRebuild = false;
    });
    this.#world.scheduler.after(ASK_AGAIN_MS, () => this.#rebuildUntilDone(random));
  }

  /** Once the faults are over somebody does what the servers' alarms say, at the server that says it. */
  followAlarms(): void {
    const complaining = this.#world.members.find(
      (member) =>
        member.mayRun && member.api()?.readiness()?.detail.includes(REBUILD_ADVICE) === true,
    );
    if (complaining !== undefined && !this.#mustRebuild) {
      this.#askToRebuild(complaining, () => {});
    }
    this.#world.scheduler.after(ASK_AGAIN_MS, () => this.followAlarms());
  }

  // ---- machines -------------------------------------------------------------------------------------

  /** A machine is lost for good; it is removed, and a new one with a new name takes its place. */
  replaceMember(random: Random): string | null {
    const { members, scheduler } = this.#world;
    if (this.#dead !== null || members.length < MEMBERS_MIN_TO_REPLACE) return null;
    // It would take the place that is made for the new machine.
    if (this.#old?.process() != null) return null;
    const index = random.whole(0, members.length - 1);
    const dead = members[index]!;
    this.#dead = dead;
    dead.mayRun = false;
    dead.isReplaced = true;
    dead.crash();
    scheduler.after(random.between(0, this.#world.profile.lifeMs), () =>
      this.#removeUntilDone(dead, index, random),
    );
    return dead.id;
  }

  #removeUntilDone(dead: VirtualMember, index: number, random: Random): void {
    if (this.#dead !== dead || !this.#world.isActive()) return;
    const helper = random.pick(this.#world.members);
    this.#ask(
      helper,
      `remove ${dead.id}`,
      (api) => api.remove(dead.id),
      (answer) => {
        if (!isRefusal(answer)) this.#succeed(dead, index, random);
      },
    );
    this.#world.scheduler.after(ASK_AGAIN_MS, () => this.#removeUntilDone(dead, index, random));
  }

  #succeed(dead: VirtualMember, index: number, random: Random): void {
    if (this.#dead !== dead || !this.#world.isActive()) return;
    this.#dead = null;
    this.counts.replaced += 1;
    const [, name = dead.id, number = ""] = NUMBERED.exec(dead.id) ?? [];
    const member = this.#world.newMember(`${name}${Number(number === "" ? 1 : number) + 1}`, index);
    this.#world.members[index] = member;
    member.start();
    // Now and then somebody finds the old machine and switches it on.
    if (!random.chance(OLD_MACHINE_SHARE)) return;
    this.#world.scheduler.after(random.between(0, 2 * this.#world.profile.lifeMs), () => {
      // Earlier it would take its old place back, and the new machine would find none.
      if (!this.#world.isActive() || !this.#world.store.has(`member/${member.id}`)) return;
      if (this.#dead !== null) return;
      this.#world.story.tell("human", `switches the old ${dead.id} on again`);
      this.#old = dead;
      dead.mayRun = true;
      dead.start();
      dead.mayRun = false;
    });
  }

  /** False if nobody listens there. The answer may never come: then it is asked again. */
  #ask<T>(
    member: VirtualMember,
    what: string,
    ask: (api: MemberApi) => Promise<T>,
    onAnswer: (answer: T) => void,
  ): boolean {
    const run = member.listening();
    run?.process.deliver(0, () => {
      this.#world.story.tell(member.id, `is asked to ${what}`);
      void ask(run.api).then((answer) => {
        const refusal = isRefusal(answer) ? `${answer.refused}, ${answer.detail}` : "done";
        this.#world.story.tell(member.id, `answers to ${what}: ${refusal}`);
        onAnswer(answer);
      });
    });
    return run !== null;
  }
}

/** A backup is not restored in the same moment: members write down the revision they saw every second. */
const BACKUP_AGE_MS_MIN = 3_000;
const ASK_AGAIN_MS = 8_000;
/** Share of the licenses with several features that leave one out. */
const DROP_SHARE = 0.5;
const REBUILD_ADVICE = "quorate pool rebuild";
/** With one machine of two gone there is no majority that could remove it. */
const MEMBERS_MIN_TO_REPLACE = 3;
const OLD_MACHINE_SHARE = 0.5;
const NUMBERED = /^([a-z]+)(\d*)$/;
