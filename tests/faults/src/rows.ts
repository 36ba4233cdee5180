/** The table of faults: all rows, in the order in which they run. */
import { CLOCK_ROWS } from "./rows-clock.ts";
import { LOAD_ROWS } from "./rows-load.ts";
import { MANAGED_ROWS } from "./rows-managed.ts";
import { NETWORK_ROWS } from "./rows-network.ts";
import { PROCESS_ROWS } from "./rows-process.ts";
import { STORE_ROWS } from "./rows-store.ts";
import type { Row } from "./row.ts";

export const ROWS: readonly Row[] = [
  ...PROCESS_ROWS,
  ...STORE_ROWS,
  ...NETWORK_ROWS,
  ...CLOCK_ROWS,
  ...MANAGED_ROWS,
  ...LOAD_ROWS,
];
