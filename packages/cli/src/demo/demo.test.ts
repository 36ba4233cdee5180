/** The demo as `npm start` runs it, without a terminal. */
import { existsSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, expect, it } from "vitest";
import { TestCommand } from "../test-command.ts";
import { answers } from "./demo-servers.ts";

const LONG_MS = 90_000;
const started: TestCommand[] = [];

function start(...words: readonly string[]): TestCommand {
  const command = new TestCommand(words);
  started.push(command);
  return command;
}

afterEach(async () => {
  for (const { child, done } of started.splice(0)) {
    child.kill("SIGTERM");
    await done;
  }
});

it(
  "starts a pool, keeps everybody at work when the leader dies, and leaves nothing behind",
  async () => {
    const demo = start("demo", "--port-base", "0");
    const [, token = ""] = await demo.says(/^admin token: +(\S+)$/m);
    const folder = dirname(token);
    const urls = [...demo.stdout.matchAll(/[abc] (http:\/\/127\.0\.0\.1:\d+)/g)].map(
      ([, url]) => url ?? "",
    );
    expect(urls).toHaveLength(3);
    await demo.says(/3 of 3 servers up; .*solver 3\/3 \(1 queued\); clients: 11 at work/);

    const [, leader = "", pid] = await demo.says(/^Kill the leader, (\w):\n {2}kill -9 (\d+)$/m);
    process.kill(Number(pid), "SIGKILL");
    await demo.says(new RegExp(`server ${leader} ended \\(SIGKILL\\)`));
    await demo.says(/[^\n]* leads from term 2 on/);
    await demo.says(new RegExp(`2 of 3 servers up, ${leader} down; .* 0 lost since start`));

    const [, words = ""] = await demo.says(/start it again: npx quorate (.*)$/m);
    const again = start(...words.split(" "));
    await demo.says(new RegExp(`server ${leader} is up again`));
    again.child.kill("SIGTERM");
    expect(await again.done).toBe(0);

    demo.child.kill("SIGTERM");
    expect(await demo.done).toBe(0);
    expect(demo.stdout).not.toMatch(/[1-9]\d* lost since start/);
    expect(existsSync(folder)).toBe(false);
    for (const url of urls) expect(await answers(url)).toBe(false);
  },
  LONG_MS,
);

it(
  "leaves a server alone that was started by hand",
  async () => {
    const demo = start("demo", "--port-base", "0");
    const [, id = "", pid] = await demo.says(/^Kill the leader, (\w):\n {2}kill -9 (\d+)$/m);
    process.kill(Number(pid), "SIGKILL");
    const [, words = ""] = await demo.says(/start it again: npx quorate (.*)$/m);
    const again = start(...words.split(" "));
    await demo.says(new RegExp(`server ${id} is up again`));
    demo.child.kill("SIGINT");
    expect(await demo.done).toBe(0);
    const [, folder = ""] = await demo.says(/started by hand and runs on; (\S+) stays/);
    expect(existsSync(folder)).toBe(true);
    again.child.kill("SIGTERM");
    await again.done;
    rmSync(folder, { recursive: true });
  },
  LONG_MS,
);
