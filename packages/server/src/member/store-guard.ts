/**
 * Notices things that go backwards (design section 4.7): another store, one that was restored from a
 * backup, an own record older than written. Then nothing is granted until an administrator rebuilds the pool.
 */
import {
  type License,
  LIFE_MS_DEFAULT,
  type MemberRecord as CoreMemberRecord,
  seatsOf,
} from "@quorate/core";
import type { MemberContext } from "./context.ts";
import {
  ALLOCATION_PREFIX,
  type AllocationRecord,
  LICENSE_KEY,
  MEMBER_PREFIX,
  memberKeyOf,
  type MemberRecord,
  STORE_KEY,
  type StoredLicense,
  type StoreRecord,
} from "./keys.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { LicenseKeeper } from "./license-keeper.ts";

type LicensesToRebuild = Pick<LicenseKeeper, "newest" | "toStore">;

const REBUILD_HINT =
  "If the store is really gone or was restored from a backup, run: quorate pool rebuild";
const FACT_EVERY_MS = 1_000;
/** Under it a rebuilt pool's seats wait among the retired ones, with the number of the rebuild. */
const REBUILD = "rebuild";

export function isRebuildKey(key: string): boolean {
  return key.startsWith(`${REBUILD}/`);
}

export class StoreGuard {
  private storeId: string | null = null;
  private rebuilds = 0;
  private revision = 0;
  private epoch = 0;
  /** Of the own record: a restored store in which others worked on may be past all other revisions. */
  private ownRevision = 0;
  longestLifeMs = LIFE_MS_DEFAULT;
  private epochs: Record<string, number> = {};
  /** The most seats of each feature that were ever out: what a store that is gone may have given. */
  private mostSeats: Record<string, number> = {};
  private notedAtMs = Number.NEGATIVE_INFINITY;

  onJournalFailed: (error: unknown) => void = () => {};

  private readonly member: MemberContext;
  private readonly lease: LeaseKeeper;
  constructor(member: MemberContext, lease: LeaseKeeper) {
    this.member = member;
    this.lease = lease;
  }

  recall(facts: ReadonlyMap<string, string>): void {
    this.storeId = facts.get("store-id") ?? null;
    this.rebuilds = Number(facts.get("rebuilds") ?? 0);
    this.revision = Number(facts.get("revision") ?? 0);
    this.epoch = Number(facts.get("epoch") ?? 0);
    this.ownRevision = Number(facts.get("own-revision") ?? 0);
    this.longestLifeMs = Number(facts.get("longest-life") ?? LIFE_MS_DEFAULT);
    this.epochs = JSON.parse(facts.get("epochs") ?? "{}") as Record<string, number>;
    this.mostSeats = JSON.parse(facts.get("most-seats") ?? "{}") as Record<string, number>;
  }

  get id(): string | null {
    return this.storeId;
  }

  /** No epoch below this may be begun: the journal has seen it. */
  get leastEpoch(): number {
    return Math.max(this.epoch, this.epochs[this.member.id] ?? 0);
  }

  backwards(revision: number, seen: number): void {
    this.suspend(
      `the store went backwards: it is at revision ${revision}, this server has seen ${seen}. ${REBUILD_HINT}`,
    );
  }

  keyBackwards(key: string): void {
    this.suspend(
      `the store went backwards: it has "${key}" in an older state than this server has seen. ${REBUILD_HINT}`,
    );
  }

  lost(reason: string): void {
    this.suspend(reason);
  }

  private suspend(sentence: string): void {
    this.lease.suspended = true;
    this.lease.suspendedBecause = sentence;
    this.member.alarm("store", sentence);
  }

  /**
   * Whether the store is the known one. A fresh pool's store gets its id here. False: keep asking; nothing
   * may be granted.
   */
  async recognise(): Promise<boolean> {
    const stored = this.member.state.get<StoreRecord>(STORE_KEY)?.value ?? null;
    if (stored === null) {
      if (this.storeId !== null) {
        this.suspend(
          `the store (${this.member.ports.store.name}) is empty, but this server has worked with a store before. ${REBUILD_HINT}`,
        );
        return false;
      }
      await this.member.state.change<StoreRecord>(STORE_KEY, (current) =>
        current === null
          ? { value: { id: this.member.ports.runtime.nonce(), rebuilds: 0, nonces: {} } }
          : "it has an id",
      );
      return false;
    }
    if (stored.movedTo !== undefined) {
      this.suspend(
        `the pool's store was moved away from ${this.member.ports.store.name}; start this server with the --store of the others`,
      );
      return false;
    }
    if (this.storeId === null || stored.rebuilds > this.rebuilds || this.wasMoved(stored)) {
      return this.adopt(stored);
    }
    if (this.member.state.lastRevision < this.revision) {
      this.backwards(this.member.state.lastRevision, this.revision);
      return false;
    }
    const ownKey = memberKeyOf(this.member.id);
    if (stored.id === this.storeId && this.member.state.revisionOf(ownKey) < this.ownRevision) {
      this.keyBackwards(ownKey);
      return false;
    }
    if (stored.id !== this.storeId) {
      this.suspend(
        `the store (${this.member.ports.store.name}) is another one than this server has worked with. ${REBUILD_HINT}`,
      );
      return false;
    }
    return true;
  }

  /** The store goes on in another place, with all that this server has seen of it. */
  private wasMoved({ movedFrom, rebuilds }: StoreRecord): boolean {
    return (
      movedFrom !== undefined &&
      movedFrom.id === this.storeId &&
      movedFrom.revision >= this.revision &&
      rebuilds === this.rebuilds
    );
  }

  private async adopt(stored: StoreRecord): Promise<boolean> {
    this.storeId = stored.id;
    this.rebuilds = stored.rebuilds;
    this.revision = this.member.state.lastRevision;
    this.ownRevision = 0;
    try {
      await this.member.ports.journal.append([
        { kind: "fact", name: "store-id", value: stored.id },
        { kind: "fact", name: "rebuilds", value: String(stored.rebuilds) },
        { kind: "fact", name: "revision", value: String(this.revision) },
        { kind: "fact", name: "own-revision", value: "0" },
      ]);
    } catch (error) {
      this.member.crash(error);
      return false;
    }
    this.lease.suspended = false;
    this.member.clearAlarm("store");
    return true;
  }

  /**
   * Whether the store is still the one that was recognised at the start. Another one may be a rebuilt pool's, also
   * one that has grown past all that was seen of the old: it is looked at from the beginning, never mixed with it.
   */
  isSame(stored: StoreRecord | null): boolean {
    const { phase, suspended } = this.lease;
    if (suspended || (phase !== "waiting" && phase !== "active")) return true;
    if (stored?.id === this.storeId) return true;
    this.suspend(
      `the store (${this.member.ports.store.name}) is another one than before; this server looks at it anew`,
    );
    return false;
  }

  /** While the member lives its own record must not get older. */
  check(): void {
    const own = this.member.state.get<CoreMemberRecord>(memberKeyOf(this.member.id))?.value;
    if (own !== undefined && own.epoch < this.epoch) {
      this.suspend(`this server's record in the store is older than it wrote. ${REBUILD_HINT}`);
    }
  }

  /** Writes down how far the store was seen, about once a second, without waiting. */
  note(): void {
    const nowMs = this.member.nowMs();
    if (nowMs - this.notedAtMs < FACT_EVERY_MS) return;
    this.notedAtMs = nowMs;
    this.noteNow().catch((error: unknown) => this.onJournalFailed(error));
  }

  /** Resolves after the sync. */
  async noteNow(): Promise<void> {
    if (this.lease.suspended) return;
    this.revision = Math.max(this.revision, this.member.state.revision);
    this.epoch = Math.max(this.epoch, this.lease.epoch);
    const ownRevision = this.member.state.revisionOf(memberKeyOf(this.member.id));
    this.ownRevision = Math.max(this.ownRevision, ownRevision);
    for (const [id, epoch] of Object.entries(this.lease.knownEpochs())) {
      this.epochs[id] = Math.max(this.epochs[id] ?? 0, epoch);
    }
    for (const { feature, record } of this.member.records()) {
      const most = Math.max(this.mostSeats[feature] ?? 0, record.seats + record.debt);
      this.mostSeats[feature] = most;
      for (const { lifeMs } of Object.values(record.allocated)) this.noteLife(lifeMs);
      for (const [key, { lifeMs }] of Object.entries(record.retired)) {
        // The wait of a rebuild is longer than any life; else each would make the next one longer.
        this.noteLife(isRebuildKey(key) ? lifeMs - this.mandatesMs() : lifeMs);
      }
    }
    await this.member.ports.journal.append([
      { kind: "fact", name: "revision", value: String(this.revision) },
      { kind: "fact", name: "epoch", value: String(this.epoch) },
      { kind: "fact", name: "own-revision", value: String(this.ownRevision) },
      { kind: "fact", name: "epochs", value: JSON.stringify(this.epochs) },
      { kind: "fact", name: "longest-life", value: String(this.longestLifeMs) },
      { kind: "fact", name: "most-seats", value: JSON.stringify(this.mostSeats) },
    ]);
  }

  private noteLife(lifeMs: number): void {
    this.longestLifeMs = Math.max(this.longestLifeMs, lifeMs);
  }

  /** How long live members may go on granting after a rebuild: until their mandates end. */
  private mandatesMs(): number {
    return 2 * this.member.timing.retireAfterMs;
  }

  /**
   * `quorate pool rebuild`: a new store id, every epoch above all that store and journal know, and every
   * seat that may be out retired with the longest life: the waits free them. One write, with the newest license
   * that is known: a rebuild at another member would not know it.
   */
  async rebuild(licenses: LicensesToRebuild): Promise<string | null> {
    this.rebuilding += 1;
    try {
      return await this.rebuildNow(licenses);
    } finally {
      this.rebuilding -= 1;
    }
  }

  /** While it is above 0 nobody else may forget what was read of a store that is not trusted. */
  rebuilding = 0;

  private async rebuildNow(licenses: LicensesToRebuild): Promise<string | null> {
    const { state } = this.member;
    const look = (): ReturnType<typeof state.transact> => {
      // While the store is not trusted, what is known may be another store's.
      if (this.lease.suspended) state.forget();
      return state.transact({ reads: [STORE_KEY, LICENSE_KEY, MEMBER_PREFIX, ALLOCATION_PREFIX] });
    };
    let read = await look();
    // It may have noticed only now that the store is another one.
    if (read.outcome === "unknown" && this.lease.suspended) read = await look();
    if (read.outcome === "unknown") return `the store does not answer: ${read.reason}`;
    if (state.get<StoreRecord>(STORE_KEY)?.value.movedTo !== undefined) {
      return "the pool's store was moved away from here and is alive elsewhere; nothing was changed";
    }
    const newest = await licenses.newest();
    if (newest === null) {
      return "there is no license to rebuild from; install one first: quorate license install FILE --data DIR, and start this server again";
    }
    this.note();
    const written = await state.change<StoreRecord>(
      STORE_KEY,
      (current) => {
        const rebuilds = this.nextRebuild(current);
        const records: { key: string; value: object }[] = [
          ...this.retiredMembers(),
          ...this.retiredSeats(newest.license, rebuilds),
        ];
        const stored = state.get<StoredLicense>(LICENSE_KEY)?.value ?? null;
        if ((stored?.sequence ?? 0) < newest.license.sequence) {
          records.push({ key: LICENSE_KEY, value: licenses.toStore(newest, stored, null) });
        }
        return {
          value: {
            id: this.member.ports.runtime.nonce(),
            rebuilds,
            nonces: current?.nonces ?? {},
          },
          // A newer license must not come in between.
          compare: [...new Set([LICENSE_KEY, ...records.map(({ key }) => key)])].map((key) => ({
            key,
            revision: state.revisionOf(key),
          })),
          puts: records.map(({ key, value }) => ({ key, value: JSON.stringify(value) })),
        };
      },
      true,
    );
    if (!written.applied) return written.reason;
    this.suspend("the pool was rebuilt; this server starts anew in it");
    return null;
  }

  /**
   * Higher than any that is known, and than any that was given at an earlier time of day: members that this one has
   * not heard of may have seen a later rebuild. With a wrong clock they ask for another rebuild, and no more.
   */
  private nextRebuild(current: StoreRecord | null): number {
    const known = Math.max(this.rebuilds, current?.rebuilds ?? 0);
    return Math.max(known + 1, Math.floor(this.member.ports.runtime.clocks().wallMs));
  }

  private retiredMembers(): { key: string; value: MemberRecord }[] {
    return this.member.state.withPrefix<MemberRecord>(MEMBER_PREFIX).map(([key, { value }]) => {
      const least = this.epochs[key.slice(MEMBER_PREFIX.length)] ?? 0;
      const epoch = Math.max(value.epoch, least) + 1;
      const state = value.state === "removed" ? "removed" : "retired";
      return { key, value: { ...value, epoch, state } };
    });
  }

  /** Of every feature that license, store or journal knows; what is out above the licensed seats is debt. */
  private retiredSeats(
    license: License,
    rebuilds: number,
  ): { key: string; value: AllocationRecord }[] {
    const licensed = new Map(license.features.map((each) => [each.name, seatsOf(each)]));
    const known = new Map(
      this.member.records().map(({ feature, record }) => [feature, record] as const),
    );
    const features = [...licensed.keys(), ...known.keys(), ...Object.keys(this.mostSeats)];
    const lifeMs = this.longestLifeMs + this.mandatesMs();
    return [...new Set(features)].map((feature) => {
      const record = known.get(feature);
      const seats = licensed.get(feature) ?? 0;
      const before = (record?.seats ?? 0) + (record?.debt ?? 0);
      const out = Math.max(seats, before, this.mostSeats[feature] ?? 0);
      const value: AllocationRecord = {
        sequence: license.sequence,
        nonces: record?.nonces ?? {},
        seats,
        free: 0,
        allocated: {},
        retired: out === 0 ? {} : { [`${REBUILD}/${rebuilds}`]: { seats: out, of: 0, lifeMs } },
        borrowed: 0,
        debt: out - seats,
      };
      return { key: ALLOCATION_PREFIX + feature, value };
    });
  }
}
