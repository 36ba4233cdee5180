/**
 * Finds out, once a second, what nobody is told by itself: a feature without a free seat, a server that was
 * lost, a license that ends soon, the majority lost. One member speaks for the pool, so that each is told
 * about once: its leader; where there is none any more, the first that lives.
 *
 * Every member watches, and remembers what another told, so that a new leader does not tell it again.
 */
import type { FeaturesAnswer, LicenseAnswer, PoolAnswer } from "@quorate/protocol";
import { isRefusal, type Refusal } from "@quorate/core";

export interface WatchedMember {
  readonly id: string;
  pool(): PoolAnswer;
  /** Asked of the leader alone, which answers from memory. */
  features(): Promise<FeaturesAnswer>;
  license(): LicenseAnswer | Refusal;
  tell(type: string, data: Readonly<Record<string, unknown>>): void;
}

const LOOK_MS = 1_000;
/** A lost server is told by whoever leads within this time: its own leadership may have to end first. */
const LOST_TOLD_WITHIN_MS = 60_000;
/** Looks in a row without a majority before it counts as lost. */
const MAJORITY_LOST_LOOKS = 2;
const DAY_MS = 24 * 3_600_000;
/** The license ends within so many days: the nearest is told, each once. */
const EXPIRY_DAYS = [1, 7, 30] as const;

export function watchPool(member: WatchedMember): { close(): void } {
  const watch = new PoolWatch(member);
  let looking = false;
  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    void watch.look(Date.now()).finally(() => {
      looking = false;
    });
  }, LOOK_MS);
  timer.unref();
  return { close: () => clearInterval(timer) };
}

export class PoolWatch {
  private readonly member: WatchedMember;
  private majority: "unknown" | "reached" | "lost" = "unknown";
  private looksWithout = 0;
  /** Servers that are lost, by id and epoch, with when this was first seen; null once it is told. */
  private lost: Map<string, number | null> | null = null;
  /** Days that were told, by feature and expiry. */
  private readonly expiries = new Map<string, number>();
  /** Features without a free seat, while this member leads. */
  private full: Map<string, boolean> = new Map();
  /** Another led while this member looked: what it saw, it told. */
  private anotherLed = false;

  constructor(member: WatchedMember) {
    this.member = member;
  }

  async look(nowMs: number): Promise<void> {
    const pool = this.member.pool();
    if (pool.size === 0) return;
    const leads = pool.leader?.id === this.member.id && pool.majority.reached;
    if (pool.leader !== null && pool.leader.id !== this.member.id) this.anotherLed = true;
    this.lookAtMajority(pool);
    this.lookAtMembers(pool, leads, nowMs);
    if (pool.leader !== null) this.lookAtLicense(leads, nowMs);
    if (leads) this.lookAtSeats(await this.member.features());
    else this.full.clear();
  }

  private lookAtMajority(pool: PoolAnswer): void {
    const { reached, alive, needed } = pool.majority;
    this.looksWithout = reached ? 0 : this.looksWithout + 1;
    if (reached && this.majority !== "reached") {
      if (this.majority === "lost" && this.speaks(pool)) {
        this.member.tell("majority-reached", { alive, needed });
      }
      this.majority = "reached";
    } else if (this.majority === "reached" && this.looksWithout >= MAJORITY_LOST_LOOKS) {
      this.majority = "lost";
      if (this.speaks(pool)) this.member.tell("majority-lost", { alive, needed });
    }
  }

  private speaks(pool: PoolAnswer): boolean {
    const alive = pool.members.filter((each) => each.alive).map(({ id }) => id);
    const leader = pool.leader?.id ?? null;
    const speaker = leader !== null && alive.includes(leader) ? leader : alive.sort()[0];
    return speaker === this.member.id;
  }

  private lookAtMembers(pool: PoolAnswer, leads: boolean, nowMs: number): void {
    const before = this.lost;
    const now = new Map<string, number | null>();
    for (const { id, alive, state, epoch } of pool.members) {
      if (alive || (state !== "retired" && state !== "broken")) continue;
      const key = `${id}/${epoch}`;
      // What was lost before this member began to look is old news.
      let sinceMs = before === null ? null : (before.get(key) ?? (before.has(key) ? null : nowMs));
      if (sinceMs !== null && nowMs - sinceMs > LOST_TOLD_WITHIN_MS) sinceMs = null;
      if (sinceMs !== null && leads) {
        this.member.tell("member-lost", { member: id, epoch, state });
        sinceMs = null;
      }
      now.set(key, sinceMs);
    }
    this.lost = now;
  }

  private lookAtLicense(leads: boolean, nowMs: number): void {
    const answer = this.member.license();
    if (isRefusal(answer)) return;
    for (const { name, expires } of expiriesIn(answer.license)) {
      const leftMs = Date.parse(expires) - nowMs;
      const days = EXPIRY_DAYS.find((each) => leftMs <= each * DAY_MS);
      const key = `${name}/${expires}`;
      if (days === undefined || leftMs <= 0 || days >= (this.expiries.get(key) ?? Infinity))
        continue;
      this.expiries.set(key, days);
      if (leads) this.member.tell("license-expires", { feature: name, expires, days });
    }
  }

  private lookAtSeats({ features, missing }: FeaturesAnswer): void {
    // Without the reports of all, a seat that is used looks unused.
    if (missing.length > 0) return;
    const now = new Map<string, boolean>();
    for (const row of features) {
      const seats = row.seats + row.overdraft;
      // Without anybody before it, the first look already counts: a pool may be full within its first second.
      const before = this.full.get(row.name) ?? (this.anotherLed ? undefined : false);
      const isFull =
        row.free === 0 && (before === true || (row.retired === 0 && row.inUse >= seats));
      now.set(row.name, isFull);
      if (isFull && before === false && seats > 0) {
        this.member.tell("seat-limit-reached", { feature: row.name, seats });
      }
    }
    this.full = now;
  }
}

/** The member has checked the document; what it says of expiry is read, whatever else is in it. */
function expiriesIn(license: unknown): { name: string; expires: string }[] {
  const features: unknown =
    typeof license === "object" && license !== null ? Reflect.get(license, "features") : null;
  if (!Array.isArray(features)) return [];
  return features.flatMap((feature: unknown) => {
    if (typeof feature !== "object" || feature === null) return [];
    const name: unknown = Reflect.get(feature, "name");
    const expires: unknown = Reflect.get(feature, "expires");
    return typeof name === "string" && typeof expires === "string" ? [{ name, expires }] : [];
  });
}
