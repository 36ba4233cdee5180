/**
 * A hand-made client that does everything wrong with sessions of its own: it repeats and forgets numbers,
 * asks several members at once, presents old tokens, invents confirmations, releases twice, heartbeats what
 * it has released and falls silent with a seat. Nobody believes in its seats, so I1 does not count them; all
 * other promises must hold in spite of it.
 */
import { isRefusal } from "@quorate/core";
import type { Answer } from "@quorate/protocol";
import type { TokenRegistry } from "./fake-tokens.ts";
import type { Profile } from "./profile.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { MemberApi } from "./server-parts.ts";
import type { Story } from "./story.ts";
import type { VirtualMachine, VirtualProcess } from "./virtual-machine.ts";
import type { Host, VirtualNetwork } from "./virtual-network.ts";

export interface MischiefWorld {
  readonly network: VirtualNetwork;
  readonly tokens: TokenRegistry;
  readonly scheduler: Scheduler;
  readonly story: Story;
  readonly profile: Profile;
  /** Addresses of the present members. */
  servers(): readonly string[];
  hostAt(url: string): Host<MemberApi> | null;
  /** A session of somebody else, or "". */
  someSession(): string;
  isActive(): boolean;
}

export class VirtualMischief {
  readonly name: string;
  calls = 0;
  readonly #machine: VirtualMachine;
  readonly #world: MischiefWorld;
  readonly #random: Random;
  #session = { session: "", secret: "" };
  #feature = "";
  #seats = 1;
  #n = 0;
  readonly #tokens: string[] = [];
  #nonce = "none";

  constructor(name: string, machine: VirtualMachine, world: MischiefWorld, random: Random) {
    this.name = name;
    this.#machine = machine;
    this.#world = world;
    this.#random = random;
  }

  start(): void {
    const process = this.#machine.start(this.name, this.#random.stream("process"));
    this.#renew();
    this.#goOn(process);
  }

  #goOn(process: VirtualProcess): void {
    const waitMs = this.#random.exponential(this.#world.profile.lifeMs / ACTIONS_IN_A_LIFE);
    this.#world.scheduler.after(waitMs, () => {
      if (!this.#world.isActive()) return;
      const copies = this.#random.chance(0.2) ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) this.#act(process);
      if (this.#random.chance(1 / ACTIONS_OF_A_SESSION)) this.#renew();
      this.#goOn(process);
    });
  }

  /** Another session; what the old one holds is left alone. */
  #renew(): void {
    const feature = this.#random.pick(this.#world.profile.features);
    this.#session = this.#world.tokens.newSession();
    this.#feature = feature.name;
    this.#seats = this.#random.whole(1, 2);
    this.#n = 0;
  }

  #act(process: VirtualProcess): void {
    const random = this.#random;
    const url = random.pick(this.#world.servers());
    const holder = { user: this.name, host: this.name };
    const { session, secret } = this.#session;
    const n = this.#number();
    const action = random.pick([
      "checkout",
      "checkout",
      "heartbeat",
      "heartbeat",
      "confirm",
      "release",
      "thief",
    ]);
    this.calls += 1;
    this.#world.story.tell(this.name, `${action} at ${url}`);
    const call = <T>(ask: (api: MemberApi) => T | Promise<T>): Promise<T | null> =>
      this.#world.network.call(process, this.#world.hostAt(url), ask, CALL_MS);
    const request = {
      session,
      secret,
      ...(n === null ? {} : { n }),
      feature: random.chance(0.95) ? this.#feature : "other",
      seats: random.chance(0.95) ? this.#seats : 3 - this.#seats,
      holder,
    };
    const token = random.chance(0.7) ? random.pick(["none", ...this.#tokens]) : null;
    switch (action) {
      case "checkout":
        void call((api) =>
          api.checkout({ ...request, waitMs: random.chance(0.3) ? 5_000 : 0 }),
        ).then((answer) => this.#heard(answer));
        return;
      case "heartbeat":
      case "confirm": {
        const confirm = action === "confirm" ? { confirm: this.#nonce } : {};
        const withToken = token === null ? {} : { token };
        void call((api) => api.heartbeat({ ...request, ...withToken, ...confirm })).then((answer) =>
          this.#heard(answer),
        );
        return;
      }
      case "release": {
        const only = random.chance(0.2) ? { only: url.slice("http://".length).split(":")[0]! } : {};
        const release = { session, secret, administrator: false, ...only };
        void call((api) => api.release({ ...release, ...(n === null ? {} : { n }) }));
        return;
      }
      default: {
        // Somebody else's session, without its secret.
        const other = this.#world.someSession();
        if (other === "") return;
        void call((api) => api.heartbeat({ session: other, secret }));
        void call((api) => api.release({ session: other, secret, administrator: false, n: 1e9 }));
      }
    }
  }

  #number(): number | null {
    const kind = this.#random.pick(["next", "next", "next", "same", "older", "none"]);
    if (kind === "none") return null;
    if (kind === "next") this.#n += 1;
    return kind === "older" ? Math.max(0, this.#n - this.#random.whole(1, 5)) : this.#n;
  }

  #heard(answer: Answer | null): void {
    if (answer === null) return;
    if (isRefusal(answer)) {
      if (answer.refused === "confirm") this.#nonce = answer.nonce ?? "none";
      return;
    }
    if (answer.token === undefined) return;
    this.#tokens.push(answer.token);
    if (this.#tokens.length > TOKENS_KEPT_MAX) this.#tokens.shift();
  }
}

const ACTIONS_IN_A_LIFE = 8;
const ACTIONS_OF_A_SESSION = 15;
const TOKENS_KEPT_MAX = 10;
const CALL_MS = 2_000;
