/** Programs in processes of their own: a laptop that sleeps, and the wrapper for programs that know nothing. */
import { fileURLToPath } from "node:url";
import { describe, expect, test, type TestContext } from "vitest";
import { Clients } from "./clients.ts";
import { authorizationsOf, HandMade } from "./http.ts";
import { Pool, SERVER_LIFE_MS } from "./pool.ts";
import type { Heard } from "./recorder.ts";
import { cli, NODE, Program } from "./server-process.ts";
import { nowMs, waitFor } from "./wait.ts";

/** What a busy machine may add to an instant. */
const LOOK_MS = 2_000;
const CLIENT_PROGRAM = fileURLToPath(new URL("client-program.ts", import.meta.url));

interface Line {
  readonly word: string;
  readonly atMs: number;
  readonly session?: string;
  readonly member?: string;
  readonly untilMs?: number;
  readonly reason?: string;
  readonly retrying?: boolean;
}

describe.concurrent("programs", { timeout: 120_000 }, () => {
  test("a client paused for longer than its life, whose seat went to another, does not get a retired seat with its old token when its server dies; it hears `lost` and queues as new", async (context) => {
    const pool = await Pool.start(context, { seats: 6, firstLeader: "a" });
    const clients = new Clients(context, pool);
    const laptop = new Laptop(context, pool.urls("c", "a", "b"));
    const first = await laptop.hears("granted");
    expect(first.member).toBe("c");
    await clients.takeMany(4, ["a"]);
    // This one dies with its server: its retired seat is what a false conversion would take.
    const dead = await HandMade.create();
    const takenMs = nowMs();
    clients.recorder.answered(dead, await dead.checkout(pool.url("c")), takenMs);
    laptop.program.signal("SIGSTOP");
    let heir: Heard | null = null;
    const inherited = clients.take(["c"], { waitMs: 60_000 }).then((heard) => (heir = heard));
    await waitFor(
      "the laptop's seat goes to another, while the other user of c is at work",
      async () => {
        const sentMs = nowMs();
        clients.recorder.answered(dead, await dead.heartbeat(pool.url("c")), sentMs);
        return heir !== null;
      },
      2 * SERVER_LIFE_MS,
    );
    const { moved } = await inherited;
    const deadMs = nowMs();
    await pool.kill("c");
    laptop.program.signal("SIGCONT");
    const lost = await laptop.hears("lost");
    expect(lost).toMatchObject({ reason: "expired", retrying: true });
    await waitFor("the heir moved to the leader", () => moved.length > 0);
    // While its old seat's heir and the dead one's seat count, the laptop waits like anybody.
    expect(laptop.lines.some(({ word }) => word === "moved")).toBe(false);
    const back = await laptop.hears("regained", 60_000);
    expect(back.session).not.toBe(first.session);
    expect(back.atMs).toBeGreaterThan(deadMs + SERVER_LIFE_MS / 2);
    await clients.renewedAgain(clients.recorder.all);
    expect(clients.lost).toEqual([]);
    laptop.record(clients);
    clients.recorder.check();
  });

  test("`quorate run -- sleep 1000` holds a seat; kill -9 of the wrapper frees it within one life, SIGTERM at once", async (context) => {
    const pool = await Pool.start(context, { seats: 2, firstLeader: "a" });
    const servers = pool.urls("c", "a", "b").join();
    const run = (): Program => {
      const words = ["run", "--feature", "cad", "--servers", servers];
      const program = cli([...words, "--", NODE, "-e", SLEEPER]);
      context.onTestFinished(async () => {
        await program.kill();
        const sleeper = /sleeper (\d+)/.exec(program.stdout)?.[1];
        // Its wrapper was killed: nobody else ends it. It may be gone already.
        if (sleeper !== undefined) endQuietly(Number(sleeper));
      });
      return program;
    };
    const killed = run();
    const ended = run();
    await waitFor("both hold a seat", async () => {
      return (await authorizationsOf(pool.url("a"))).authorizations.length === 2;
    });
    await waitFor("both programs run", () =>
      [killed, ended].every(({ stdout }) => stdout.includes("sleeper")),
    );
    const third = cli(["run", "--feature", "cad", "--servers", servers, "--", NODE, "-v"]);
    expect(await third.ended()).toBe(3);
    expect(third.stdout).toBe("");
    ended.signal("SIGTERM");
    const termMs = nowMs();
    expect(await ended.ended()).toBe(128 + 15);
    const next = await HandMade.create();
    await waitFor("the seat is free at once", async () => {
      return (await next.checkout(pool.url("b")))?.status === 201;
    });
    expect(nowMs() - termMs).toBeLessThan(LOOK_MS);
    await killed.kill();
    const killedMs = nowMs();
    const last = await HandMade.create();
    expect((await last.checkout(pool.url("a")))?.code).toBe("no-seats");
    await waitFor(
      "the seat is free within one life",
      async () => {
        await next.heartbeat(pool.url("b"));
        return (await last.checkout(pool.url("a"), { waitMs: 1_000 }))?.status === 201;
      },
      SERVER_LIFE_MS + LOOK_MS,
    );
    expect(nowMs() - killedMs).toBeLessThan(SERVER_LIFE_MS + LOOK_MS);
  });
});

const SLEEPER = `console.log("sleeper " + process.pid); setTimeout(() => {}, 1000_000)`;

class Laptop {
  readonly program: Program;

  constructor(context: TestContext, servers: readonly string[]) {
    const wants = JSON.stringify({ servers, waitMs: 0 });
    this.program = new Program(NODE, [CLIENT_PROGRAM, wants]);
    context.onTestFinished(() => this.program.kill());
    context.onTestFailed(() =>
      console.error(`laptop: ${this.program.stdout}${this.program.stderr}`),
    );
  }

  get lines(): readonly Line[] {
    const whole = this.program.stdout.split("\n").slice(0, -1);
    return whole.map((line) => JSON.parse(line) as Line);
  }

  hears(word: string, timeoutMs?: number): Promise<Line> {
    return waitFor(
      `the laptop hears ${word}`,
      () => this.lines.find((line) => line.word === word) ?? null,
      timeoutMs,
    );
  }

  /** Its own view, line by line, for the check of the whole run. */
  record({ recorder }: Clients): void {
    let fromMs: number | null = null;
    let untilMs = 0;
    const close = (atMs: number): void => {
      if (fromMs === null) return;
      const key = {};
      recorder.believes(key, "cad", 1, fromMs, untilMs);
      recorder.end(key, atMs);
      fromMs = null;
    };
    for (const line of this.lines) {
      if (line.word === "lost") close(line.atMs);
      // A renewal after its belief had ended begins another interval.
      if (line.untilMs !== undefined && line.atMs > untilMs) close(untilMs);
      if (line.untilMs !== undefined) {
        fromMs ??= line.atMs;
        untilMs = line.untilMs;
      }
    }
    close(nowMs());
  }
}

function endQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
