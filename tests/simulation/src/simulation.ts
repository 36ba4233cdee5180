/**
 * A whole pool from one seed: a phase in which anything breaks and nothing unsafe may happen, then a phase
 * in which a majority is healed, the rest stays broken, and everybody must be served again.
 *
 * Members and clients are the production code. Only clocks, network, disks, signatures and the backing of
 * the store are replaced.
 */
import { CLOCK_DRIFT, majorityOf, timingOf } from "@quorate/core";
import { MemoryStore, type MemberPorts } from "./server-parts.ts";
import { LicenseFile, TokenRegistry } from "./fake-tokens.ts";
import { aim } from "./aimed-workloads.ts";
import type { FaultWorld } from "./fault-kinds.ts";
import { Faults } from "./faults.ts";
import type { OverIssueCost } from "./history-check.ts";
import { checkLiveness } from "./liveness.ts";
import { Oracles, Violation } from "./oracles.ts";
import { profileOf, type Profile } from "./profile.ts";
import { ProtocolOracles } from "./protocol-oracles.ts";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { Story, wordsOf } from "./story.ts";
import { VirtualAdministrator } from "./virtual-administrator.ts";
import { VirtualClient, type ClientWorld } from "./virtual-client.ts";
import { VirtualDisk } from "./virtual-disk.ts";
import { VirtualMachine } from "./virtual-machine.ts";
import { VirtualMischief } from "./virtual-mischief.ts";
import { VirtualMember, type PoolWorld } from "./virtual-member.ts";
import { VirtualNetwork } from "./virtual-network.ts";
import { VirtualStoreServer } from "./virtual-store.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** Events of the phase with faults; it ends at the first of both bounds. */
  readonly steps: number;
  /** Virtual minutes of the phase with faults; left out: only `steps` counts. */
  readonly minutes?: number | null;
  /** Null: drawn from the seed. */
  readonly members: number | null;
  /** Kinds of fault that happen; null: drawn from the seed. */
  readonly faults: readonly string[] | null;
  /** What the workload aims at, or "none"; left out: drawn from the seed. */
  readonly aim?: string | null;
  /** Names of the faults that happen ("crash#3"); left out: all. */
  readonly onlyFaults?: readonly string[] | null;
  /** Names of the clients that do anything before the end; left out: all. */
  readonly onlyClients?: readonly string[] | null;
  /** Clocks go wrong by up to this share instead of the assumed 1 %: what depends on clocks is only measured. */
  readonly driftBeyond?: number | null;
  readonly print: ((line: string) => void) | null;
  /** Plants a bug between a member and its ports. */
  readonly plant?: (ports: MemberPorts) => MemberPorts;
}

export interface SimulationSummary {
  readonly profile: string;
  readonly members: number;
  readonly clients: number;
  readonly virtualHours: number;
  readonly grants: number;
  readonly renewals: number;
  readonly conversions: number;
  readonly losses: number;
  readonly refusals: number;
  readonly crashes: number;
  readonly failovers: number;
  readonly epochs: number;
  readonly reclaimedSeats: number;
  readonly licenses: number;
  /** Seats beyond the licensed ones; null unless clocks were beyond the bound. */
  readonly overIssue: OverIssueCost | null;
  readonly faults: Readonly<Record<string, number>>;
  /** What else went wrong, by kind. */
  readonly troubles: Readonly<Record<string, number>>;
}

export interface SimulationResult {
  readonly seed: number;
  /** The first thing that must not happen and did, or null. */
  readonly violation: string | null;
  /** Equal for two runs exactly if their stories are. */
  readonly digest: string;
  readonly summary: SimulationSummary;
  /** Events until the faults were over, or until the violation. */
  readonly steps: number;
  /** Names of the faults that found something to break, and of all clients. */
  readonly happened: readonly string[];
  readonly clients: readonly string[];
  readonly last: readonly string[];
}

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const simulation = new Simulation(options);
  // A promise that was rejected without a handler ends a real member's process: it is a finding.
  const onRejection = (reason: unknown): void => {
    const text = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
    simulation.oracles.violated("bug", `a promise was rejected and nobody listened: ${text}`);
  };
  process.on("unhandledRejection", onRejection);
  try {
    return await simulation.run();
  } finally {
    process.off("unhandledRejection", onRejection);
  }
}

export class Simulation {
  readonly options: SimulationOptions;
  readonly profile: Profile;
  readonly scheduler = new Scheduler();
  readonly story: Story;
  readonly oracles: Oracles;
  readonly protocol: ProtocolOracles;
  readonly network: VirtualNetwork;
  readonly store: VirtualStoreServer;
  readonly members: VirtualMember[] = [];
  /** With second processes of members. */
  readonly processes: VirtualMember[] = [];
  readonly clients: VirtualClient[] = [];
  readonly random: Random;
  readonly administrator: VirtualAdministrator;
  readonly #tokens: TokenRegistry;
  readonly #faults: Faults;
  readonly #mischief: VirtualMischief[] = [];
  readonly #disks = new Map<string, VirtualDisk>();
  /** By address, also of machines that were replaced. */
  readonly #hosts = new Map<string, VirtualMember>();
  /** Sessions of running programs, for those that use another's by mistake. */
  readonly #sharable = new Map<string, { readonly session: string; share(): void }>();
  #isActive = true;

  constructor(options: SimulationOptions) {
    this.options = options;
    this.random = new Random(`seed ${options.seed}`);
    this.profile = profileOf(
      this.random.stream("profile"),
      options.members,
      options.faults !== null,
      options.aim ?? null,
    );
    this.story = new Story(() => this.scheduler.nowMs(), options.print);
    const timing = timingOf(this.profile.leaseMs);
    this.oracles = new Oracles(
      this.scheduler,
      timing,
      this.#disks,
      // Also of a machine that was replaced, and is switched on again before the new one took its place.
      (member) => this.#disks.get(member) ?? this.processes.find(({ id }) => id === member)?.disk,
      this.profile.calm,
      (options.driftBeyond ?? null) !== null,
    );
    this.protocol = new ProtocolOracles({
      nowMs: () => this.scheduler.nowMs(),
      timing,
      members: this.processes,
      beliefs: () => this.oracles.beliefs(),
      sharedByMistake: this.oracles.sharedByMistake,
      violated: (rule, what) => this.oracles.violated(rule, what),
    });
    this.oracles.onBelief = () => this.protocol.beliefChanged();
    this.network = new VirtualNetwork(this.scheduler, this.random.stream("network"), (error) =>
      this.oracles.thrown(error),
    );
    this.store = new VirtualStoreServer(
      new MemoryStore(),
      this.scheduler,
      this.network,
      this.random.stream("store"),
      (by, transaction, revision, sentMs) => {
        const keys = transaction.puts.map(({ key, value }) => wordsOf(key, value));
        this.story.tell(by.name, `writes ${revision} ${keys.join(" ")}`);
        this.oracles.storeApplied(transaction);
        this.protocol.storeApplied(by, transaction, sentMs);
      },
    );
    this.store.onRestored = () => {
      this.oracles.history.restored();
      this.protocol.storeRestored();
    };
    this.store.onHandled = (by) => this.protocol.storeHandled(by);
    this.store.onAnswered = (by) => this.protocol.storeAnswered(by);
    this.#tokens = new TokenRegistry(this.random.stream("tokens"));
    this.administrator = new VirtualAdministrator({
      scheduler: this.scheduler,
      story: this.story,
      store: this.store,
      profile: this.profile,
      members: this.members,
      newMember: (id, index) => this.#newMember(id, index),
      isActive: () => this.#isActive,
    });
    this.#makeMembers();
    this.#makeClients();
    this.#makeMischief();
    const world: FaultWorld = {
      scheduler: this.scheduler,
      network: this.network,
      store: this.store,
      members: this.members,
      clients: this.clients,
      administrator: this.administrator,
      story: this.story,
      hiddenUntilMs: new Map(),
      hiddenPauseMsMax: HIDDEN_SHARE * 2 * Math.min(timing.marginMs, LIFE_MARGIN_FLOOR_MS),
      leaseMs: this.profile.leaseMs,
      lifeMs: this.profile.lifeMs,
      changeLicense: (random) => this.administrator.changeLicense(random),
    };
    this.#faults = new Faults(
      world,
      this.random.stream("faults"),
      options.faults ??
        (this.profile.calm ? ["minority dies"] : this.profile.usualFaults ? null : []),
      options.onlyFaults ?? null,
      this.profile.aim,
    );
    if (this.profile.aim !== null) {
      aim(
        this.profile.aim,
        {
          ...world,
          isActive: () => this.#faults.isActive(),
          mayHappen: (name) => this.#faults.aims(name),
          startTwin: (member, forMs) => this.#startTwin(member, forMs),
        },
        this.random.stream("aim"),
      );
    }
  }

  async run(): Promise<SimulationResult> {
    this.story.tell("profile", JSON.stringify({ seed: this.options.seed, ...this.profile }));
    let violation: string | null = null;
    let steps: number | null = null;
    try {
      for (const member of this.members) member.start();
      const { onlyClients = null, minutes = null, steps: stepsMax } = this.options;
      for (const client of [...this.clients, ...this.#mischief]) {
        if (onlyClients?.includes(client.name) !== false) client.start();
      }
      const untilMs = minutes === null ? Infinity : minutes * 60_000;
      await this.runUntil(untilMs, () => this.scheduler.steps() >= stepsMax);
      steps = this.scheduler.steps();
      const broken = this.#chooseBroken();
      this.story.tell("phase", `heals; broken for ever: ${[...broken].join(" ") || "nobody"}`);
      this.oracles.endCalm();
      this.#endTwins();
      this.#isActive = false;
      this.#faults.heal(broken);
      this.administrator.followAlarms();
      // Beyond the bound nothing is promised, so nothing is waited for.
      if ((this.options.driftBeyond ?? null) === null) await checkLiveness(this, broken);
      this.oracles.checkHistory();
    } catch (error) {
      violation =
        error instanceof Violation
          ? error.message
          : `bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
      this.story.tell("VIOLATION", violation.split("\n")[0] ?? "");
    }
    return {
      seed: this.options.seed,
      violation,
      digest: this.story.digest(),
      summary: this.#summary(),
      steps: steps ?? this.scheduler.steps() + 1,
      happened: this.#faults.happened.map(({ name }) => name),
      clients: [...this.clients, ...this.#mischief].map(({ name }) => name),
      last: this.story.last(),
    };
  }

  /** Runs until `done`, at most until the true time `untilMs`. */
  runUntil(untilMs: number, done: () => boolean): Promise<void> {
    return this.scheduler.run({ untilMs, done, afterEvent: () => this.#afterEvent() });
  }

  #afterEvent(): void {
    this.protocol.afterEvent();
    this.oracles.afterEvent();
  }

  runFor(ms: number): Promise<void> {
    return this.runUntil(this.scheduler.nowMs() + ms, () => false);
  }

  #poolWorld(): PoolWorld {
    return {
      network: this.network,
      store: this.store,
      tokens: this.#tokens,
      oracles: this.oracles,
      protocol: this.protocol,
      story: this.story,
      leaseMs: this.profile.leaseMs,
      restartMsMax: this.profile.restartMsMax,
      hostAt: (url) => this.#hosts.get(url) ?? null,
      plant: this.options.plant ?? ((ports) => ports),
    };
  }

  /** A second process of a member on a machine with an empty disk; nobody but the store hears of it. */
  #startTwin({ id, priority }: VirtualMember, forMs: number): boolean {
    if (this.processes.length > this.members.length + TWINS_MAX) return false;
    const number = this.processes.length;
    const random = this.random.stream(`twin ${number}`);
    const disk = new VirtualDisk(this.scheduler, random.stream("disk"));
    disk.onAppend = (entries) => this.protocol.journalAppended(id, entries);
    const machine = this.#machine(`${id}-${number}`, random, true);
    const file = new LicenseFile(this.administrator.license());
    const twin = new VirtualMember(id, priority, machine, disk, file, this.#poolWorld(), random);
    this.processes.push(twin);
    twin.start();
    twin.mayRun = false;
    this.scheduler.after(forMs, () => twin.crash());
    return true;
  }

  #endTwins(): void {
    for (const process of this.processes) {
      if (!this.members.includes(process)) process.crash();
    }
  }

  #makeMembers(): void {
    for (let index = 0; index < this.profile.members; index += 1) {
      this.members.push(this.#newMember(MEMBER_NAMES[index] ?? `m${index}`, index));
    }
  }

  #newMember(id: string, index: number): VirtualMember {
    const random = this.random.stream(`member ${id}`);
    const disk = new VirtualDisk(this.scheduler, random.stream("disk"));
    disk.onAppend = (entries) => this.protocol.journalAppended(id, entries);
    disk.onLost = (session) =>
      this.oracles.violated("I6", `${id} answered for ${session}, and a crash has lost it`);
    this.#disks.delete(this.members[index]?.id ?? "");
    this.#disks.set(id, disk);
    const machine = this.#machine(id, random, true);
    const file = new LicenseFile(this.administrator.license());
    const priority = this.profile.members - index;
    const world = this.#poolWorld();
    const member = new VirtualMember(id, priority, machine, disk, file, world, random);
    this.processes.push(member);
    this.#hosts.set(member.url, member);
    return member;
  }

  #makeClients(): void {
    const world: ClientWorld = {
      network: this.network,
      tokens: this.#tokens,
      oracles: this.oracles,
      story: this.story,
      scheduler: this.scheduler,
      profile: this.profile,
      sharable: this.#sharable,
      servers: this.members.map(({ url }) => url),
      hostAt: (url) => this.#hosts.get(url) ?? null,
    };
    for (let index = 0; index < this.profile.clients; index += 1) {
      const name = `client${index + 1}`;
      const random = this.random.stream(name);
      const machine = this.#machine(name, random, random.chance(0.6));
      this.clients.push(new VirtualClient(name, machine, world, random));
    }
  }

  #makeMischief(): void {
    for (let index = 0; index < this.profile.mischief; index += 1) {
      const name = `mischief${index + 1}`;
      const random = this.random.stream(name);
      const machine = this.#machine(name, random, true);
      const world = {
        network: this.network,
        tokens: this.#tokens,
        scheduler: this.scheduler,
        story: this.story,
        profile: this.profile,
        servers: () => this.members.map(({ url }) => url),
        hostAt: (url: string) => this.#hosts.get(url) ?? null,
        someSession: () => random.pick(this.clients).session(),
        isActive: () => this.#isActive,
      };
      this.#mischief.push(new VirtualMischief(name, machine, world, random));
    }
  }

  #machine(name: string, random: Random, hasBootClock: boolean): VirtualMachine {
    const drift = this.options.driftBeyond ?? CLOCK_DRIFT;
    // Two of three machines are exactly at one end of the bound.
    const drawn = random.pick([1 - drift, 1 + drift, random.between(1 - drift, 1 + drift)]);
    const isClient = name.startsWith("client");
    const rate = this.profile.fastServers ? 1 + (isClient ? -drift : drift) : drawn;
    return new VirtualMachine(name, this.scheduler, {
      rate,
      wallOffsetMs: random.between(-60_000, 60_000),
      upMs: random.between(1_000, 1e8),
      hasBootClock,
    });
  }

  /** A minority that stays broken for ever. */
  #chooseBroken(): ReadonlySet<string> {
    const random = this.random.stream("broken");
    const spare = this.profile.members - majorityOf(this.profile.members);
    const count = random.whole(0, spare);
    const ids = random.shuffled(this.members.map(({ id }) => id)).slice(0, count);
    // A machine that is lost stays lost; it is one of the minority.
    const dead = this.administrator.deadMember();
    return new Set(
      dead === null
        ? ids
        : [dead.id, ...ids.filter((id) => id !== dead.id)].slice(0, Math.max(1, count)),
    );
  }

  #summary(): SimulationSummary {
    const sum = (pick: (client: VirtualClient) => number): number =>
      this.clients.reduce((total, client) => total + pick(client), 0);
    const { counts } = this.oracles.history;
    const { requests, answers, cut, duplicates, slow } = this.network.lost;
    const { unknown, appliedLate, lostAnswers, reconnects } = this.store.counts;
    const { rebuilds, replaced, restoredStores, droppedFeatures } = this.administrator.counts;
    return {
      profile: this.profile.name,
      members: this.profile.members,
      clients: this.profile.clients,
      virtualHours: this.scheduler.nowMs() / 3_600_000,
      grants: sum(({ counts }) => counts.grants),
      renewals: sum(({ counts }) => counts.renewals),
      conversions: sum(({ counts }) => counts.conversions),
      losses: sum(({ counts }) => counts.losses),
      refusals: sum(({ counts }) => counts.refusals),
      crashes: this.members.reduce((total, member) => total + member.crashes, 0),
      failovers: counts.failovers,
      epochs: counts.retirements,
      reclaimedSeats: counts.reclaimedSeats,
      licenses: counts.licenses,
      overIssue: (this.options.driftBeyond ?? null) === null ? null : this.oracles.overIssueCost(),
      faults: Object.fromEntries(this.#faults.counts()),
      troubles: {
        "requests lost": requests,
        "answers lost": answers,
        "messages stopped by a partition": cut,
        "messages duplicated": duplicates,
        "messages slow": slow,
        "store: unknown outcomes": unknown,
        "store: applied after the deadline": appliedLate,
        "store: answers lost": lostAnswers,
        "store: watches reconnected": reconnects,
        "store: restored or empty": restoredStores,
        "pool rebuilt": rebuilds,
        "features dropped by a license": droppedFeatures,
        "machines replaced": replaced,
        "programs died": sum(({ counts }) => counts.deaths),
        "programs stopped for long": sum(({ counts }) => counts.stops),
        "sessions shared by mistake": sum(({ counts }) => counts.shared),
        "calls of mischief": this.#mischief.reduce((total, { calls }) => total + calls, 0),
      },
    };
  }
}

const MEMBER_NAMES = ["ada", "bob", "cyd", "dan", "eve", "fay", "gil"] as const;
/** Second processes in one run. */
const TWINS_MAX = 100;
/** The margin of a client's life, which no configuration changes. */
const LIFE_MARGIN_FLOOR_MS = 250;
const HIDDEN_SHARE = 0.9;
