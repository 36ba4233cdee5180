/**
 * What a member can be asked. The HTTP layer only parses, calls and serialises; the simulator calls the
 * same functions.
 */
import type { Refusal } from "@quorate/core";
import type {
  Answer,
  AuthorizationsPage,
  AuthorizationsQuery,
  CheckoutRequest,
  DenialsAnswer,
  DenialsQuery,
  FeaturesAnswer,
  HeartbeatRequest,
  LicenseAnswer,
  LicenseHistoryAnswer,
  MemberEvent,
  PoolAnswer,
  ReleaseAnswer,
  ReleaseRequest,
  UsageAnswer,
  UsageQuery,
  UsageSeriesAnswer,
  UsageSeriesQuery,
} from "@quorate/protocol";
import type { PeerAnswer, PeerCall } from "./peer-calls.ts";

/** Who installs a license: the name of the token, and the address it came from. */
export interface Installer {
  readonly name: string;
  readonly from: string;
}

export interface MemberApi {
  readonly id: string;
  /** Null when it may grant; else the refusal that every grant gets now. */
  readiness(): Refusal | null;
  checkout(request: CheckoutRequest): Promise<Answer>;
  /** Synchronous when the session is known here: the hot path. */
  heartbeat(request: HeartbeatRequest): Answer | Promise<Answer>;
  /** Whether the session is in this member's ledger. */
  holds(session: string): boolean;
  release(request: ReleaseRequest): Promise<ReleaseAnswer>;
  authorizations(query: AuthorizationsQuery): Promise<AuthorizationsPage>;
  features(): Promise<FeaturesAnswer>;
  pool(): PoolAnswer;
  /** Who used how much in a time, from the journals of all members that answer. */
  usage(query: UsageQuery): Promise<UsageAnswer | Refusal>;
  /** How much was used when, from the same journals. */
  usageSeries(query: UsageSeriesQuery): Promise<UsageSeriesAnswer | Refusal>;
  /** Who was refused, from the same journals. */
  denials(query: DenialsQuery): Promise<DenialsAnswer | Refusal>;
  license(): LicenseAnswer | Refusal;
  licenseHistory(): LicenseHistoryAnswer;
  /** `by` is missing when the server itself brings it. */
  installLicense(text: string, by?: Installer): Promise<LicenseAnswer | Refusal>;
  lead(member: string): Promise<PoolAnswer | Refusal>;
  remove(member: string): Promise<PoolAnswer | Refusal>;
  rebuild(): Promise<PoolAnswer | Refusal>;
  /** A verified call of another member. `from` was authenticated by its key. */
  peer(from: string, call: PeerCall): Promise<PeerAnswer>;
  /** The public key of a member as its record in the store says, for verifying its calls. */
  memberKey(member: string): string | null;
  subscribe(listener: (event: MemberEvent) => void): () => void;
  /** Gives everything back and ends; resolves when the process may exit. */
  stop(): Promise<void>;
}

export interface MemberOptions {
  readonly id: string;
  /** Where clients and other members reach this member. */
  readonly url: string;
  /** Public key, `ed25519:...`. */
  readonly key: string;
  /** The pool key that certified this member; null when none did. */
  readonly certifiedBy: string | null;
  /**
   * Tells the journal's file from a copy of it: what was published of the journal lags by a renewal, so a copy
   * made within that time before a kill would pass for whole. Null where there is no file.
   */
  readonly journalFile: string | null;
  /** Higher leads first. */
  readonly priority: number;
  readonly leaseMs: number;
  /** The member has ended by itself: exit the process with this code and these words. */
  readonly onExit: (exit: { readonly code: number; readonly reason: string }) => void;
}
