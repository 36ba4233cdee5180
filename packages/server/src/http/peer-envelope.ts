/**
 * The signed words of one member to another (design section 5, `POST /v1/peer/*`).
 *
 * The signature covers the bytes of the body, so that nobody has to agree on a canonical form, and names
 * sender and addressee, so that it is good for one member only. A call that was seen before is refused:
 * a repeated `give-back` or `hand-over` must not happen twice.
 */
import { verify } from "../keys/node-keys.ts";
import { PEER_SIGNATURE_PREFIX } from "@quorate/protocol";
import { MEMBERS_MAX, refuse } from "@quorate/core";
import type { Refusal } from "@quorate/core";
import type { PeerCall } from "../member/peer-calls.ts";

export interface PeerEnvelope {
  readonly from: string;
  readonly to: string;
  /** Grows with each call of a sender, also over its restarts. */
  readonly sequence: number;
  /** For people who read captures; no rule looks at the clock of another machine. */
  readonly sentAtMs: number;
  readonly call: PeerCall;
}

/** What is under the signature. */
export function signedBytes(body: Uint8Array): Uint8Array {
  return Buffer.concat([PREFIX_BYTES, body]);
}

export interface PeerGuard {
  /** Null when the call is what it says, from whom it says, and new. */
  check(envelope: PeerEnvelope, body: Uint8Array, signature: string | undefined): Refusal | null;
}

export function createPeerGuard(
  self: string,
  memberKey: (member: string) => string | null,
): PeerGuard {
  const windows = new Map<string, ReplayWindow>();
  return {
    check: (envelope, body, signature) => {
      const key = memberKey(envelope.from);
      if (key === null) return STRANGER;
      if (signature === undefined) return UNSIGNED;
      if (!verify(key, signedBytes(body), signature)) return BAD_SIGNATURE;
      if (envelope.to !== self) return NOT_FOR_US;
      const window = windows.get(envelope.from) ?? createReplayWindow();
      if (!window.take(envelope.call.epoch, envelope.sequence)) return REPEATED;
      windows.set(envelope.from, window);
      // Only keys of members open windows; a pool that replaces machines for years still stays small.
      if (windows.size > WINDOWS_MAX) {
        const oldest = windows.keys().next();
        if (oldest.done !== true) windows.delete(oldest.value);
      }
      return null;
    },
  };
}

export interface ReplayWindow {
  /** Whether the call is new; it is not from then on. */
  take(epoch: number, sequence: number): boolean;
}

/** Calls overtake each other by less than this. */
export const REPLAY_WINDOW_CALLS = 1_024;

/**
 * A sequence is new when it is above all, or at most a window below the highest and not among those seen.
 * A higher epoch starts the window again: a machine whose clock was set back begins with a lower
 * sequence, and its epoch, which grows with every start, tells its new calls from old ones. Words of a
 * lower epoch are those of a member that has been retired since; they come too late.
 */
export function createReplayWindow(): ReplayWindow {
  let epochMax = -1;
  let highest = -1;
  const seen = new Set<number>();
  return {
    take: (epoch, sequence) => {
      if (epoch < epochMax) return false;
      if (epoch > epochMax) {
        epochMax = epoch;
        highest = -1;
        seen.clear();
      }
      if (sequence <= highest - REPLAY_WINDOW_CALLS || seen.has(sequence)) return false;
      highest = Math.max(highest, sequence);
      seen.add(sequence);
      if (seen.size > 2 * REPLAY_WINDOW_CALLS) {
        for (const old of seen) if (old <= highest - REPLAY_WINDOW_CALLS) seen.delete(old);
      }
      return true;
    },
  };
}

const PREFIX_BYTES = Buffer.from(PEER_SIGNATURE_PREFIX);
const WINDOWS_MAX = 4 * MEMBERS_MAX;

const STRANGER = refuse("forbidden", "The sender is no member that this member knows.");
const UNSIGNED = refuse("unauthorized", "A member's call carries the header Quorate-Signature.");
const BAD_SIGNATURE = refuse("forbidden", "The signature is not of these bytes by that member.");
const NOT_FOR_US = refuse("forbidden", "The call is addressed to another member.");
const REPEATED = refuse("forbidden", "This call was seen before.");
