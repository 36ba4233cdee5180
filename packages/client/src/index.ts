/**
 * The SDK of Quorate: checkout, heartbeats, failover and release for a protected program. Runs in browsers
 * and Electron; Node programs use `@quorate/client/node`, which adds the boot clock and release on exit.
 *
 * Deliberately absent: rules about seats and belief. They are in core, where they are proved.
 */
export { Authorization, type AuthorizationEvents } from "./authorization.ts";
export { type CheckoutOptions, type ClientOptions, QuorateClient } from "./client.ts";
export type { ClientClocks, ClientTimers, SessionIdentity } from "./environment.ts";
export { ClosedError, NoServerError, RefusedError } from "./errors.ts";
export { type HttpCall, httpWire, type Transport } from "./http-wire.ts";
export type { Pick } from "./pick-server.ts";
export type { ReleaseCall, Wire } from "./wire.ts";
export { verifyTokenOffline as verifyToken } from "@quorate/protocol";
