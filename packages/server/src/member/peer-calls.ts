/**
 * What members say to each other (section , `POST /v1/peer/*`), as plain values. The HTTP layer
 * signs and verifies the bytes; every call carries the sender's epoch and the term it believes in.
 */
import { refuse, type Refusal } from "@quorate/core";
import type { AuthorizationRow, Holder } from "@quorate/protocol";

export type PeerCall = { readonly epoch: number; readonly term: number } & (
  | {
      readonly kind: "report";
      /** True: forget what was reported before; more pages of the full report may follow. */
      readonly full: boolean;
      /** Grows with every page of a process: one that arrives late or twice is old. */
      readonly page: number;
      /** More pages of this report follow. */
      readonly more: boolean;
      readonly changed: readonly AuthorizationRow[];
      readonly ended: readonly string[];
      readonly features: readonly FeatureReport[];
      readonly licenseSequence: number | null;
    }
  /** A new leader asks for a full report; it comes as `report` calls. */
  | { readonly kind: "collect" }
  | {
      readonly kind: "seats";
      readonly feature: string;
      readonly wants: readonly SeatWant[];
      /** What the member has unused itself, but too little of. */
      readonly unused: number;
    }
  | { readonly kind: "give-back"; readonly feature: string; readonly seats: number }
  | {
      readonly kind: "hand-over";
      readonly session: string;
      readonly n: number | null;
      readonly seats: number;
      readonly feature: string;
      /** The epoch of the called member that the order is for. */
      readonly memberEpoch: number;
    }
  | {
      readonly kind: "pass-on";
      readonly what: "release" | "revoke" | "list" | "features" | "usage" | "denials";
      readonly body: unknown;
    }
);

/** One request that found no seat at its member. */
export interface SeatWant {
  readonly session: string;
  readonly seats: number;
  readonly waitMs: number;
  readonly ticket: string | null;
  readonly holder: Holder;
}

export interface FeatureReport {
  readonly feature: string;
  readonly seats: number;
  readonly inUse: number;
  readonly unused: number;
  readonly denied: number;
}

export type PeerAnswer =
  | { readonly ok: true; readonly body: unknown }
  | {
      readonly ok: false;
      readonly refusal: Refusal;
      /** False: it does not listen, and so certainly got nothing. No answer at all may be anything. */
      readonly reached?: false;
    };

export function isUnreached(answer: PeerAnswer): boolean {
  return !answer.ok && answer.reached === false;
}

export const NOT_REACHED: PeerAnswer = {
  ok: false,
  refusal: refuse("busy", "the server does not listen"),
  reached: false,
};
