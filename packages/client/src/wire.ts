/**
 * What the SDK asks of a server. `HttpWire` asks over HTTP; a simulator asks a member directly.
 *
 * Null means no answer: connection refused, silence for `timeoutMs`, or bytes that make no sense. A wire
 * never rejects. The caller has a deadline of its own, so a wire that never answers does no harm.
 */
import type {
  Answer,
  CheckoutRequest,
  FeaturesAnswer,
  HeartbeatRequest,
  LicenseAnswer,
  PoolAnswer,
  ReleaseAnswer,
} from "@quorate/protocol";

export interface ReleaseCall {
  readonly session: string;
  readonly secret: string;
  readonly n?: number;
  /** Release the grant of this member alone. */
  readonly only?: string;
}

export interface Wire {
  checkout(server: string, request: CheckoutRequest, timeoutMs: number): Promise<Answer | null>;
  heartbeat(server: string, request: HeartbeatRequest, timeoutMs: number): Promise<Answer | null>;
  release(server: string, call: ReleaseCall, timeoutMs: number): Promise<ReleaseAnswer | null>;
  pool(server: string, timeoutMs: number): Promise<PoolAnswer | null>;
  features(server: string, timeoutMs: number): Promise<FeaturesAnswer | null>;
  license(server: string, timeoutMs: number): Promise<LicenseAnswer | null>;
}
