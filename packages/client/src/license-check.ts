/**
 * Whether a server is one of the vendor's pool: every authorization it grants is followed up to the key
 * that the program was built with (design section 4.6), before it is believed.
 */
import { decodeToken, verifyTokenOffline, type Granted } from "@quorate/protocol";
import type { OfflineVerdict } from "@quorate/protocol";
import type { Wire } from "./wire.ts";

const LICENSE_TIMEOUT_MS = 2_000;

export class LicenseCheck {
  readonly #wire: Wire;
  readonly #vendorKey: string;
  /** The license as text, of the server that last gave one that fitted. */
  #license: string | null = null;

  constructor(wire: Wire, vendorKey: string) {
    this.#wire = wire;
    this.#vendorKey = vendorKey;
  }

  /**
   * Null if the grant may be believed, else a sentence. A grant without a token is one of a member whose
   * token was verified before, `verifiedMember`.
   */
  async refusalOf(
    server: string,
    granted: Granted,
    verifiedMember: string | null,
  ): Promise<string | null> {
    const { token, session, member } = granted;
    if (token === undefined) {
      return member === verifiedMember ? null : "The server granted without a token.";
    }
    const claims = decodeToken(token);
    if (claims === null) return "The server's token is none of a Quorate pool.";
    const { feature, seats } = granted;
    if (claims.member !== member || claims.feature !== feature || claims.seats !== seats) {
      return "The server's token is for something else than what it granted.";
    }
    // The token is as old as its issue says: the wall clock of this machine may be set to anything, and how
    // long the authorization is believed does not rest on it.
    const verdict = await this.verify(server, token, session, claims.issuedAtMs);
    return verdict.valid ? null : `The server could not prove itself: ${verdict.reason}.`;
  }

  /** The chain of a token, with the license of `server` where the one at hand does not fit. */
  async verify(
    server: string,
    token: string,
    session: string,
    nowMs: number,
  ): Promise<OfflineVerdict> {
    const question = { token, vendorKey: this.#vendorKey, nowMs, session };
    if (this.#license !== null) {
      const verdict = await verifyTokenOffline({ ...question, license: this.#license });
      if (verdict.valid) return verdict;
    }
    const answer = await this.#wire.license(server, LICENSE_TIMEOUT_MS);
    if (answer === null) return { valid: false, reason: "it does not show its license" };
    const license =
      typeof answer.license === "string" ? answer.license : JSON.stringify(answer.license);
    const verdict = await verifyTokenOffline({ ...question, license });
    if (verdict.valid) this.#license = license;
    return verdict;
  }
}
