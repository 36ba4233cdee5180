/** What other tests use of the simulation. */
export { overIssues, type Hold, type Limit, type OverIssue } from "./history-check.ts";
