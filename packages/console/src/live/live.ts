/**
 * What the console knows now, kept fresh: polling is the truth, the event streams only make it look sooner
 * and tell what happened between two looks.
 */
import type {
  FeaturesAnswer,
  LicenseAnswer,
  MemberEvent,
  PoolAnswer,
  RecentEventsAnswer,
} from "@quorate/protocol";
import { addHappenings, happeningOf, happeningsBetween } from "../model/happenings.ts";
import type { Happening } from "../model/happenings.ts";
import { withLastKnown } from "../model/last-known.ts";
import { withAlarmsOfAll } from "../model/pool-alarms.ts";
import { addSample } from "../model/usage.ts";
import type { Usage } from "../model/usage.ts";
import { MemberStreams } from "./member-streams.ts";
import { NoServerError, RefusedError } from "./pool-calls.ts";
import type { PoolCalls, Read } from "./pool-calls.ts";

const POOL_EVERY_MS = 1_000;
const FEATURES_EVERY_MS = 2_000;
/** After a hint, and at most this often. */
const FEATURES_SOON_MS = 400;
/** What was told once is not told again: by a stream, and by the list of what was before it. */
const EVENTS_KNOWN_MAX = 2_000;
/** A server tells its own alarms alone. */
const ALARMS_EVERY_MS = 5_000;
/** A login that ended by itself is noticed within this, before somebody wants to change something. */
const LOGIN_EVERY_MS = 60_000;
/** The servers' memories come within this, and are shown at once: lines that push each other down are hard to read. */
const PAST_TOGETHER_MS = 400;
/** Nobody looks at a hidden page, but its chart goes on; and where a login is needed it is the reader's turn. */
const HIDDEN_FACTOR = 5;

export interface Snapshot {
  readonly openedAtMs: number;
  readonly pool: PoolAnswer | null;
  readonly features: FeaturesAnswer | null;
  /** Null until it was read; `none` when the pool has none. */
  readonly license: LicenseAnswer | "none" | null;
  readonly usages: ReadonlyMap<string, Usage>;
  readonly happenings: readonly Happening[];
  /** Members whose event stream to this page has broken. */
  readonly silent: ReadonlySet<string>;
  /** Since when a member is seen down. */
  readonly downSince: ReadonlyMap<string, number>;
  readonly link: Link;
}

export interface Link {
  /** `closed`: a server answers, and wants to know who asks. */
  readonly state: "connecting" | "live" | "polling" | "closed" | "lost";
  /** Id of the member that answers. */
  readonly member: string | null;
  /** Where it answers. */
  readonly url: string;
  readonly answeredAtMs: number | null;
}

export class Live {
  readonly calls: PoolCalls;
  readonly #listeners = new Set<() => void>();
  readonly #streams: MemberStreams;
  #snapshot: Snapshot;
  #licenseSequence: number | null = null;
  #featuresTimer: number | null = null;
  #featuresAtMs = -Infinity;
  #alarmsAtMs = -Infinity;
  #othersAlarms: readonly PoolAnswer[] = [];
  #loginAtMs = performance.now();
  readonly #knownEvents = new Set<string>();
  readonly #past: Happening[] = [];
  #pastTimer: number | null = null;

  constructor(calls: PoolCalls) {
    this.calls = calls;
    this.#snapshot = {
      openedAtMs: Date.now(),
      pool: null,
      features: null,
      license: null,
      usages: new Map(),
      happenings: [],
      silent: new Set(),
      downSince: new Map(),
      link: { state: "connecting", member: null, url: calls.current, answeredAtMs: null },
    };
    this.#streams = new MemberStreams({
      onEvent: (event, from) => this.#takeEvent(event, from),
      onHint: () => this.#featuresSoon(),
      onChange: () => this.#takeStreams(),
      onOpen: (url, id) => void this.#lookBack(url, id),
    });
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    void this.calls.askLogin(this.calls.origin);
    void this.#pollPool();
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#featuresSoon();
    });
  }

  /** After a change that this page made: look at once. */
  async refresh(): Promise<void> {
    await this.#lookAtPool();
    await this.#lookAtFeatures();
  }

  async #pollPool(): Promise<void> {
    await this.#lookAtPool();
    if (performance.now() - this.#alarmsAtMs >= ALARMS_EVERY_MS) {
      this.#alarmsAtMs = performance.now();
      void this.#lookAtOthersAlarms();
    }
    if (performance.now() - this.#loginAtMs >= LOGIN_EVERY_MS) {
      this.#loginAtMs = performance.now();
      // Not waited for: a server that hangs must not hold up the looks at the pool.
      void Promise.all(this.calls.logins.urls().map((url) => this.calls.askLogin(url)));
    }
    const isClosed = this.#snapshot.link.state === "closed";
    const slower = document.hidden || isClosed ? HIDDEN_FACTOR : 1;
    if (performance.now() - this.#featuresAtMs >= FEATURES_EVERY_MS * slower) {
      await this.#lookAtFeatures();
    }
    window.setTimeout(() => void this.#pollPool(), POOL_EVERY_MS * slower);
  }

  async #lookAtPool(): Promise<void> {
    try {
      this.#takePool(await this.#bestPool());
    } catch (error) {
      this.#lost(error);
    }
  }

  /** A server that is cut off sees no majority; if another one does, that one's word counts. */
  async #bestPool(): Promise<Read<PoolAnswer>> {
    const read = await this.calls.read<PoolAnswer>("/v1/pool");
    if (read.value.majority.reached || read.value.size === 0) return read;
    const others = await this.calls.readOthers<PoolAnswer>("/v1/pool");
    const better = others.find((each) => each.value.majority.reached);
    if (better === undefined) return read;
    this.calls.goOnWith(better.from);
    return better;
  }

  #takePool({ value, from }: Read<PoolAnswer>): void {
    const pool = withAlarmsOfAll(value, this.#othersAlarms);
    const before = this.#snapshot.pool;
    const nowMs = Date.now();
    this.calls.know(pool, from);
    this.#streams.keep(
      pool.members.flatMap(({ id, alive }) => {
        const url = this.calls.urlOf(pool, from, id);
        return alive && url !== null && url !== "" && this.#mayRead(url) ? [{ id, url }] : [];
      }),
    );
    const downSince = new Map<string, number>();
    for (const { id, alive } of pool.members) {
      if (!alive) downSince.set(id, this.#snapshot.downSince.get(id) ?? nowMs);
    }
    const news = before === null ? [] : happeningsBetween(before, pool, nowMs);
    this.#change({
      pool,
      downSince,
      happenings: addHappenings(this.#snapshot.happenings, news),
      silent: this.#streams.broken(),
      link: {
        state: this.#streams.anyOpen ? "live" : "polling",
        member: pool.self,
        url: from,
        answeredAtMs: nowMs,
      },
    });
    const sequence = Math.max(0, ...pool.members.map((each) => each.licenseSequence ?? 0));
    if (sequence !== this.#licenseSequence) void this.#lookAtLicense(sequence);
    if (news.length > 0) this.#featuresSoon();
  }

  /** A stream that is refused looks like one that broke: where nobody may read without a login, ask first. */
  #mayRead(url: string): boolean {
    const { logins, current } = this.calls;
    if (logins.at(current)?.readers !== "token") return true;
    if (logins.at(url) === null) void this.calls.askLogin(url);
    return logins.me(url) !== null;
  }

  #lost(error: unknown): void {
    if (!(error instanceof NoServerError || error instanceof RefusedError)) throw error;
    const closed = error instanceof RefusedError && error.code === "unauthorized";
    const { link } = this.#snapshot;
    const url = this.calls.current;
    if (closed) this.#streams.keep([]);
    this.#change({ link: { ...link, state: closed ? "closed" : "lost", url } });
  }

  async #lookAtOthersAlarms(): Promise<void> {
    if (this.#snapshot.pool === null) return;
    const others = await this.calls.readOthers<PoolAnswer>("/v1/pool");
    this.#othersAlarms = others.map(({ value }) => value);
  }

  async #lookAtFeatures(): Promise<void> {
    this.#featuresAtMs = performance.now();
    try {
      const { value } = await this.calls.read<FeaturesAnswer>("/v1/features");
      const alive = this.#snapshot.pool?.members
        .filter((each) => each.alive)
        .map((each) => each.id);
      const features = withLastKnown(this.#snapshot.features, value, new Set(alive));
      const usages = new Map(this.#snapshot.usages);
      // Without all reports the sum is too low: a gap in the chart is honest, a dip is not.
      if (features.missing.length === 0) {
        const atMs = Date.now();
        for (const row of features.features) {
          usages.set(row.name, addSample(usages.get(row.name), row, atMs));
        }
      }
      this.#change({ features, usages });
    } catch (error) {
      this.#lost(error);
    }
  }

  #featuresSoon(): void {
    if (this.#featuresTimer !== null || document.hidden) return;
    this.#featuresTimer = window.setTimeout(() => {
      this.#featuresTimer = null;
      void this.#lookAtFeatures();
    }, FEATURES_SOON_MS);
  }

  async #lookAtLicense(sequence: number): Promise<void> {
    try {
      const { value } = await this.calls.read<LicenseAnswer>("/v1/license");
      this.#licenseSequence = sequence;
      this.#change({ license: value });
    } catch (error) {
      if (error instanceof RefusedError) this.#change({ license: "none" });
      else this.#lost(error);
    }
  }

  /** What the member did before its stream began, or while it was broken. */
  async #lookBack(url: string, id: string): Promise<void> {
    try {
      const { events } = await this.calls.readFrom<RecentEventsAnswer>(url, "/v1/events/recent");
      const news = events.flatMap((event) => {
        const happening = this.#isNew(event, id) ? happeningOf(event, id) : null;
        return happening === null ? [] : [happening];
      });
      this.#past.push(...news);
      if (this.#pastTimer !== null) return;
      this.#pastTimer = window.setTimeout(() => {
        this.#pastTimer = null;
        const past = this.#past.splice(0);
        this.#change({ happenings: addHappenings(this.#snapshot.happenings, past) });
      }, PAST_TOGETHER_MS);
    } catch {
      // It is no more there, or its streams are taken: it is asked again when one opens.
    }
  }

  #isNew(event: MemberEvent, from: string): boolean {
    const key = `${from} ${event.at} ${event.type} ${JSON.stringify(event.data)}`;
    if (this.#knownEvents.has(key)) return false;
    this.#knownEvents.add(key);
    const [oldest] = this.#knownEvents;
    if (this.#knownEvents.size > EVENTS_KNOWN_MAX && oldest !== undefined) {
      this.#knownEvents.delete(oldest);
    }
    return true;
  }

  #takeEvent(event: MemberEvent, from: string): void {
    if (!this.#isNew(event, from)) return;
    const happening = happeningOf(event, from);
    if (happening !== null) {
      this.#change({ happenings: addHappenings(this.#snapshot.happenings, [happening]) });
    }
    this.#featuresSoon();
  }

  #takeStreams(): void {
    const { link } = this.#snapshot;
    const streaming = this.#streams.anyOpen ? "live" : "polling";
    const isUp = link.state === "live" || link.state === "polling";
    this.#change({
      silent: this.#streams.broken(),
      link: isUp ? { ...link, state: streaming } : link,
    });
  }

  #change(change: Partial<Snapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...change };
    for (const listener of this.#listeners) listener();
  }
}
