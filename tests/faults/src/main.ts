/** `npm run faults`: every fault, or some, on pools of three or five machines; the table at the end. */
import { parseArgs } from "node:util";
import { whyNoMachines } from "./network.ts";
import type { Result } from "./row.ts";
import { ROWS } from "./rows.ts";
import { run } from "./run.ts";
import { machineWords, tableOf } from "./table.ts";

const USAGE = `npm run faults -- [--row NAME,NAME…] [--pool 3|5] [--clients N] [--list]`;
const CLIENTS_DEFAULT = "200";
const CLIENTS_MIN = 6;
const CLIENTS_MAX = 1_000;

const { values } = parseArgs({
  options: {
    row: { type: "string" },
    pool: { type: "string", default: "3" },
    clients: { type: "string", default: CLIENTS_DEFAULT },
    list: { type: "boolean", default: false },
  },
});
const machines = Number(values.pool);
const clients = Number(values.clients);
const wanted = values.row?.split(",") ?? ROWS.map(({ name }) => name);
const unknown = wanted.find((name) => !ROWS.some((row) => row.name === name));
if (values.list) {
  for (const { name, title } of ROWS) console.log(`${name.padEnd(26)} ${title}`);
  process.exit(0);
}
if (unknown !== undefined) fail(`there is no row "${unknown}"; --list shows all`);
if (machines !== 3 && machines !== 5) fail("a pool has 3 or 5 machines");
if (!(clients >= CLIENTS_MIN && clients <= CLIENTS_MAX)) {
  fail(`give ${CLIENTS_MIN} to ${CLIENTS_MAX} clients`);
}
const why = whyNoMachines();
if (why !== null) fail(why);

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => process.exit(1));
}
const results: Result[] = [];
const rows = ROWS.filter(({ name }) => wanted.includes(name));
for (const [index, row] of rows.entries()) {
  console.error(`${index + 1}/${rows.length}  ${row.name}: ${row.title}`);
  const skip = row.whyNot?.() ?? null;
  if (skip !== null) {
    console.error(`    skipped: ${skip}`);
    continue;
  }
  const result = await run(row, { machines, clients });
  results.push(result);
  for (const note of result.notes) console.error(`    ${note}`);
  console.error(
    `    ${result.failure ?? "ok"} (over-issued ${result.overIssued}, lost ${result.lost}, ${result.waited} waited, at most ${result.waitMaxMs.toFixed(0)} ms)`,
  );
}
console.log(`\n${machines} machines, ${clients} clients; ${machineWords()}\n`);
console.log(tableOf(results));
const failed = results.filter(({ failure }) => failure !== null);
for (const { name } of failed)
  console.log(`\nrepeat: npm run faults -- --row ${name} --pool ${machines} --clients ${clients}`);
process.exit(failed.length === 0 ? 0 : 1);

function fail(sentence: string): never {
  console.error(`faults: ${sentence}\n${USAGE}`);
  return process.exit(1);
}
