import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { nodeClocks, nodeHolder, serversOf } from "./node.ts";

const ENTRY = new URL("node.ts", import.meta.url).href;

let server: Server;
let url = "";
let released: string[] = [];

beforeEach(async () => {
  released = [];
  server = createServer((request, response) => {
    request.resume();
    if (request.method === "DELETE") {
      released.push(request.url ?? "");
      response.writeHead(204).end();
      return;
    }
    let text = "";
    request.on("data", (chunk) => (text += String(chunk)));
    request.on("end", () => {
      const { session, feature } = JSON.parse(text);
      const granted = {
        session,
        feature,
        seats: 1,
        member: "a",
        lifeMs: 60_000,
        heartbeatMs: 20_000,
        token: "t",
        pool: { leader: null, servers: [url] },
      };
      response.writeHead(201).end(JSON.stringify(granted));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** A program that holds two seats of two clients, says so, and then does `then`. */
function program(then: string) {
  const source = `
    import { nodeClient } from ${JSON.stringify(ENTRY)};
    await nodeClient().checkout({ feature: "cad" });
    await nodeClient().checkout({ feature: "cad" });
    ${then}
    console.log("held");
  `;
  const env = { ...process.env, QUORATE_SERVERS: url };
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  return { child, exited: once(child, "exit"), held: once(child.stdout, "data") };
}

describe("a Node program gives its seats back", () => {
  test("when it has nothing more to do", async () => {
    const { exited } = program("");
    expect(await exited).toEqual([0, null]);
    expect(released).toHaveLength(2);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "at %s, which then ends it",
    async (signal) => {
      const { child, held, exited } = program("setInterval(() => {}, 1000);");
      await held;
      child.kill(signal);
      expect(await exited).toEqual([null, signal]);
      expect(released).toHaveLength(2);
    },
  );

  test("and decides by itself when it ends if it has a handler", async () => {
    const { child, held, exited } = program(
      'const t = setInterval(() => {}, 1000); process.on("SIGTERM", () => { clearInterval(t); process.exitCode = 7; });',
    );
    await held;
    child.kill("SIGTERM");
    expect(await exited).toEqual([7, null]);
    expect(released).toHaveLength(2);
  });
});

test("servers come from one variable, between commas or spaces", () => {
  expect(serversOf(" http://a, http://b\nhttp://c ")).toEqual(["http://a", "http://b", "http://c"]);
  expect(serversOf(undefined)).toEqual([]);
});

test("the holder names user, host and process", () => {
  const { user, host, process: id } = nodeHolder();
  expect([user.length > 0, host.length > 0, id]).toEqual([true, true, String(process.pid)]);
});

test("the boot clock counts at least as fast as the monotonic one", async () => {
  const clocks = nodeClocks();
  const before = clocks.now();
  await vi.waitUntil(() => performance.now() - before.monotonicMs > 60);
  const after = clocks.now();
  const bootMs = after.bootMs - before.bootMs;
  const monotonicMs = after.monotonicMs - before.monotonicMs;
  expect(Math.abs(bootMs - monotonicMs)).toBeLessThan(1_100);
});
