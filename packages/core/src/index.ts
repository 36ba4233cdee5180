/**
 * The rules of Quorate: seats, records, mandate, leadership, sessions, license, and the client's side.
 *
 * Deliberately absent: clocks, randomness, I/O, dependencies. Time is passed in. The compiler
 * (`lib: ES2023, types: []`) and the linter hold that.
 */
export * from "./allocations.ts";
export { beliefLeftMs } from "./client-belief.ts";
export { begin as beginClientSession } from "./client-session.ts";
export { believes, step as stepClientSession, wakeAfterMs } from "./client-session.ts";
export { CLIENT_SERVERS_MAX, isBelieving } from "./client-asking.ts";
export type * from "./client-types.ts";
export * from "./clocks.ts";
export * from "./license.ts";
export * from "./limits.ts";
export * from "./refusals.ts";
export * from "./seat-policy.ts";
export * from "./timing.ts";
export * from "./version.ts";
export * from "./lease.ts";
export * from "./ledger.ts";
export * from "./waiting-queue.ts";
