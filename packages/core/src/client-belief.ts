/**
 * How long a client may believe in what it was granted (design sections 4 and 4.6). The safety of the
 * whole pool against its own clients rests on these few lines, so they know nothing of states.
 */
import { elapsedForHolder, type Clocks } from "./clocks.ts";
import type { ClientAsk, ClientAuthorization, ClientGrant } from "./client-types.ts";
import { LIFE_MS_MAX, clientLifeMs } from "./timing.ts";

/** Boot clocks of whole seconds exist; less than this between boot and monotonic is no suspend. */
const SUSPEND_TOLERANCE_MS = 1_500;
/** How long the word `lost` is held back when the wall clock alone says that belief has ended. */
export const HOLD_BACK_MS = 2_000;
/** A token serves at least this long after its issue, for third parties that look at its expiry. */
const TOKEN_AGE_MS_MIN = 600_000;
/** Whatever a server says, it is not asked more often than this. */
const HEARTBEAT_MS_MIN = 100;

/** Milliseconds of belief left by the most pessimistic clock; zero or less: it has ended. */
export function beliefLeftMs(authorization: ClientAuthorization, now: Clocks): number {
  return clientLifeMs(authorization.lifeMs) - elapsedForHolder(authorization.since, now);
}

/** Milliseconds left by the clocks that nobody can set. */
export function steadyLeftMs(authorization: ClientAuthorization, now: Clocks): number {
  const { since, lifeMs } = authorization;
  return (
    clientLifeMs(lifeMs) - Math.max(now.monotonicMs - since.monotonicMs, now.bootMs - since.bootMs)
  );
}

export type BeliefVerdict = "believed" | "doubted" | "ended";

/**
 * `doubted` only where the wall clock alone says "ended" and a boot clock shows that the machine did
 * not sleep: then somebody set the wall clock, and true time is what the boot clock says.
 */
export function beliefVerdict(
  authorization: ClientAuthorization,
  now: Clocks,
  hasBootClock: boolean,
): BeliefVerdict {
  if (beliefLeftMs(authorization, now) > 0) return "believed";
  if (!hasBootClock || steadyLeftMs(authorization, now) <= 0) return "ended";
  const { since } = authorization;
  const sleptMs = now.bootMs - since.bootMs - (now.monotonicMs - since.monotonicMs);
  return sleptMs > SUSPEND_TOLERANCE_MS ? "ended" : "doubted";
}

/** Milliseconds until the next heartbeat, counted from the send of the last one answered. */
export function heartbeatInMs(authorization: ClientAuthorization, now: Clocks): number {
  return authorization.heartbeatMs - elapsedForHolder(authorization.since, now);
}

/** A token past half of its age is sent along, so that the answer brings a fresh one. */
export function tokenIsAging(authorization: ClientAuthorization, now: Clocks): boolean {
  const windowMs = Math.max(authorization.lifeMs, TOKEN_AGE_MS_MIN);
  return elapsedForHolder(authorization.tokenAt, now) >= windowMs / 2;
}

/** No answer within this is trouble (design section 4.4). */
export function troubleAfterMs(lifeMs: number): number {
  return Math.floor(Math.min(2_000, lifeMs / 10));
}

/** What the answer to `ask` founds; belief counts from the send of `ask`, whenever it is answered. */
export function authorizationFrom(
  grant: ClientGrant,
  ask: ClientAsk,
  previous: ClientAuthorization | null,
): ClientAuthorization {
  const lifeMs = Math.min(grant.lifeMs, LIFE_MS_MAX);
  // A token names its member and epoch, so the one of another member is of no more use.
  const kept = previous !== null && previous.member === grant.member ? previous : null;
  const isNew = grant.token !== undefined;
  return {
    server: ask.server,
    member: grant.member,
    seats: grant.seats,
    lifeMs,
    // A server's pace is followed only as far as it leaves time for a second try.
    heartbeatMs: Math.max(
      HEARTBEAT_MS_MIN,
      Math.min(grant.heartbeatMs, Math.floor(clientLifeMs(lifeMs) / 2)),
    ),
    token: grant.token ?? kept?.token ?? null,
    tokenAt: isNew || kept === null ? ask.sentAt : kept.tokenAt,
    since: ask.sentAt,
  };
}
