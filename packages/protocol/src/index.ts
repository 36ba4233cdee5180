/**
 * The wire of Quorate: shapes, schemas, codes, licenses and tokens as text.
 *
 * Deliberately absent: I/O of any kind. Runs in Node and browsers.
 */
export type * from "./api.ts";
