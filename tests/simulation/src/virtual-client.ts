/**
 * A protected program: asks for a seat with the production SDK, works, gives the seat back or dies, and
 * starts again. What it believes is recorded from outside.
 */
import { QuorateClient, RefusedError, type Authorization, type Wire } from "@quorate/client";
import { isRefusal } from "@quorate/core";
import type { Answer } from "@quorate/protocol";
import type { MemberApi } from "./server-parts.ts";
import { Belief } from "./belief.ts";
import type { TokenRegistry } from "./fake-tokens.ts";
import type { Oracles } from "./oracles.ts";
import type { Profile } from "./profile.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Story } from "./story.ts";
import type { VirtualMachine, VirtualProcess } from "./virtual-machine.ts";
import type { Host, VirtualNetwork } from "./virtual-network.ts";

export interface ClientWorld {
  readonly network: VirtualNetwork;
  readonly tokens: TokenRegistry;
  readonly oracles: Oracles;
  readonly story: Story;
  readonly scheduler: Scheduler;
  readonly profile: Profile;
  /** Sessions of running programs by the name of their client. */
  readonly sharable: Map<string, { readonly session: string; share(): void }>;
  readonly servers: readonly string[];
  hostAt(url: string): Host<MemberApi> | null;
}

interface Use {
  readonly process: VirtualProcess;
  readonly belief: Belief;
  readonly sdk: QuorateClient;
}

export class VirtualClient {
  readonly name: string;
  readonly machine: VirtualMachine;
  readonly counts = {
    grants: 0,
    renewals: 0,
    conversions: 0,
    losses: 0,
    refusals: 0,
    deaths: 0,
    stops: 0,
    shared: 0,
  };
  readonly #world: ClientWorld;
  readonly #random: Random;
  #use: Use | null = null;
  /** True: it starts no use of its own. */
  #retired = false;

  constructor(name: string, machine: VirtualMachine, world: ClientWorld, random: Random) {
    this.name = name;
    this.machine = machine;
    this.#world = world;
    this.#random = random;
  }

  /** Uses seats again and again, until it is retired. */
  start(): void {
    const idleMs = this.#random.exponential(this.#world.profile.idleMs);
    this.#world.scheduler.after(idleMs, () => {
      if (this.#retired) return;
      const { features, holdMs } = this.#world.profile;
      const waitMs = this.#random.chance(0.5) ? 0 : Math.floor(this.#random.between(1_000, 60_000));
      const feature = this.#random.pick(features);
      const seats = feature.seats > 1 && this.#random.chance(PAIR_SHARE) ? 2 : 1;
      const use = this.#begin(feature.name, seats, this.#world.servers, waitMs);
      this.#trouble(use.process);
      this.#world.scheduler.after(this.#random.exponential(holdMs), () => {
        if (this.#use?.process !== use.process) return;
        this.#endUse(this.#random.chance(this.#world.profile.steadyClients ? 0 : DEATH_SHARE));
        if (!this.#retired) this.start();
      });
    });
  }

  /** No more uses; what it holds it gives back, or dies with it. */
  retire(): void {
    this.#retired = true;
    this.#endUse(this.#random.chance(DEATH_SHARE));
  }

  askOnce(feature: string, servers: readonly string[], waitMs: number): void {
    this.#begin(feature, 1, servers, waitMs);
  }

  isHolding(): boolean {
    return this.#use?.belief.believes() === true;
  }

  session(): string {
    return this.#use?.belief.session() ?? "";
  }

  #endUse(dies: boolean): void {
    const use = this.#use;
    if (use === null) return;
    this.#use = null;
    this.#world.sharable.delete(this.name);
    this.#world.oracles.ended(use.belief);
    if (dies) {
      this.counts.deaths += 1;
      this.#world.story.tell(this.name, "dies");
      use.process.crash();
    } else if (use.process.isAlive()) {
      // A stopped process gives back when it goes on; until then nobody uses the seat.
      use.process.deliver(0, () => {
        this.#world.story.tell(this.name, "gives back");
        void use.sdk.close();
      });
    }
  }

  /** Now and then a program is stopped for longer than its authorization lives. */
  #trouble(process: VirtualProcess): void {
    const { lifeMs, holdMs, calm, steadyClients } = this.#world.profile;
    if (calm || steadyClients || !this.#random.chance(PAUSE_SHARE)) return;
    const ms = Math.floor(this.#random.between(0.1, 2) * lifeMs);
    this.#world.scheduler.after(this.#random.between(0, holdMs), () => {
      if (!process.pause(ms)) return;
      this.counts.stops += 1;
      this.#world.story.tell(this.name, `is stopped for ${ms} ms`);
    });
  }

  #begin(feature: string, seats: number, servers: readonly string[], waitMs: number): Use {
    const { oracles, story, scheduler } = this.#world;
    const process = this.machine.start(this.name, this.#random.stream(`${scheduler.steps()}`));
    const belief = new Belief(this.name, feature, seats, this.machine, () => scheduler.nowMs());
    oracles.watch(belief);
    const runtime = process.runtime();
    const sdk = new QuorateClient({
      servers: this.#random.shuffled(servers),
      pick: this.#random.pick(["first", "random", "most-free"]),
      holder: { user: this.name, host: this.machine.name },
      patienceMs: PATIENCE_MS,
      wire: this.#wire(process, belief),
      clocks: { now: () => runtime.clocks(), hasBootClock: this.machine.hasBootClock },
      timers: { after: (ms, callback) => runtime.after(ms, callback) },
      random: () => runtime.random(),
      newSession: () => Promise.resolve(this.#newSession(belief)),
    });
    story.tell(
      this.name,
      `asks for ${seats} ${feature}${waitMs > 0 ? `, waits up to ${waitMs} ms` : ""}`,
    );
    const use = { process, belief, sdk };
    this.#use = use;
    sdk.checkout({ feature, seats, waitMs }).then(
      (authorization) => this.#granted(process, belief, authorization),
      (error: unknown) => this.#refused(belief, error),
    );
    return use;
  }

  /** Its own, or by mistake the one of another running program. */
  #newSession(belief: Belief): { readonly session: string; readonly secret: string } {
    const { tokens, sharable, profile } = this.#world;
    const others = [...sharable].filter(([name]) => name !== this.name);
    if (!this.#retired && others.length > 0 && this.#random.chance(profile.sharedSessions)) {
      const [name, other] = this.#random.pick(others);
      this.counts.shared += 1;
      this.#world.story.tell(this.name, `uses the session of ${name}`);
      other.share();
      belief.share();
      this.#world.oracles.sharedByMistake.add(other.session);
      return { session: other.session, secret: tokens.secretOf(other.session) };
    }
    const made = tokens.newSession();
    if (profile.sharedSessions > 0) {
      sharable.set(this.name, { session: made.session, share: () => belief.share() });
    }
    return made;
  }

  #granted(process: VirtualProcess, belief: Belief, authorization: Authorization): void {
    const { oracles } = this.#world;
    const tell = (what: string): void => this.#tell(belief, what);
    const began = (): void => {
      this.counts.grants += 1;
      oracles.began(belief);
    };
    belief.heldBySdk = () => process.isRunning() && authorization.held;
    tell("is granted");
    began();
    authorization.on("regained", () => {
      tell("regained");
      began();
    });
    authorization.on("renewed", () => {
      this.counts.renewals += 1;
      tell("renewed");
      oracles.renewed();
    });
    authorization.on("moved", () => {
      tell("moved");
      oracles.renewed();
    });
    authorization.on("lost", ({ reason }) => {
      this.counts.losses += 1;
      tell(`lost (${reason})`);
      oracles.paused(belief);
    });
  }

  #refused(belief: Belief, error: unknown): void {
    this.counts.refusals += 1;
    const why = error instanceof RefusedError ? error.code : String(error);
    this.#tell(belief, `is refused: ${why}`);
    this.#world.oracles.ended(belief);
  }

  #tell(belief: Belief, what: string): void {
    const session = belief.session().slice(SESSION_SHOWN_FROM, SESSION_SHOWN_TO);
    this.#world.story.tell(
      this.name,
      `${what}: ${belief.feature} at ${belief.member()}, ${session}`,
    );
  }

  #wire(process: VirtualProcess, belief: Belief): Wire {
    const { network } = this.#world;
    const call = <R>(server: string, ask: (api: MemberApi) => R | Promise<R>, timeoutMs: number) =>
      network.call(process, this.#world.hostAt(server), ask, timeoutMs);
    const noted = async (
      server: string,
      session: string,
      n: number | undefined,
      answer: Promise<Answer | null>,
    ): Promise<Answer | null> => {
      belief.sent(session, n ?? 0);
      const heard = await answer;
      if (heard === null) this.#tell(belief, `hears nothing from ${server}`);
      else if (isRefusal(heard)) {
        this.#tell(belief, `hears from ${server}: ${heard.refused}, ${heard.detail}`);
      }
      if (heard !== null && !isRefusal(heard)) {
        if (heard.converted === true) this.counts.conversions += 1;
        belief.answered(n ?? 0, heard);
      }
      return heard;
    };
    return {
      checkout: (server, request, timeoutMs) =>
        noted(
          server,
          request.session,
          request.n,
          call(server, (api) => api.checkout(request), timeoutMs),
        ),
      heartbeat: (server, request, timeoutMs) =>
        noted(
          server,
          request.session,
          request.n,
          call(server, (api) => api.heartbeat(request), timeoutMs),
        ),
      release: (server, request, timeoutMs) => {
        const only = request.only === undefined ? "" : ` of ${request.only} alone`;
        this.#tell(belief, `releases at ${server}${only}`);
        return call(server, (api) => api.release({ ...request, administrator: false }), timeoutMs);
      },
      pool: (server, timeoutMs) => call(server, (api) => api.pool(), timeoutMs),
      features: (server, timeoutMs) => call(server, (api) => api.features(), timeoutMs),
      // The license of an unsigned pool proves nothing, so no client asks for it.
      license: () => Promise.resolve(null),
    };
  }
}

const DEATH_SHARE = 0.2;
const PAUSE_SHARE = 0.1;
/** Share of uses that take two seats. */
const PAIR_SHARE = 0.15;
const PATIENCE_MS = 30_000;
/** The part of a session's text that differs from others. */
const SESSION_SHOWN_FROM = 7;
const SESSION_SHOWN_TO = 14;
