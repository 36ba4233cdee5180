/** What a pool of three `quorate serve` processes tells: webhooks, metrics, events, and the report. */
import { createHmac } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Run, until } from "./test-command.ts";
import { newTestFolder, TestPool } from "./test-pool.ts";

// Seats taken by one command live as long as its life, six leases: long enough for a busy machine.
const LEASE_MS = 5_000;
const LONG_MS = 60_000;
const SECRET = "the secret of the receiver";

interface Told {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const { root, remove } = newTestFolder("observe");
let pool: TestPool;
let urls: readonly string[] = [];
let receiver: Server;
const told: Told[] = [];
/** So many messages are refused before the first is taken. */
let failures = 2;

beforeAll(async () => {
  receiver = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      failures -= 1;
      if (failures < 0)
        told.push({ headers: request.headers, body: Buffer.concat(pieces).toString() });
      response.writeHead(failures < 0 ? 204 : 503).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", () => resolve()));
  const { port } = receiver.address() as AddressInfo;
  const secretFile = join(root, "webhook.secret");
  writeFileSync(secretFile, `${SECRET}\n`, { mode: 0o600 });
  const hook = ["--webhook", `http://127.0.0.1:${port}/hook`, "--webhook-secret-file", secretFile];
  const history = ["--history-users", "hash", "--history-days", "30"];
  pool = await TestPool.start(root, LEASE_MS, [...hook, ...history]);
  ({ urls } = pool);
}, LONG_MS);

afterAll(async () => {
  await pool.stop();
  receiver.closeAllConnections();
  receiver.close();
  remove();
});

const quorate = (...words: readonly string[]): Promise<Run> => pool.run(...words);

const messages = (type: string): Record<string, unknown>[] =>
  told
    .map(({ body }): Record<string, unknown> => JSON.parse(body))
    .filter((each) => each["type"] === type);

const untilTold = (type: string): Promise<Record<string, unknown>> =>
  until(
    () => messages(type)[0] ?? null,
    () => `"${type}" among: ${told.map(({ body }) => body).join("\n")}`,
  );

describe(
  "a pool that is watched",
  () => {
    it("tells a receiver that fails first when seats run out, signed", async () => {
      const who = ["--user", "mia", "--host", "desk-1"];
      expect(await quorate("checkout", "solver", "--seats", "3", ...who)).toMatchObject({
        code: 0,
      });
      expect(await quorate("checkout", "solver", ...who)).toMatchObject({ code: 3 });
      expect(await untilTold("denied")).toMatchObject({
        pool: "demo",
        data: { feature: "solver", code: "no-seats", count: 1 },
      });
      expect(await untilTold("seat-limit-reached")).toMatchObject({
        data: { feature: "solver", seats: 3 },
      });
      for (const { headers, body } of told) {
        const {
          "webhook-id": id,
          "webhook-timestamp": at,
          "webhook-signature": signature,
        } = headers;
        const mac = createHmac("sha256", SECRET).update(`${String(id)}.${String(at)}.${body}`);
        expect(signature).toBe(`v1,${mac.digest("base64")}`);
      }
    });

    it("shows its measurements at each server", async () => {
      for (const url of urls) {
        const text = await (await fetch(`${url}/metrics`)).text();
        expect(text).toContain('quorate_seats{feature="solver"} 3\n');
        expect(text).toContain("quorate_mandate 1\n");
        expect(text).toMatch(/^quorate_journal_sync_seconds_count [1-9]/m);
        expect(text).toMatch(
          /^quorate_store_transaction_seconds_count\{outcome="applied"\} [1-9]/m,
        );
        expect(text).toMatch(/^quorate_license_expiry_timestamp_seconds\{feature="sim"\} \d/m);
      }
    });

    it("reports who used what, from all servers, as text, CSV and JSON", async () => {
      const text = await quorate("report");
      expect(text).toMatchObject({ code: 0, stderr: "" });
      expect(text.stdout).toMatch(/^FEATURE +USES +PEAK +AVERAGE +SEAT HOURS +DENIED$/m);
      expect(text.stdout).toMatch(/^solver +1 +3 +\S+ +\S+ +1$/m);
      const csv = await quorate("report", "--by", "user", "--from", "1d", "--csv");
      expect(csv.stdout).toMatch(
        /^user,uses,peakSeats,averageSeats,seatHours,denied\r\nuser-[0-9a-f]{16},1,3,[\d.]+,[\d.]+,1\r\n$/,
      );
      const json = await quorate("report", "--by", "host", "--feature", "solver", "--json");
      expect(JSON.parse(json.stdout)).toMatchObject({
        by: "host",
        rows: [{ key: "desk-1", uses: 1, peakSeats: 3, denied: 1 }],
        missing: [],
      });
      // Who holds the seat now is shown to administrators as ever.
      expect((await quorate("status", "-a")).stdout).toContain("mia");
    });

    it.each<[string, string[], number, RegExp]>([
      ["a time that is none", ["--from", "yesterday"], 2, /2026-11-01/],
      ["a time the wrong way round", ["--from", "1d", "--to", "2d"], 1, /"from" must be before/],
      ["two formats", ["--csv", "--json"], 2, /cannot be used with/],
      ["no server", ["--servers", "http://127.0.0.1:9"], 4, /no server could make the report/],
    ])("refuses a report of %s", async (_what, words, code, says) => {
      const run = await quorate("report", ...words);
      expect(run.code).toBe(code);
      expect(run.stderr).toMatch(says);
    });

    it("goes on after its leader was killed: one says so, once, and the report says what is missing", async () => {
      const { leader } = await pool.look();
      if (leader === null) throw new Error("there is a leader");
      const { id } = leader;
      process.kill(pool.servers.pidOf(id) ?? 0, "SIGKILL");
      expect(await untilTold("member-lost")).toMatchObject({
        data: { member: id, state: "retired" },
      });
      const run = await until(
        async () => {
          const tried = await quorate("report", "--json");
          return tried.code === 0 ? tried : null;
        },
        () => "a report of the other two",
      );
      expect(run.stderr).toContain(`the history of ${id} is missing`);
      expect(JSON.parse(run.stdout)).toMatchObject({ missing: [id] });
      expect(messages("member-lost")).toHaveLength(1);
    });
  },
  LONG_MS,
);

describe("quorate serve", () => {
  it.each<[string, string[], RegExp]>([
    ["a webhook without a secret", ["--webhook", "http://h/"], /--webhook-secret-file/],
    ["a secret without a webhook", ["--webhook-secret-file", "f"], /goes with --webhook/],
    ["a webhook that is no address", ["--webhook", "h"], /https:\/\/host\/path/],
    ["a password in a webhook", ["--webhook", "https://me:pw@h/"], /is not sent/],
    ["another way to keep names", ["--history-users", "all"], /keep, hash, drop/],
    ["no days of history", ["--history-days", "0"], /from 1 to/],
  ])("refuses %s", async (_what, words, says) => {
    const run = await quorate(
      "serve",
      "--data",
      join(root, "x"),
      "--listen",
      "127.0.0.1:0",
      ...words,
    );
    expect(run.code).toBe(2);
    expect(run.stderr).toMatch(says);
  });
});
