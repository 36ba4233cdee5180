/**
 * Every wait of the protocol and the one place where it is computed.
 *
 * Holders of a right round down and count the longest clock; takers round up and count the
 * monotonic clock alone. All values are milliseconds.
 */
export const CLOCK_DRIFT = 0.01;
export const LEASE_MS_DEFAULT = 5_000;
export const LEASE_MARGIN_MS_MIN = 200;
export const LEASE_MARGIN_SHARE = 0.05;
export const CALL_DEADLINE_MS = 500;
export const LIFE_MS_DEFAULT = 60_000;

/**
 * A server answers a checkout that waits within this, or within a sixth of a shorter life, however long the client
 * is ready to wait: the client does not know the life yet, and takes longer silence for a dead server.
 */
export const QUEUE_ANSWER_MS = LIFE_MS_DEFAULT / 6;
export const LIFE_MARGIN_MS = 250;
export const LIFE_IN_LEASES_MIN = 6;
export const LIFE_MS_MAX = 30 * 24 * 3_600_000;
export const CONFIRM_NONCE_MS = 2_000;

export interface Timing {
  /** T: how long one renewal is good for at most. */
  readonly leaseMs: number;
  /** m */
  readonly marginMs: number;
  /** A member renews its record this often: T/5. */
  readonly renewEveryMs: number;
  /** How long after the send of an applied renewal a member may grant: T(1-drift) - m. */
  readonly mandateMs: number;
  /** R: how long a record must be seen unchanged before its member may be retired: T(1+drift) + m. */
  readonly retireAfterMs: number;
  /** A longer gap between two own reads starts the observer's wait again: two renewals. */
  readonly readGapMsMax: number;
  /** d: deadline of one call to the store or to another member. */
  readonly callDeadlineMs: number;
}

export function timingOf(leaseMs: number): Timing {
  const marginMs = Math.ceil(Math.max(LEASE_MARGIN_MS_MIN, leaseMs * LEASE_MARGIN_SHARE));
  return {
    leaseMs,
    marginMs,
    renewEveryMs: Math.floor(leaseMs / 5),
    mandateMs: Math.floor(leaseMs * (1 - CLOCK_DRIFT) - marginMs),
    retireAfterMs: Math.ceil(leaseMs * (1 + CLOCK_DRIFT) + marginMs),
    readGapMsMax: Math.floor((2 * leaseMs) / 5),
    callDeadlineMs: CALL_DEADLINE_MS,
  };
}

/**
 * Null when the lease leaves room for a renewal, two deadlines and the store's own failover;
 * else the shortest lease that does. `serve` refuses the rest.
 */
export function shortestLeaseMs(leaseMs: number, storeGapMs: number): number | null {
  const fits = (candidate: number): boolean => {
    const timing = timingOf(candidate);
    return timing.mandateMs >= candidate / 5 + 2 * timing.callDeadlineMs + storeGapMs;
  };
  if (fits(leaseMs)) return null;
  let candidate = Math.max(1_000, Math.ceil(leaseMs / 100) * 100);
  while (!fits(candidate)) candidate += 100;
  return candidate;
}

/** How long a client believes in an authorization, from its first send of the answered `n`. */
export function clientLifeMs(lifeMs: number): number {
  return Math.floor(lifeMs * (1 - CLOCK_DRIFT) - LIFE_MARGIN_MS);
}

/** How long a server counts a session after it last handled a grant or renewal of it. */
export function serverLifeMs(lifeMs: number): number {
  return Math.ceil(lifeMs * (1 + CLOCK_DRIFT) + LIFE_MARGIN_MS);
}

/** Clients send a heartbeat this often: a third of the life. */
export function heartbeatMs(lifeMs: number): number {
  return Math.floor(lifeMs / 3);
}

/** The life a member really grants: the license's, but never under six leases (section 4). */
export function effectiveLifeMs(licensedMs: number | undefined, leaseMs: number): number {
  return Math.max(licensedMs ?? LIFE_MS_DEFAULT, LIFE_IN_LEASES_MIN * leaseMs);
}
