/** The keys of the store and the values under them (design sections 3 and 4). */
import type { AllocationRecord, LeaderRecord, MemberRecord } from "@quorate/core";
import type { LicenseHistoryRow } from "@quorate/protocol";
import type { Nonced } from "./shared-state.ts";

export const STORE_KEY = "store";
export const LICENSE_KEY = "license";
export const MEMBERS_KEY = "members";
export const LEADER_KEY = "leader";
export const TOKENS_KEY = "tokens";
export const MEMBER_PREFIX = "member/";
export const ALLOCATION_PREFIX = "allocation/";

/** All that a store may hold, as keys and prefixes to read. */
export const ALL_KEYS: readonly string[] = [
  STORE_KEY,
  LICENSE_KEY,
  MEMBERS_KEY,
  LEADER_KEY,
  TOKENS_KEY,
  MEMBER_PREFIX,
  ALLOCATION_PREFIX,
];

/** Looked up several times for each session that is asked about: a text put together anew is hashed anew. */
const KEYS_KEPT_MAX = 1_000;

function keysUnder(prefix: string): (name: string) => string {
  const kept = new Map<string, string>();
  return (name) => {
    const known = kept.get(name);
    if (known !== undefined) return known;
    if (kept.size >= KEYS_KEPT_MAX) kept.clear();
    const key = prefix + name;
    kept.set(name, key);
    return key;
  };
}

export const memberKeyOf = keysUnder(MEMBER_PREFIX);
export const allocationKeyOf = keysUnder(ALLOCATION_PREFIX);

/** `store`: a random id, so that another store, a fresh one or a restored one is noticed. */
export interface StoreRecord extends Nonced {
  readonly id: string;
  /** How often an administrator rebuilt the pool: members adopt an id only with a higher number. */
  readonly rebuilds: number;
  /** The store whose content this one took over, if it was moved here (`store-move.ts`). */
  readonly movedFrom?: MovedFrom;
  /** This store was moved: the id of the one that goes on, and what this one was. Nothing is granted by it. */
  readonly movedTo?: string;
  readonly movedAs?: MovedFrom;
}

/** A store's id, and a revision above all that anybody granted by. */
export interface MovedFrom {
  readonly id: string;
  readonly revision: number;
}

/** `license`: the document in force. */
export interface StoredLicense extends Nonced {
  readonly sequence: number;
  readonly text: string;
  /** What was in force, the newest first and with this one; in the same value, so that it can't miss one. */
  readonly history?: readonly LicenseHistoryRow[];
}

/** `members`: at most the licensed size of ids; compared when a member record is created. */
export interface MembersRecord extends Nonced {
  readonly ids: readonly string[];
}

export type { AllocationRecord, LeaderRecord, MemberRecord };
