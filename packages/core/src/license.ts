/**
 * What a vendor signs as a checked value. Parsing text, canonical form and
 * signatures are the wire's business (`packages/protocol`); here are the rules over the content.
 */
import { compareVersions } from "./version.ts";

export interface LicenseFeature {
  readonly name: string;
  /** Version ceiling: this and lower versions are covered. */
  readonly version: string;
  readonly seats: number;
  /** RFC 3339. */
  readonly starts?: string;
  readonly expires?: string;
  readonly lifeMs?: number;
  /** Seats above `seats` that may be used and are counted apart. */
  readonly overdraft?: number;
  /** How long a seat may be borrowed at most, and how many. */
  readonly borrow?: { readonly seats: number; readonly maxMs: number };
  /** First spread of the seats over member ids; the rest stays free. */
  readonly spread?: Readonly<Record<string, number>>;
}

export interface License {
  readonly quorate: 1;
  readonly id: string;
  readonly vendor: string;
  readonly customer: string;
  readonly sequence: number;
  readonly issued: string;
  readonly pool: { readonly name: string; readonly size: number; readonly key?: string };
  readonly features: readonly LicenseFeature[];
  readonly signature: { readonly key: string; readonly value: string };
}

/** More than half of the licensed size: 1 needs 1, 2 needs 2, 3 needs 2, 5 needs 3 (I2). */
export function majorityOf(size: number): number {
  return Math.floor(size / 2) + 1;
}

/** Seats that may be in use at the same time, overdraft included. */
export function seatsOf(feature: LicenseFeature): number {
  return feature.seats + (feature.overdraft ?? 0);
}

export type TermsVerdict = "covered" | "version-not-covered" | "feature-expired" | "not-started";

/** Whether the feature's terms cover a use of `version` at `wallMs`. */
export function termsVerdict(
  feature: LicenseFeature,
  version: string | undefined,
  wallMs: number,
): TermsVerdict {
  if (feature.starts !== undefined && wallMs < instantMs(feature.starts)) return "not-started";
  if (feature.expires !== undefined && wallMs >= instantMs(feature.expires)) {
    return "feature-expired";
  }
  if (version !== undefined && compareVersions(version, feature.version) > 0) {
    return "version-not-covered";
  }
  return "covered";
}

/** Milliseconds since 1970 of an RFC 3339 text; NaN if it is none. */
export function instantMs(text: string): number {
  // Parsing a text that names its zone reads no clock, so it is the one use of Date that core has.
  // oxlint-disable-next-line no-restricted-globals
  return Date.parse(text);
}

export type SequenceVerdict = "newer" | "same" | "conflict" | "older";

/** I7: what a document with `sequence` and canonical text is against the one in force. */
export function sequenceVerdict(
  offered: { sequence: number; canonical: string },
  inForce: { sequence: number; canonical: string } | null,
): SequenceVerdict {
  if (inForce === null || offered.sequence > inForce.sequence) return "newer";
  if (offered.sequence < inForce.sequence) return "older";
  return offered.canonical === inForce.canonical ? "same" : "conflict";
}
