/** The live commands against a real pool of three `quorate serve` processes. */
import { readdirSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PoolPicture } from "./pool-picture.ts";
import { type Run, type TestCommand, until } from "./test-command.ts";
import { newTestFolder, TestPool } from "./test-pool.ts";

const LEASE_MS = 2_000;
/** A port on which nothing can listen without privileges, and nothing does. */
const DEAD = "http://127.0.0.1:9";
const LONG_MS = 60_000;

const { root, remove } = newTestFolder("live");
let pool: TestPool;
let urls: readonly string[] = [];

beforeAll(async () => {
  pool = await TestPool.start(root, LEASE_MS);
  ({ urls } = pool);
}, LONG_MS);

afterAll(async () => {
  await pool.stop();
  remove();
});

const quorate = (...words: readonly string[]): Promise<Run> => pool.run(...words);
const untilInUse = (feature: string, seats: number): Promise<void> =>
  pool.untilInUse(feature, seats);
const started = (...words: readonly string[]): TestCommand => pool.begin(...words);
const node = (script: string): readonly string[] => ["--", process.execPath, "-e", script];
const STAY = "console.log('working', process.pid); setInterval(() => {}, 1000)";

/**
 * A server that a busy machine kept from renewing is not seen alive for a moment, and has no share until it took
 * its own back: `all` is waited for.
 */
const statusThatSays = (all: readonly RegExp[], ...words: readonly string[]): Promise<Run> => {
  let last = "";
  return until(
    async () => {
      const run = await quorate("status", ...words);
      last = run.stdout;
      return all.every((each) => each.test(last)) ? run : null;
    },
    () => `${all.join(" and ")} in:\n${last}`,
  );
};

describe("quorate status", () => {
  it("shows the pool, its servers and features on one screen of 80 columns", async () => {
    const { code, stdout, stderr } = await statusThatSays([
      /^Pool demo: 3 of 3 servers alive, 2 needed: seats are granted\.$/m,
      /^Leader [abc], term \d+\.$/m,
      /^\* {2}[abc] +http:\S+ +\d+ +\d+ +1 {2}up$/m,
      /^cad +2026\.1 +30 +\d+ +\d+ +0 +\d+ {2}never$/m,
      /by server: a \d+\/\d+, b/,
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    expect(stdout.split("\n").length).toBeLessThanOrEqual(24);
  });

  it("answers as JSON with the same facts", async () => {
    const { stdout } = await statusThatSays([/"alive": ?3/], "--json", "--sessions");
    expect(JSON.parse(stdout)).toMatchObject({
      pool: "demo",
      majority: { needed: 2, alive: 3, reached: true },
      servers: [{ id: "a" }, { id: "b" }, { id: "c" }],
      features: [{ name: "cad", seats: 30 }, { name: "sim" }, { name: "solver" }],
      sessions: { missing: [] },
    });
  });

  it("shows a server that does not answer as down and goes on", async () => {
    const there = ["--servers", `${DEAD},${urls.join(",")}`];
    const { code, stdout } = await statusThatSays([/3 of 3 servers alive/], ...there);
    expect(code).toBe(0);
    expect(stdout).toMatch(/127\.0\.0\.1:9 .* DOWN/);
  });

  it("answers within three seconds when no server does, one of them silently", async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", () => resolve()));
    const address = silent.address();
    const port = typeof address === "object" ? address?.port : 0;
    const before = performance.now();
    const run = await quorate("status", "--servers", `http://127.0.0.1:${port},${DEAD}`);
    expect(performance.now() - before).toBeLessThan(3_000);
    silent.close();
    expect(run).toMatchObject({ code: 4, stderr: "quorate: no license server answered\n" });
    expect(run.stdout).toMatch(/DOWN \(timeout\)/);
    const json = await quorate("status", "--json", "--servers", DEAD);
    expect(JSON.parse(json.stdout)).toMatchObject({ answered: false, servers: [{ url: DEAD }] });
  });
});

describe("quorate checkout and release", () => {
  it("takes seats that a later shell gives back", async () => {
    const who = ["--user", "mia", "--host", "desk-1"];
    const taken = await quorate("checkout", "cad", "--seats", "2", "--json", ...who);
    expect(taken).toMatchObject({ code: 0, stderr: "" });
    const { session, file, token } = JSON.parse(taken.stdout);
    expect(token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(taken.stdout).not.toContain("secret");
    const row = await until(
      async () => {
        const { stdout } = await quorate("status", "-a", "--user", "mia");
        return /^mia +desk-1 +\d+ +cad +2 +[abc] .*$/m.exec(stdout);
      },
      () => "the session in the list",
    );
    expect(row[0]).toContain(session.slice(0, 12));
    const released = await quorate("release", session.slice(0, 12));
    expect(released).toMatchObject({ code: 0, stdout: `released ${session}\n` });
    await untilInUse("cad", 0);
    expect(readdirSync(join(root, "state"))).toEqual([]);
    expect(await quorate("release", session)).toMatchObject({ code: 2 });
  });

  it("tells why there is no seat, and waits for one if it may", async () => {
    const all = await quorate("checkout", "--feature", "solver", "--seats", "3", "--json");
    const { session } = JSON.parse(all.stdout);
    const denied = await quorate("checkout", "solver", "--json");
    expect(denied).toMatchObject({ code: 3, stderr: expect.stringMatching(/in use.*no-seats/) });
    expect(JSON.parse(denied.stdout)).toMatchObject({ refused: "no-seats" });
    const waiting = started("checkout", "solver", "--wait", "20s", "--json");
    await waiting.says(/waiting for solver, place 1 in the queue/);
    expect(await quorate("release", session)).toMatchObject({ code: 0 });
    expect(await waiting.done).toBe(0);
    const second = JSON.parse(waiting.stdout).session;
    expect(await quorate("release", second)).toMatchObject({ code: 0 });
    await untilInUse("solver", 0);
  });

  it.each<[string, string[], number, RegExp]>([
    ["an unknown feature", ["checkout", "cda"], 3, /unknown-feature/],
    ["a version that is too new", ["checkout", "cad", "--version", "2027"], 3, /2026\.1/],
    ["no feature", ["checkout"], 2, /name one feature/],
    ["a wait that is none", ["checkout", "cad", "--wait", "soon"], 2, /500ms, 30s or 5m/],
    ["a pool that is gone", ["checkout", "cad", "--servers", DEAD], 4, /No license server/],
    ["a session of nobody", ["release", "nothing"], 2, /no secret of session/],
  ])("refuses %s", async (_title, words, code, sentence) => {
    expect(await quorate(...words)).toMatchObject({
      code,
      stderr: expect.stringMatching(sentence),
    });
  });
});

describe("quorate run", () => {
  it("holds a seat while a program runs and answers with its code", async () => {
    const run = started("run", "--feature", "sim", ...node(`${STAY}; process.stdin.resume()`));
    const [, pid] = await run.says(/working (\d+)/);
    await untilInUse("sim", 1);
    process.kill(Number(pid), "SIGUSR2");
    expect(await run.done).toBe(128 + 12);
    await untilInUse("sim", 0);
    const plain = await quorate("run", "--feature", "sim", ...node("process.exit(7)"));
    expect(plain).toMatchObject({ code: 7, stderr: "" });
  });

  it("passes SIGTERM on, and the seat is free at once", async () => {
    const script = `process.on('SIGTERM', () => { console.log('bye'); process.exit(5); }); ${STAY}`;
    const run = started("run", "--feature", "sim", "--seats", "3", ...node(script));
    await run.says(/working/);
    await untilInUse("sim", 3);
    run.child.kill("SIGTERM");
    expect(await run.done).toBe(5);
    expect(run.stdout).toContain("bye");
    // The wrapper releases before it ends; a server that is asked now knows.
    await untilInUse("sim", 0);
  });

  it("does not start the program without a seat", async () => {
    const script = node("console.log('started')");
    const denied = await quorate("run", "--feature", "sim", "--seats", "9", ...script);
    expect(denied).toMatchObject({ code: 3, stdout: "" });
    const alone = await quorate("run", "--feature", "sim", "--servers", DEAD, ...script);
    expect(alone).toMatchObject({ code: 4, stdout: "" });
    const missing = await quorate("run", "--feature", "sim", "--", "/no/such/program");
    expect(missing).toMatchObject({ code: 127, stderr: expect.stringMatching(/not found/) });
    await untilInUse("sim", 0);
  });

  it(
    "frees the seat within one life when the wrapper is killed",
    async () => {
      const run = started("run", "--feature", "sim", ...node(STAY));
      const [, pid] = await run.says(/working (\d+)/);
      await untilInUse("sim", 1);
      run.child.kill("SIGKILL");
      await run.done;
      await untilInUse("sim", 0);
      // The program was left alone.
      expect(process.kill(Number(pid), 0)).toBe(true);
      process.kill(Number(pid), "SIGKILL");
    },
    LONG_MS,
  );
});

describe("administration", () => {
  it("revokes a session named by its first characters", async () => {
    const run = started("run", "--feature", "sim", ...node(STAY));
    await run.says(/working/);
    const session = await until(
      async () => {
        const { stdout } = await quorate("status", "-a", "--json", "--feature", "sim");
        const { sessions } = JSON.parse(stdout);
        return sessions.authorizations[0]?.session ?? null;
      },
      () => "the session in the list",
    );
    const revoked = await quorate("release", session.slice(0, 12), "--revoke", "--reason", "bye");
    expect(revoked).toMatchObject({ code: 0, stdout: expect.stringContaining(session) });
    await run.says(/was revoked/);
    run.child.kill("SIGTERM");
    expect(await run.done).toBe(128 + 15);
  });

  it("moves the leadership and explains a rebuild before it does one", async () => {
    const before = await pool.look();
    const other = before.servers.find(({ leads }) => !leads)?.id ?? "";
    expect(await quorate("pool", "lead", other)).toMatchObject({
      code: 0,
      stdout: `${other} leads from term ${before.term + 1} on\n`,
    });
    expect(await quorate("pool", "lead", "nobody")).toMatchObject({ code: 1 });
    expect(await quorate("pool", "rebuild")).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/went backwards.*nothing was done; add --yes/s),
    });
    const dead = await quorate("pool", "remove", "a", "--servers", DEAD);
    expect(dead).toMatchObject({ code: 4 });
  });
});

describe("when servers die", () => {
  it(
    "a wrapped program keeps its seat through the leader's death and hears of the pool's",
    async () => {
      const run = started("run", "--feature", "sim", "--on-lost", "terminate", ...node(STAY));
      await run.says(/working/);
      const { leader } = await pool.look();
      process.kill(pool.servers.pidOf(leader?.id ?? "") ?? 0, "SIGKILL");
      const picture = await until<PoolPicture>(
        async () => {
          const now = await pool.look();
          const row = now.features.find(({ name }) => name === "sim");
          // The server that answers may not have seen the retirement yet.
          const settled = now.majority?.alive === 2 && row?.inUse === 1;
          return now.leader?.id !== leader?.id && settled ? now : null;
        },
        () => "another leader that counts the session, and two servers alive",
      );
      expect(picture.majority).toEqual({ needed: 2, alive: 2, reached: true });
      const { stdout } = await statusThatSays([
        /2 of 3 servers alive, 2 needed: seats are granted/,
      ]);
      expect(stdout).toMatch(/DOWN \(refused\)/);
      expect(run.stderr).toBe("");

      pool.servers.kill();
      await run.says(/warning: the authorization for sim is lost/);
      expect(await run.done).toBe(128 + 15);
    },
    LONG_MS,
  );

  it(
    "removes a dead server",
    async () => {
      // The pool of this file is dead by now: another one, short-lived.
      const small = await TestPool.start(join(root, "small"), LEASE_MS);
      const there = small.urls.join(",");
      const access = ["--servers", there, "--admin-token-file", small.folder.tokenFile];
      process.kill(small.servers.pidOf("c") ?? 0, "SIGKILL");
      expect(await quorate("pool", "remove", "c", ...access)).toMatchObject({
        code: 0,
        stdout: "c is removed; the pool has room for another server\n",
      });
      const { stdout } = await quorate("status", "--servers", there, "--json");
      expect(JSON.parse(stdout).servers).toMatchObject([{ id: "a" }, { id: "b" }, { id: null }]);
      await small.stop();
    },
    LONG_MS,
  );
});
