/** What the parts of a member share: its ports, what it knows, and how it tells people. */
import { type License, type LicenseFeature, Ledger, type Timing, timingOf } from "@quorate/core";
import type { MemberEvent } from "@quorate/protocol";
import type { MemberOptions } from "./api.ts";
import {
  ALLOCATION_PREFIX,
  type AllocationRecord,
  allocationKeyOf,
  LEADER_KEY,
  type LeaderRecord,
  type MemberRecord,
  memberKeyOf,
} from "./keys.ts";
import type { MemberPorts } from "./ports.ts";
import { type Known, SharedState } from "./shared-state.ts";

const LISTENERS_MAX = 1_000;

export class MemberContext {
  readonly options: MemberOptions;
  readonly ports: MemberPorts;
  readonly timing: Timing;
  readonly state: SharedState;
  readonly ledger = new Ledger();
  /** The license in force: what the store says, checked. */
  license: { readonly license: License; readonly canonical: string; readonly text: string } | null =
    null;
  /** The process is ending: nothing is answered any more. */
  ended = false;
  private readonly alarmsByName = new Map<string, string>();
  private emittedMs = Number.NaN;
  private emittedAt = "";
  private readonly listeners = new Set<(event: MemberEvent) => void>();
  private featuresByName: ReadonlyMap<string, LicenseFeature> = new Map();

  constructor(options: MemberOptions, ports: MemberPorts) {
    this.options = options;
    this.ports = ports;
    this.timing = timingOf(options.leaseMs);
    this.state = new SharedState(ports.store, ports.runtime, options.id, this.timing);
  }

  get id(): string {
    return this.options.id;
  }

  nowMs(): number {
    return this.ports.runtime.clocks().monotonicMs;
  }

  setLicense(license: { license: License; canonical: string; text: string }): void {
    this.license = license;
    this.featuresByName = new Map(license.license.features.map((each) => [each.name, each]));
  }

  feature(name: string): LicenseFeature | null {
    return this.featuresByName.get(name) ?? null;
  }

  record(feature: string): Known<AllocationRecord> | null {
    return this.state.get<AllocationRecord>(allocationKeyOf(feature));
  }

  records(): { feature: string; record: AllocationRecord; revision: number }[] {
    return this.state
      .withPrefix<AllocationRecord>(ALLOCATION_PREFIX)
      .map(([key, { value, revision }]) => ({
        feature: key.slice(ALLOCATION_PREFIX.length),
        record: value,
        revision,
      }));
  }

  memberRecord(id: string): MemberRecord | null {
    return this.state.get<MemberRecord>(memberKeyOf(id))?.value ?? null;
  }

  leaderRecord(): Known<LeaderRecord> | null {
    return this.state.get<LeaderRecord>(LEADER_KEY);
  }

  /** An alarm stands until it is cleared; the sentence says what an administrator can do. */
  alarm(name: string, sentence: string): void {
    if (this.alarmsByName.get(name) === sentence) return;
    this.alarmsByName.set(name, sentence);
    this.ports.log.error(sentence, { alarm: name });
    this.emit("alarm", { name, sentence });
  }

  clearAlarm(name: string): void {
    if (this.alarmsByName.delete(name)) this.emit("alarm-cleared", { name });
  }

  alarms(): string[] {
    return [...this.alarmsByName.values()];
  }

  emit(type: string, data: Readonly<Record<string, unknown>>): void {
    if (this.listeners.size === 0) return;
    const { wallMs } = this.ports.runtime.clocks();
    // A busy member emits several within a millisecond.
    if (wallMs !== this.emittedMs) {
      this.emittedMs = wallMs;
      this.emittedAt = new Date(wallMs).toISOString();
    }
    const event = { type, at: this.emittedAt, data };
    for (const listener of this.listeners) listener(event);
  }

  subscribe(listener: (event: MemberEvent) => void): () => void {
    if (this.listeners.size >= LISTENERS_MAX) throw new RangeError("too many listeners");
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.ports.runtime.after(ms, resolve);
    });
  }

  /** Calls `work` every `everyMs` after the last run has ended, until the member ends. */
  repeat(everyMs: number, work: () => void | Promise<void>): void {
    const run = (): void => {
      if (this.ended) return;
      void Promise.resolve()
        .then(work)
        .catch((error: unknown) => this.crash(error))
        .finally(() => this.ports.runtime.after(everyMs, run));
    };
    run();
  }

  /** A broken invariant or a bug stops the member: it must not guess. */
  crash(error: unknown): void {
    if (this.ended) return;
    this.ended = true;
    const words = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.ports.log.error("the member stops: an internal check failed", { error: words });
    this.options.onExit({ code: 1, reason: "an internal check failed; see the log" });
  }
}
