/** The keys of the store and the values under them (design sections 3 and 4). */
import type { AllocationRecord, LeaderRecord, MemberRecord } from "@quorate/core";
import type { Nonced } from "./shared-state.ts";

export const STORE_KEY = "store";
export const LICENSE_KEY = "license";
export const MEMBERS_KEY = "members";
export const LEADER_KEY = "leader";
export const TOKENS_KEY = "tokens";
export const MEMBER_PREFIX = "member/";
export const ALLOCATION_PREFIX = "allocation/";

export function memberKeyOf(id: string): string {
  return MEMBER_PREFIX + id;
}

export function allocationKeyOf(feature: string): string {
  return ALLOCATION_PREFIX + feature;
}

/** `store`: a random id, so that another store, a fresh one or a restored one is noticed. */
export interface StoreRecord extends Nonced {
  readonly id: string;
  /** How often an administrator rebuilt the pool: members adopt an id only with a higher number. */
  readonly rebuilds: number;
}

/** `license`: the document in force. */
export interface StoredLicense extends Nonced {
  readonly sequence: number;
  readonly text: string;
}

/** `members`: at most the licensed size of ids; compared when a member record is created. */
export interface MembersRecord extends Nonced {
  readonly ids: readonly string[];
}

export type { AllocationRecord, LeaderRecord, MemberRecord };
