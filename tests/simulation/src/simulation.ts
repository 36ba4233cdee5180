/**
 * A whole pool from one seed: a phase in which anything breaks and nothing unsafe may happen, then a phase
 * in which a majority is healed, the rest stays broken, and everybody must be served again.
 *
 * Members and clients are the production code. Only clocks, network, disks, signatures and the backing of
 * the store are replaced.
 */
import { isRefusal, majorityOf, timingOf } from "@quorate/core";
import { MemoryStore, type MemberPorts } from "./server-parts.ts";
import { LicenseFile, TokenRegistry, licenseText } from "./fake-tokens.ts";
import { aim } from "./aimed-workloads.ts";
import { Faults, type FaultWorld } from "./faults.ts";
import { checkLiveness } from "./liveness.ts";
import { Oracles, Violation } from "./oracles.ts";
import { profileOf, type Profile } from "./profile.ts";
import { ProtocolOracles } from "./protocol-oracles.ts";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";
import { Story } from "./story.ts";
import { VirtualClient, type ClientWorld } from "./virtual-client.ts";
import { VirtualDisk } from "./virtual-disk.ts";
import { VirtualMachine } from "./virtual-machine.ts";
import { VirtualMember, type PoolWorld } from "./virtual-member.ts";
import { VirtualNetwork } from "./virtual-network.ts";
import { VirtualStoreServer } from "./virtual-store.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** Events of the phase with faults. */
  readonly steps: number;
  /** Null: drawn from the seed. */
  readonly members: number | null;
  /** Kinds of fault that happen; null: drawn from the seed. */
  readonly faults: readonly string[] | null;
  /** What the workload aims at, or "none"; left out: drawn from the seed. */
  readonly aim?: string | null;
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
  readonly messagesLost: number;
  readonly storeUnknown: number;
  readonly faults: Readonly<Record<string, number>>;
}

export interface SimulationResult {
  readonly seed: number;
  /** The first thing that must not happen and did, or null. */
  readonly violation: string | null;
  /** Equal for two runs exactly if their stories are. */
  readonly digest: string;
  readonly summary: SimulationSummary;
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
  readonly #tokens: TokenRegistry;
  readonly #faults: Faults;
  #license: { sequence: number; text: string };
  #olderLicense: string;

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
    const disks = new Map<string, VirtualDisk>();
    this.oracles = new Oracles(this.scheduler, timing, disks, this.profile.calm);
    this.protocol = new ProtocolOracles({
      nowMs: () => this.scheduler.nowMs(),
      timing,
      members: this.processes,
      beliefs: () => this.oracles.beliefs(),
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
        const keys = transaction.puts.map(({ key, value }) =>
          key.startsWith("allocation/") ? `${key} ${value}` : key,
        );
        this.story.tell(by.name, `writes ${revision} ${keys.join(" ")}`);
        this.oracles.storeApplied(transaction);
        this.protocol.storeApplied(by, transaction, sentMs);
      },
    );
    this.store.onHandled = (by) => this.protocol.storeHandled(by);
    this.#tokens = new TokenRegistry(this.random.stream("tokens"));
    this.#license = { sequence: 1, text: this.#licenseOf(1, this.profile.features) };
    this.#olderLicense = this.#license.text;
    this.#makeMembers(disks);
    this.#makeClients();
    const world: FaultWorld = {
      scheduler: this.scheduler,
      network: this.network,
      store: this.store,
      members: this.members,
      clients: this.clients,
      story: this.story,
      hiddenPauseMsMax: HIDDEN_SHARE * 2 * Math.min(timing.marginMs, LIFE_MARGIN_FLOOR_MS),
      leaseMs: this.profile.leaseMs,
      lifeMs: this.profile.lifeMs,
      changeLicense: (random) => this.#changeLicense(random),
    };
    this.#faults = new Faults(
      world,
      this.random.stream("faults"),
      options.faults ??
        (this.profile.calm ? ["minority dies"] : this.profile.usualFaults ? null : []),
    );
    if (this.profile.aim !== null) {
      aim(
        this.profile.aim,
        {
          ...world,
          isActive: () => this.#faults.isActive(),
          startTwin: (member, forMs) => this.#startTwin(member, forMs),
        },
        this.random.stream("aim"),
      );
    }
  }

  async run(): Promise<SimulationResult> {
    this.story.tell("profile", JSON.stringify({ seed: this.options.seed, ...this.profile }));
    let violation: string | null = null;
    try {
      for (const member of this.members) member.start();
      for (const client of this.clients) client.start();
      await this.runUntil(Infinity, () => this.scheduler.steps() >= this.options.steps);
      const broken = this.#chooseBroken();
      this.story.tell("phase", `heals; broken for ever: ${[...broken].join(" ") || "nobody"}`);
      this.oracles.endCalm();
      this.#endTwins();
      this.#faults.heal(broken);
      await checkLiveness(this, broken);
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
      hostAt: (url) => this.members.find((member) => member.url === url) ?? null,
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
    const file = new LicenseFile(this.#license.text);
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

  #makeMembers(disks: Map<string, VirtualDisk>): void {
    const world = this.#poolWorld();
    for (let index = 0; index < this.profile.members; index += 1) {
      const id = MEMBER_NAMES[index] ?? `m${index}`;
      const random = this.random.stream(`member ${id}`);
      const disk = new VirtualDisk(this.scheduler, random.stream("disk"));
      disk.onAppend = (entries) => this.protocol.journalAppended(id, entries);
      disks.set(id, disk);
      const machine = this.#machine(id, random, true);
      const file = new LicenseFile(this.#license.text);
      const priority = this.profile.members - index;
      const member = new VirtualMember(id, priority, machine, disk, file, world, random);
      this.members.push(member);
      this.processes.push(member);
    }
  }

  #makeClients(): void {
    const world: ClientWorld = {
      network: this.network,
      tokens: this.#tokens,
      oracles: this.oracles,
      story: this.story,
      scheduler: this.scheduler,
      profile: this.profile,
      servers: this.members.map(({ url }) => url),
      hostAt: (url) => this.members.find((member) => member.url === url) ?? null,
    };
    for (let index = 0; index < this.profile.clients; index += 1) {
      const name = `client${index + 1}`;
      const random = this.random.stream(name);
      const machine = this.#machine(name, random, random.chance(0.6));
      this.clients.push(new VirtualClient(name, machine, world, random));
    }
  }

  #machine(name: string, random: Random, hasBootClock: boolean): VirtualMachine {
    return new VirtualMachine(name, this.scheduler, {
      rate: random.pick([1 - DRIFT, 1 + DRIFT, random.between(1 - DRIFT, 1 + DRIFT)]),
      wallOffsetMs: random.between(-60_000, 60_000),
      upMs: random.between(1_000, 1e8),
      hasBootClock,
    });
  }

  #licenseOf(sequence: number, features: Profile["features"]): string {
    const { members: size, lifeMs } = this.profile;
    return licenseText({ sequence, size, features, lifeMs });
  }

  /** A newer one at a running or a stopped member; now and then an older or a contradicting one. */
  #changeLicense(random: Random): string {
    const member = random.pick(this.members);
    const features = this.profile.features.map(({ name, seats }) => ({
      name,
      seats: Math.max(1, Math.round(seats * random.between(0.4, 1.6))),
    }));
    const kind = random.pick(["newer", "newer", "newer", "older", "contradicting"]);
    let text = this.#olderLicense;
    if (kind === "newer") {
      const sequence = this.#license.sequence + 1;
      text = this.#licenseOf(sequence, features);
      this.#olderLicense = this.#license.text;
      this.#license = { sequence, text };
    } else if (kind === "contradicting") {
      text = this.#licenseOf(this.#license.sequence, [...features, { name: "other", seats: 1 }]);
    }
    const run = member.listening();
    // A file is brought to a stopped member only where it can't be refused: nobody would hear of it.
    if (run === null && kind !== "contradicting") {
      member.licenseFile.install(text);
    } else {
      run?.process.deliver(0, () => {
        void run.api.installLicense(text).then((answer) => {
          const heard = isRefusal(answer) ? answer.refused : `license ${answer.sequence}`;
          this.story.tell(member.id, `was brought a ${kind} license: ${heard}`);
        });
      });
    }
    const seats = features.map((each) => `${each.name} ${each.seats}`).join(", ");
    return `a ${kind} license at ${member.id}${kind === "newer" ? ` (${seats})` : ""}`;
  }

  /** A minority that stays broken for ever. */
  #chooseBroken(): ReadonlySet<string> {
    const random = this.random.stream("broken");
    const spare = this.profile.members - majorityOf(this.profile.members);
    const count = random.whole(0, spare);
    return new Set(random.shuffled(this.members.map(({ id }) => id)).slice(0, count));
  }

  #summary(): SimulationSummary {
    const sum = (pick: (client: VirtualClient) => number): number =>
      this.clients.reduce((total, client) => total + pick(client), 0);
    const { counts } = this.oracles.history;
    const { requests, answers, cut } = this.network.lost;
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
      messagesLost: requests + answers + cut,
      storeUnknown: this.store.counts.unknown,
      faults: Object.fromEntries(this.#faults.counts),
    };
  }
}

const MEMBER_NAMES = ["ada", "bob", "cyd", "dan", "eve"] as const;
/** Second processes in one run. */
const TWINS_MAX = 100;
const DRIFT = 0.0099;
/** The margin of a client's life, which no configuration changes. */
const LIFE_MARGIN_FLOOR_MS = 250;
const HIDDEN_SHARE = 0.9;
