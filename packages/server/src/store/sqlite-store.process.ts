/**
 * A process of its own for `sqlite-store.test.ts`: `node sqlite-store.process.ts <role> <path> <name>`.
 * It writes one line to stdout for each thing it did.
 */
import { DatabaseSync } from "node:sqlite";
import { openSqliteStore } from "./sqlite-store.ts";

const DEADLINE_MS = 10_000;
const [role, path = "", name = ""] = process.argv.slice(2);

if (role === "increment") await incrementUntilTold();
else if (role === "hold") holdTheWriteLock();
else throw new Error(`no such role: ${role}`);

/** Counts up until SIGTERM; each increment leaves a key of its own and is acknowledged by a line. */
async function incrementUntilTold(): Promise<void> {
  const stop = new AbortController();
  process.once("SIGTERM", () => stop.abort());
  const store = await openSqliteStore(path);
  const counter = { revision: 0, value: 0 };
  for (let i = 0; !stop.signal.aborted;) {
    const key = `done/${name}-${i}`;
    const answer = await store.transact(
      {
        compare: [{ key: "counter", revision: counter.revision }],
        puts: [
          { key: "counter", value: String(counter.value + 1) },
          { key, value: String(counter.value + 1) },
        ],
        reads: ["counter"],
      },
      DEADLINE_MS,
    );
    if (answer.outcome === "unknown") throw new Error(answer.reason);
    counter.revision = answer.read[0]?.revision ?? 0;
    counter.value = Number(answer.read[0]?.value ?? 0);
    if (answer.outcome === "rejected") continue;
    process.stdout.write(`${key}\n`);
    i += 1;
  }
  await store.close();
}

/** Sits inside a write until stdin ends. */
function holdTheWriteLock(): void {
  const database = new DatabaseSync(path);
  database.exec("BEGIN IMMEDIATE");
  process.stdout.write("holding\n");
  process.stdin.resume().once("end", () => {
    database.exec("COMMIT");
    database.close();
  });
}
