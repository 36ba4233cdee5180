/**
 * One row in a process of its own, which runs in the clients' namespace: that it can reach nothing but the
 * machines, and that the row's mounts end with it. Its one argument is JSON, `RowOrder`.
 */
import { Network } from "./network.ts";
import { runRow } from "./row.ts";
import { ROWS } from "./rows.ts";

export interface RowOrder {
  readonly row: string;
  readonly prefix: string;
  readonly machines: number;
  readonly clients: number;
  readonly folder: string;
}

const order = JSON.parse(process.argv[2] ?? "{}") as RowOrder;
const row = ROWS.find(({ name }) => name === order.row);
if (row === undefined) throw new Error(`there is no row ${order.row}`);
const network = new Network(order.prefix, order.machines);
const startedMs = performance.now();
const result = await runRow(row, network, order.folder, order.clients, (words) => {
  console.error(
    `    ${((performance.now() - startedMs) / 1_000).toFixed(1).padStart(6)} s  ${words}`,
  );
});
process.send?.(result, () => process.exit(0));
