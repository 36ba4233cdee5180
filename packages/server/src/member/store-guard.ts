/**
 * Notices things that go backwards (design section 4.7): another store, one that was restored from a
 * backup, an own record older than written. Then nothing is granted until an administrator rebuilds the pool.
 */
import {
  type License,
  LIFE_MS_DEFAULT,
  type MemberRecord as CoreMemberRecord,
} from "@quorate/core";
import type { MemberContext } from "./context.ts";
import {
  ALLOCATION_PREFIX,
  type AllocationRecord,
  MEMBER_PREFIX,
  memberKeyOf,
  type MemberRecord,
  STORE_KEY,
  type StoreRecord,
} from "./keys.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";

const REBUILD_HINT =
  "If the store is really gone or was restored from a backup, run: quorate pool rebuild";
const FACT_EVERY_MS = 1_000;

export class StoreGuard {
  private storeId: string | null = null;
  private rebuilds = 0;
  private revision = 0;
  private epoch = 0;
  longestLifeMs = LIFE_MS_DEFAULT;
  private epochs: Record<string, number> = {};
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
    this.longestLifeMs = Number(facts.get("longest-life") ?? LIFE_MS_DEFAULT);
    this.epochs = JSON.parse(facts.get("epochs") ?? "{}") as Record<string, number>;
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

  lost(reason: string): void {
    this.suspend(reason);
  }

  private suspend(sentence: string): void {
    this.lease.suspended = true;
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
    try {
      await this.member.ports.journal.append([
        { kind: "fact", name: "store-id", value: stored.id },
        { kind: "fact", name: "rebuilds", value: String(stored.rebuilds) },
        { kind: "fact", name: "revision", value: String(this.revision) },
      ]);
    } catch (error) {
      this.member.crash(error);
      return false;
    }
    this.lease.suspended = false;
    this.member.clearAlarm("store");
    return true;
  }

  /** While the member lives: the store's id must stay, and the own record must not get older. */
  check(): void {
    const stored = this.member.state.get<StoreRecord>(STORE_KEY)?.value ?? null;
    if (stored !== null && stored.id !== this.storeId) void this.recognise();
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
    for (const [id, epoch] of Object.entries(this.lease.knownEpochs())) {
      this.epochs[id] = Math.max(this.epochs[id] ?? 0, epoch);
    }
    for (const { record } of this.member.records()) {
      for (const entry of [...Object.values(record.allocated), ...Object.values(record.retired)]) {
        this.longestLifeMs = Math.max(this.longestLifeMs, entry.lifeMs);
      }
    }
    await this.member.ports.journal.append([
      { kind: "fact", name: "revision", value: String(this.revision) },
      { kind: "fact", name: "epoch", value: String(this.epoch) },
      { kind: "fact", name: "epochs", value: JSON.stringify(this.epochs) },
      { kind: "fact", name: "longest-life", value: String(this.longestLifeMs) },
    ]);
  }

  /**
   * `quorate pool rebuild`: a new store id, every epoch above all that store and journal know, and every
   * seat retired with the longest life: the waits free them. One write.
   */
  async rebuild(license: License | null): Promise<string | null> {
    const { state } = this.member;
    if (license === null) {
      return "there is no license to rebuild from; install one first: quorate license install FILE --data DIR, and start this server again";
    }
    // While the store is not trusted, what is known may be another store's.
    if (this.lease.suspended) state.forget();
    const read = await state.transact({ reads: [STORE_KEY, MEMBER_PREFIX, ALLOCATION_PREFIX] });
    if (read.outcome === "unknown") return `the store does not answer: ${read.reason}`;
    if (state.get<StoreRecord>(STORE_KEY)?.value.movedTo !== undefined) {
      return "the pool's store was moved away from here and is alive elsewhere; nothing was changed";
    }
    this.note();
    const written = await state.change<StoreRecord>(
      STORE_KEY,
      (current) => {
        // A live member may go on granting until its mandate ends: that long more than the longest life.
        const waitMs = this.longestLifeMs + 2 * this.member.timing.retireAfterMs;
        const rebuilds = Math.max(this.rebuilds, current?.rebuilds ?? 0) + 1;
        const compare: { key: string; revision: number }[] = [];
        const puts: { key: string; value: string }[] = [];
        for (const [key, known] of state.withPrefix<MemberRecord>(MEMBER_PREFIX)) {
          const least = this.epochs[key.slice(MEMBER_PREFIX.length)] ?? 0;
          compare.push({ key, revision: known.revision });
          puts.push({
            key,
            value: JSON.stringify({
              ...known.value,
              epoch: Math.max(known.value.epoch, least) + 1,
              state: known.value.state === "removed" ? "removed" : "retired",
            }),
          });
        }
        for (const feature of license.features) {
          const key = ALLOCATION_PREFIX + feature.name;
          const seats = feature.seats + (feature.overdraft ?? 0);
          const record: AllocationRecord = {
            sequence: license.sequence,
            nonces: state.get<AllocationRecord>(key)?.value.nonces ?? {},
            seats,
            free: 0,
            allocated: {},
            retired:
              seats === 0 ? {} : { [`rebuild/${rebuilds}`]: { seats, of: 0, lifeMs: waitMs } },
            borrowed: 0,
            debt: 0,
          };
          compare.push({ key, revision: state.revisionOf(key) });
          puts.push({ key, value: JSON.stringify(record) });
        }
        return {
          value: {
            id: this.member.ports.runtime.nonce(),
            rebuilds,
            nonces: current?.nonces ?? {},
          },
          compare,
          puts,
        };
      },
      true,
    );
    if (!written.applied) return written.reason;
    await this.recognise();
    return null;
  }
}
