/**
 * The rules of Quorate: seats, records, mandate, leadership, sessions, license, and the client's side.
 *
 * Deliberately absent: clocks, randomness, I/O, dependencies. Time is passed in. The compiler
 * (`lib: ES2023, types: []`) and the linter hold that.
 */
export * from "./allocations.ts";
export * from "./clocks.ts";
export * from "./license.ts";
export * from "./limits.ts";
export * from "./refusals.ts";
export * from "./seat-policy.ts";
export * from "./timing.ts";
export * from "./version.ts";
