/**
 * One member of the pool: its machine, its disk, its copy of the license, and the runs of its process, with
 * a service manager that starts it again.
 */
import type { Answer } from "@quorate/protocol";
import { isRefusal, refuse, type Refusal } from "@quorate/core";
import {
  createReplayWindow,
  NOT_REACHED,
  Member,
  type MemberApi,
  type MemberOptions,
  type MemberPorts,
  type PeerAnswer,
  type PeerCall,
  type ReplayWindow,
  unusedAt,
} from "./server-parts.ts";
import type { LicenseFile, TokenRegistry } from "./fake-tokens.ts";
import type { Oracles } from "./oracles.ts";
import type { ProtocolOracles } from "./protocol-oracles.ts";
import type { Random } from "./random.ts";
import type { Story } from "./story.ts";
import type { VirtualDisk } from "./virtual-disk.ts";
import type { VirtualMachine, VirtualProcess } from "./virtual-machine.ts";
import { copyOf, type Host, type VirtualNetwork } from "./virtual-network.ts";
import type { VirtualStoreServer } from "./virtual-store.ts";

export interface PoolWorld {
  readonly network: VirtualNetwork;
  readonly store: VirtualStoreServer;
  readonly tokens: TokenRegistry;
  readonly oracles: Oracles;
  readonly protocol: ProtocolOracles;
  readonly story: Story;
  readonly leaseMs: number;
  readonly restartMsMax: number;
  hostAt(url: string): Host<VirtualApi> | null;
  /** Wraps the ports of a member: the place where a test plants a bug. */
  readonly plant: (ports: MemberPorts) => MemberPorts;
}

/** What a member answers, and how it hears other members: as its HTTP layer does, no call twice. */
export interface VirtualApi extends MemberApi {
  hear(from: string, sequence: number, call: PeerCall): Promise<PeerAnswer>;
}

export class VirtualMember implements Host<VirtualApi> {
  readonly id: string;
  readonly url: string;
  readonly machine: string;
  readonly hardware: VirtualMachine;
  readonly disk: VirtualDisk;
  readonly licenseFile: LicenseFile;
  readonly priority: number;
  readonly #world: PoolWorld;
  readonly #random: Random;
  #run: {
    readonly process: VirtualProcess;
    readonly member: Member;
    readonly api: VirtualApi;
  } | null = null;
  #runs = 0;
  /** Of its calls to other members; it grows over restarts. */
  #sequence = 0;
  crashes = 0;
  /** True time of the last start. */
  startedMs = 0;
  #stopping = false;
  #distrustedJournal = false;
  /** False: the machine is gone, for a while or for good. */
  mayRun = true;
  /** Another takes its place: only somebody who does not know that switches it on again. */
  isReplaced = false;

  constructor(
    id: string,
    priority: number,
    hardware: VirtualMachine,
    disk: VirtualDisk,
    licenseFile: LicenseFile,
    world: PoolWorld,
    random: Random,
  ) {
    this.id = id;
    this.url = urlOf(id);
    this.machine = hardware.name;
    this.hardware = hardware;
    this.disk = disk;
    this.licenseFile = licenseFile;
    this.priority = priority;
    this.#world = world;
    this.#random = random;
  }

  listening(): { readonly process: VirtualProcess; readonly api: VirtualApi } | null {
    return this.#run;
  }

  /** The process, if one runs; also while it is stopped. */
  process(): VirtualProcess | null {
    return this.#run?.process ?? null;
  }

  /** For the oracles at the end: the api without a network between. */
  api(): MemberApi | null {
    return this.#run?.member ?? null;
  }

  /** Null while it may grant. */
  readiness(): Refusal | { readonly refused: "no-process" } | null {
    return this.#run === null ? { refused: "no-process" } : this.#run.member.readiness();
  }

  unused(feature: string): number {
    return this.#run === null ? 0 : unusedAt(this.#run.member, feature);
  }

  /** Somebody sits beside it: what the service manager leaves alone is started again at once. */
  isAttended = false;

  /** It once refused what its journal says: such sessions stay in it. */
  hasDistrustedJournal(): boolean {
    return this.#distrustedJournal;
  }

  start(): void {
    if (this.#run !== null || !this.mayRun) return;
    this.#runs += 1;
    this.startedMs = this.hardware.trueMs();
    this.#stopping = false;
    const random = this.#random.stream(`run ${this.#runs}`);
    const process = this.hardware.start(this.id, random);
    const { story } = this.#world;
    let lastError = "";
    const options: MemberOptions = {
      id: this.id,
      url: this.url,
      key: keyOf(this.id),
      certifiedBy: null,
      journalFile: this.disk.file(),
      priority: this.priority,
      leaseMs: this.#world.leaseMs,
      onExit: ({ code, reason }) => {
        if (!process.isAlive()) return;
        story.tell(this.id, `exits with ${code}: ${reason}`);
        // An internal check failed: a bug, unless it tripped over a broken disk.
        if (code === EXIT_INTERNAL && !this.disk.hasFailed()) {
          this.#world.oracles.violated("bug", `${this.id} stops: ${lastError}`);
        }
        this.#end(process, NOT_RESTARTED.includes(code));
      },
    };
    const tell =
      (level: string) =>
      (message: string, fields?: Record<string, unknown>): void => {
        if (!process.isAlive()) return;
        if (message.startsWith(DISTRUST)) this.#distrustedJournal = true;
        const error = fields?.["error"];
        if (typeof error === "string") lastError = error;
        story.tell(
          this.id,
          `${level}${message}${fields === undefined ? "" : ` ${JSON.stringify(fields)}`}`,
        );
      };
    const member = new Member(
      options,
      this.#world.plant({
        runtime: process.runtime(),
        store: this.#world.store.portOf(process),
        journal: this.disk.open(process),
        peers: {
          call: (url, _to, call, deadlineMs) => {
            const sent = copyOf(call);
            this.#sequence += 1;
            const sequence = this.#sequence;
            return this.#world.network.call(
              process,
              this.#world.hostAt(url),
              (api) => api.hear(this.id, sequence, copyOf(sent)),
              deadlineMs,
              NOT_REACHED,
            );
          },
        },
        tokens: this.#world.tokens.tokensOf(keyOf(this.id)),
        licenses: this.licenseFile.portOf(process, random, () => this.disk.isFull()),
        log: { info: tell(""), warn: tell("warning: "), error: tell("ERROR: ") },
      }),
    );
    this.#run = { process, member, api: this.#watched(member, process) };
    story.tell(this.id, "starts");
    process.deliver(0, () => {
      // Production ends a process that can't read its own disk; a pause later it is started again.
      member.start().catch((error: unknown) => {
        if (!process.isAlive()) return;
        this.#world.oracles.thrown(error);
        this.#end(process);
      });
    });
  }

  /** kill -9, or power loss. The service manager starts it again after a while. */
  crash(): boolean {
    const process = this.process();
    if (process === null) return false;
    this.crashes += 1;
    this.#world.story.tell(this.id, "is killed");
    this.#end(process);
    return true;
  }

  /** On purpose, as before an upgrade. False if there is nothing to stop. */
  stop(): boolean {
    const run = this.#run;
    if (run === null || this.#stopping || !run.process.isRunning()) return false;
    this.#stopping = true;
    this.#world.story.tell(this.id, "is asked to stop");
    run.process.deliver(0, () => {
      void run.member.stop().then(() => {
        if (!run.process.isAlive()) return;
        this.#world.story.tell(this.id, "has stopped");
        this.#end(run.process);
      });
    });
    return true;
  }

  #end(process: VirtualProcess, waitsForHuman = false): void {
    process.crash();
    this.#run = null;
    if (!this.mayRun) return;
    const { restartMsMax } = this.#world;
    const againMs =
      waitsForHuman && !this.isAttended
        ? this.#random.between(HUMAN_MS_MIN, HUMAN_MS_MAX)
        : this.isAttended || this.#random.chance(QUICK_RESTART_SHARE)
          ? this.#random.between(200, 3_000)
          : this.#random.between(Math.min(3_000, restartMsMax), restartMsMax);
    // The service manager belongs to the machine, so it is stopped and goes on with it.
    this.hardware.start(`${this.id} service`, this.#random).deliver(againMs, () => this.start());
  }

  /** What others reach: the same calls, with the oracles looking at every positive answer. */
  #watched(member: Member, process: VirtualProcess): VirtualApi {
    const { oracles, protocol } = this.#world;
    const windows = new Map<string, ReplayWindow>();
    const look = (answer: Answer): Answer => {
      if (process.isAlive() && !isRefusal(answer)) {
        oracles.answered(this.id, answer);
        protocol.answered(this.id);
      }
      return answer;
    };
    const lookAtHeartbeat = (session: string, answer: Answer): Answer => {
      if (process.isAlive() && isRefusal(answer) && answer.refused === "confirm") {
        protocol.confirmAsked(this.id, session, answer.nonce ?? "");
      }
      return look(answer);
    };
    return {
      id: member.id,
      readiness: () => member.readiness(),
      checkout: async (request) => look(await member.checkout(copyOf(request))),
      heartbeat: async (request) => {
        const { session, confirm } = request;
        if (confirm !== undefined) protocol.confirmGiven(this.id, session, confirm);
        return lookAtHeartbeat(session, await member.heartbeat(copyOf(request)));
      },
      release: async (request) => {
        const answer = await member.release(copyOf(request));
        const { session, n, only, administrator } = request;
        if (!isRefusal(answer) && n !== undefined && only === undefined && !administrator) {
          protocol.released(this.id, session, n);
        }
        return answer;
      },
      authorizations: (query) => member.authorizations(query),
      usage: (query) => member.usage(query),
      usageSeries: (query) => member.usageSeries(query),
      denials: (query) => member.denials(query),
      licenseHistory: () => member.licenseHistory(),
      features: () => member.features(),
      pool: () => member.pool(),
      license: () => member.license(),
      holds: (session) => member.holds(session),
      installLicense: (text) => member.installLicense(text),
      lead: (id) => member.lead(id),
      remove: (id) => member.remove(id),
      rebuild: () => member.rebuild(),
      peer: (from, call) => member.peer(from, call),
      hear: (from, sequence, call) => {
        const window = windows.get(from) ?? createReplayWindow();
        windows.set(from, window);
        return window.take(call.epoch, sequence) ? member.peer(from, call) : SEEN_BEFORE;
      },
      memberKey: (id) => member.memberKey(id),
      subscribe: (listener) => member.subscribe(listener),
      stop: () => member.stop(),
    };
  }
}

function urlOf(id: string): string {
  return `http://${id}:7420`;
}

function keyOf(id: string): string {
  return `ed25519:${id}`;
}

const SEEN_BEFORE: Promise<PeerAnswer> = Promise.resolve({
  ok: false,
  refusal: refuse("forbidden", "This call was seen before."),
});
/** How a member begins to say that it takes nothing from its journal. */
const DISTRUST = "the journal is not the one";
const EXIT_INTERNAL = 1;
/** Another process of the member lives, or it was removed: service files don't restart these. */
const NOT_RESTARTED: readonly number[] = [6, 11];
const HUMAN_MS_MIN = 20_000;
const HUMAN_MS_MAX = 200_000;
const QUICK_RESTART_SHARE = 0.5;
