/**
 * The license in force, this member's own copy, and the rule of sequence numbers (I7, design section 4.7):
 * only a valid document with a higher number replaces the one in force; a lower one is replaced by the
 * pool's; the same number with other content is refused loudly.
 */
import { type License, refuse, type Refusal, sequenceVerdict } from "@quorate/core";
import type { LicenseAnswer, LicenseHistoryAnswer, LicenseHistoryRow } from "@quorate/protocol";
import type { Installer } from "./api.ts";
import type { MemberContext } from "./context.ts";
import { LICENSE_KEY, type StoredLicense } from "./keys.ts";

interface Checked {
  readonly license: License;
  readonly canonical: string;
  readonly text: string;
}

/** The value that holds them is read with every renewal, so it stays small. */
const HISTORY_ROWS_MAX = 20;

export class LicenseKeeper {
  private adopting = false;
  /** Brought while the store did not answer. */
  private kept: { readonly offered: Checked; readonly by: Installer | null } | null = null;
  private offering = false;
  onAdopted: () => void = () => {};

  private readonly member: MemberContext;
  constructor(member: MemberContext) {
    this.member = member;
  }

  /** Takes over what the store says, if it is new here. */
  async follow(): Promise<void> {
    const stored = this.member.state.get<StoredLicense>(LICENSE_KEY);
    if (stored === null || this.adopting) return;
    if (stored.value.text === this.member.license?.text) return;
    const checked = this.check(stored.value.text);
    if (typeof checked === "string") {
      this.member.alarm(
        "license",
        `the pool's license (sequence ${stored.value.sequence}) is not valid here: ${checked}`,
      );
      return;
    }
    this.adopting = true;
    try {
      const before = this.member.license?.license.sequence ?? null;
      this.member.setLicense(checked);
      this.member.clearAlarm("license");
      this.checkCertificate(checked.license);
      await this.keepOwnCopy(checked);
      const { sequence } = checked.license;
      if (before !== null) this.member.ports.log.info("a newer license is in force", { sequence });
      this.member.emit("license-installed", { sequence });
      this.onAdopted();
    } finally {
      this.adopting = false;
    }
  }

  /** Without a certificate by the pool's key, programs cannot follow this server's tokens to the vendor. */
  private checkCertificate(license: License): void {
    const { certifiedBy } = this.member.options;
    if (license.pool.key === undefined || license.pool.key === certifiedBy) {
      this.member.clearAlarm("certificate");
      return;
    }
    this.member.alarm(
      "certificate",
      `${this.member.id} has no certificate by the pool's key, so programs that verify tokens refuse it; ` +
        `run: quorate member id --data DIR --pool-key pool.key, and restart this server`,
    );
  }

  /** The own copy becomes the pool's; one that differs is kept beside it. */
  private async keepOwnCopy(inForce: Checked): Promise<void> {
    try {
      const own = await this.member.ports.licenses.readOwn();
      if (own === inForce.text) return;
      const checked = own === null ? null : this.check(own);
      const verdict =
        checked === null || typeof checked === "string"
          ? "older"
          : sequenceVerdict(
              { sequence: checked.license.sequence, canonical: checked.canonical },
              { sequence: inForce.license.sequence, canonical: inForce.canonical },
            );
      if (verdict === "newer" || verdict === "same") return;
      if (verdict === "conflict") {
        this.member.alarm(
          "license-conflict",
          `this server's own license has the same sequence number ${inForce.license.sequence} as the pool's but other content; ` +
            `the pool's stays in force and the own file is kept as a backup. Ask the vendor for a license with a higher number`,
        );
      }
      await this.member.ports.licenses.writeOwn(inForce.text, own !== null);
    } catch (error) {
      this.member.ports.log.warn("the own copy of the license could not be written", {
        error: String(error),
      });
    }
  }

  /**
   * At the start: the own copy goes into the store if it is newer than the pool's. `again` when the store did not
   * answer: a pool whose store is empty would wait for a license for ever. A sentence when this server must not go
   * on: its license is for another pool.
   */
  async bringOwn(): Promise<"done" | "again" | { readonly foreign: string }> {
    const own = await this.member.ports.licenses.readOwn();
    if (own === null) return "done";
    const checked = this.check(own);
    if (typeof checked === "string") {
      this.member.alarm("own-license", `this server's own license file is not valid: ${checked}`);
      return "done";
    }
    const refusal = await this.offer(checked, null);
    if (refusal?.refused === "license-invalid") return { foreign: refusal.detail };
    if (refusal !== null && refusal.refused !== "license-older") {
      this.member.ports.log.warn(refusal.detail, { code: refusal.refused });
    }
    return refusal?.refused === "busy" ? "again" : "done";
  }

  /** The newest of what is in force, what the store says as it was read last, and this server's own copy. */
  async newest(): Promise<Checked | null> {
    const texts = [
      this.member.state.get<StoredLicense>(LICENSE_KEY)?.value.text,
      this.member.license?.text,
      await this.member.ports.licenses.readOwn(),
    ];
    let newest: Checked | null = null;
    for (const text of texts) {
      const checked = text === undefined || text === null ? null : this.check(text);
      if (checked === null || typeof checked === "string") continue;
      const isNewer = newest === null || checked.license.sequence > newest.license.sequence;
      if (isNewer) newest = checked;
    }
    return newest;
  }

  /** `PUT /v1/license`. */
  async install(text: string, by?: Installer): Promise<LicenseAnswer | Refusal> {
    const checked = this.check(text);
    if (typeof checked === "string") return refuse("license-invalid", checked);
    const refusal = await this.offer(checked, by ?? null);
    if (refusal?.refused === "busy") return (await this.keep(checked, by ?? null)) ?? refusal;
    if (refusal !== null) return refusal;
    await this.follow();
    return this.answer();
  }

  /**
   * The store can't be asked: a newer license becomes this server's own copy, as if it had been brought while it
   * was down, and is offered when the store answers. Null: it could not be kept.
   */
  private async keep(
    offered: Checked,
    by: Installer | null,
  ): Promise<LicenseAnswer | Refusal | null> {
    const { license, ports, id } = this.member;
    try {
      for (const known of [license?.text, await ports.licenses.readOwn()]) {
        const refusal =
          typeof known === "string" && typeof this.check(known) !== "string"
            ? this.againstInForce(offered, known)
            : null;
        if (refusal !== null) return refusal;
      }
      if (license?.text === offered.text) return null;
      await ports.licenses.writeOwn(offered.text, true);
    } catch (error) {
      ports.log.warn("a license could not be kept", { error: String(error) });
      return null;
    }
    this.kept = { offered, by };
    const { sequence } = offered.license;
    ports.log.info("a license is kept until the store answers", { sequence });
    return {
      sequence,
      license: JSON.parse(offered.text) as unknown,
      kept:
        `${id} can't reach the pool's store: the license with sequence ${sequence} is not in force yet. ` +
        `It is kept in this server's folder and offered to the pool as soon as the store answers`,
    };
  }

  /** Offers what was kept while the store was away; called while this server has a mandate. */
  async offerKept(): Promise<void> {
    const { kept } = this;
    if (kept === null || this.offering) return;
    this.offering = true;
    try {
      const refusal = await this.offer(kept.offered, kept.by);
      if (refusal?.refused === "busy" || this.kept !== kept) return;
      this.kept = null;
      if (refusal !== null) {
        // The pool has a newer one, or another of its number: this one stays beside it as a backup.
        this.member.ports.log.warn(refusal.detail, { code: refusal.refused });
        const inForce = this.check(this.member.license?.text ?? "");
        if (typeof inForce !== "string") await this.keepOwnCopy(inForce);
      }
      await this.follow();
    } finally {
      this.offering = false;
    }
  }

  answer(): LicenseAnswer | Refusal {
    const { license } = this.member;
    if (license === null) return refuse("not-found", "no license is installed in this pool yet");
    return { sequence: license.license.sequence, license: JSON.parse(license.text) as unknown };
  }

  /** The licenses that were installed, as the store says. */
  history(): LicenseHistoryAnswer {
    const stored = this.member.state.get<StoredLicense>(LICENSE_KEY)?.value;
    return { history: stored?.history ?? [] };
  }

  private rowOf({ license }: Checked, by: Installer | null): LicenseHistoryRow {
    const { sequence, id, customer, issued, features } = license;
    const installedAt = new Date(this.member.ports.runtime.clocks().wallMs).toISOString();
    return {
      sequence,
      id,
      customer,
      issued,
      features: features.length,
      seats: features.reduce((sum, each) => sum + each.seats, 0),
      installedAt,
      member: this.member.id,
      by: by?.name ?? null,
      from: by?.from ?? null,
    };
  }

  /** The value of the store's key that puts a license in force. */
  toStore(offered: Checked, stored: StoredLicense | null, by: Installer | null): StoredLicense {
    return {
      sequence: offered.license.sequence,
      text: offered.text,
      history: [this.rowOf(offered, by), ...(stored?.history ?? [])].slice(0, HISTORY_ROWS_MAX),
      nonces: stored?.nonces ?? {},
    };
  }

  private check(text: string): Checked | string {
    const checked = this.member.ports.licenses.check(text);
    return typeof checked === "string" ? checked : { ...checked, text };
  }

  /** Puts a license into the store if its number is higher; null when it is in force afterwards. */
  private async offer(offered: Checked, by: Installer | null): Promise<Refusal | null> {
    const read = await this.member.state.transact({ reads: [LICENSE_KEY] });
    if (read.outcome === "unknown") {
      return refuse("busy", `the store does not answer: ${read.reason}`, { retryAfterMs: 1_000 });
    }
    let refusal: Refusal | null = null;
    const written = await this.member.state.change<StoredLicense>(LICENSE_KEY, (stored) => {
      refusal = this.against(offered, stored);
      if (refusal !== null) return refusal.detail;
      if (stored !== null && stored.sequence === offered.license.sequence) return "it is in force";
      return { value: this.toStore(offered, stored, by) };
    });
    if (refusal !== null) return refusal;
    if (written.applied || written.reason === "it is in force") return null;
    return refuse("busy", written.reason, { retryAfterMs: 500 });
  }

  private against(offered: Checked, stored: StoredLicense | null): Refusal | null {
    return stored === null ? null : this.againstInForce(offered, stored.text);
  }

  private againstInForce(offered: Checked, text: string): Refusal | null {
    const inForce = this.check(text);
    if (typeof inForce === "string") return refuse("license-invalid", inForce);
    const [theirs, ours] = [offered.license, inForce.license];
    if (theirs.pool.name !== ours.pool.name) {
      return refuse(
        "license-invalid",
        `the license is for the pool "${theirs.pool.name}", this is the pool "${ours.pool.name}"`,
      );
    }
    const verdict = sequenceVerdict(
      { sequence: theirs.sequence, canonical: offered.canonical },
      { sequence: ours.sequence, canonical: inForce.canonical },
    );
    if (verdict === "older") {
      return refuse(
        "license-older",
        `the license has sequence ${theirs.sequence}, the pool has ${ours.sequence}; nothing was changed`,
      );
    }
    if (verdict === "conflict") {
      return refuse(
        "license-conflict",
        `the pool has another license with sequence ${ours.sequence}; nothing was changed. Ask the vendor for one with a higher number`,
      );
    }
    return null;
  }
}
