/** Tokens in a pool of three real servers whose doors ask for one. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeClient, RefusedError } from "@quorate/client/node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeDemoFolder } from "./demo/demo-folder.ts";
import { type Run, runCommand, TestCommand, until } from "./test-command.ts";

const LEASE_MS = 2_000;
const LONG_MS = 60_000;

let root = "";
let servers: readonly TestCommand[] = [];
let urls: readonly string[] = [];
let env: Record<string, string> = {};

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "quorate-tokens-"));
  const folder = await makeDemoFolder(join(root, "pool"), 0, LEASE_MS);
  urls = folder.servers.map(({ url }) => url);
  servers = folder.servers.map(({ words }) => {
    const doors = ["--clients", "token", "--readers", "token"];
    return new TestCommand([...words, ...doors, "--license", folder.licenseFile]);
  });
  env = { QUORATE_SERVERS: urls.join(","), QUORATE_STATE: join(root, "state") };
  env["QUORATE_ADMIN_TOKEN_FILE"] = folder.tokenFile;
  for (const server of servers) await server.says(/"ready":true/);
  await until(
    async () => {
      const { stdout } = await quorate("status", "--token-file", folder.tokenFile);
      return /3 of 3 servers alive/.test(stdout) ? true : null;
    },
    () => "three servers that live",
  );
}, LONG_MS);

afterAll(async () => {
  for (const { child } of servers) child.kill("SIGKILL");
  await Promise.all(servers.map(({ done }) => done));
  rmSync(root, { recursive: true, force: true });
});

const quorate = (...words: readonly string[]): Promise<Run> => runCommand(words, env);

async function makeToken(role: string, name: string): Promise<{ token: string; file: string }> {
  const made = await quorate("token", "create", "--role", role, "--name", name, "--expires", "2d");
  expect(made).toMatchObject({ code: 0 });
  const file = join(root, `${name}.token`);
  writeFileSync(file, made.stdout);
  return { token: made.stdout.trim(), file };
}

it("a token made at one server lets a program check out at every other, until it is revoked", async () => {
  const { token, file } = await makeToken("client", "ci");
  const none = await quorate("checkout", "cad");
  expect(none.code).toBe(1);
  expect(none.stderr).toMatch(/unauthorized/);
  for (const url of urls) {
    const taken = await until(
      async () => {
        const run = await quorate("checkout", "cad", "--servers", url, "--token-file", file);
        return run.code === 0 ? run : null;
      },
      () => `a checkout at ${url}`,
    );
    expect(taken.stdout).toMatch(/cad/);
  }
  const client = nodeClient({ servers: urls, token, releaseOnExit: false });
  await (await client.checkout({ feature: "sim" })).release();

  expect((await quorate("token", "revoke", "ci")).stdout).toMatch(/^ci \(client\) is revoked/);
  for (const url of urls) {
    await until(
      async () => {
        const run = await quorate("checkout", "cad", "--servers", url, "--token-file", file);
        return /forbidden/.test(run.stderr) ? true : null;
      },
      () => `${url} refuses the revoked token`,
    );
  }
  await expect(client.checkout({ feature: "sim" })).rejects.toBeInstanceOf(RefusedError);
  await client.close();
});

it("a viewer's token shows the pool and administers nothing", async () => {
  const { file } = await makeToken("viewer", "board");
  const shown = await until(
    async () => {
      const run = await quorate("status", "--sessions", "--token-file", file);
      return run.code === 0 ? run : null;
    },
    () => "the pool",
  );
  expect(shown.stdout).toMatch(/3 of 3 servers alive/);
  const refused = await quorate("pool", "lead", "a", "--admin-token-file", file);
  expect(refused).toMatchObject({ code: 1 });
  expect(refused.stderr).toMatch(/forbidden/);
});

it("the list shows whose the tokens are and never the tokens", async () => {
  const { token } = await makeToken("administrator", "ana");
  const { stdout } = await quorate("token", "list");
  expect(stdout).toMatch(/ana +administrator .* admin-token-file/);
  expect(stdout).not.toContain(token);
  const again = await quorate("token", "create", "--role", "client", "--name", "ana");
  expect(again).toMatchObject({ code: 1 });
  expect(again.stderr).toMatch(/there is a token "ana"/);
});

it("an administrator lists the ends of all servers' audit logs, and a viewer none", async () => {
  const second = urls[1] ?? "";
  const made = ["token", "create", "--role", "client", "--name", "at-the-second"];
  expect((await quorate(...made, "--servers", second)).code).toBe(0);
  const listed = await quorate("audit", "list", "--servers", `${urls.join()},http://127.0.0.1:9`);
  expect(listed).toMatchObject({ code: 0 });
  expect(listed.stderr).toMatch(/without those of http:\/\/127\.0\.0\.1:9/);
  expect(listed.stdout).toMatch(/ a +admin-token-file +127\.0\.0\.1 +token-create +done /);
  expect(listed.stdout).toMatch(/ b +admin-token-file .*token-create +done +.*at-the-second/);
  const last = await quorate("audit", "list", "--servers", second, "--limit", "1", "--json");
  expect(JSON.parse(last.stdout)).toMatchObject({
    entries: [{ member: "b", what: "token-create", outcome: "done" }],
    silent: [],
  });
  const { file } = await makeToken("viewer", "watcher");
  const refused = await quorate("audit", "list", "--admin-token-file", file);
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect((await quorate("audit", "list", "--servers", "http://127.0.0.1:9")).code).toBe(4);
});

it("the audit log of the server that was asked tells it all, and tells when somebody changed it", async () => {
  const data = join(root, "pool", "a");
  const shown = await quorate("audit", "show", "--data", data);
  expect(shown).toMatchObject({ code: 0, stderr: "" });
  expect(shown.stdout).toMatch(/admin-token-file +127\.0\.0\.1 +token-revoke +done +\{"id":"ci"\}/);
  const verified = await quorate("audit", "verify", "--data", data);
  expect(verified).toMatchObject({ code: 0, stderr: "" });
  expect(verified.stdout).toMatch(/^\d+ entries, whole; last hash [0-9a-f]{64}$/m);
  const file = join(data, "audit.log");
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replace('"id":"ci"', '"id":"xx"'));
  const changed = await quorate("audit", "verify", "--data", data);
  writeFileSync(file, text);
  expect(changed).toMatchObject({ code: 1, stdout: "" });
  expect(changed.stderr).toMatch(/the audit log is not whole: line \d+/);
  expect((await quorate("audit", "verify", "--data", join(root, "none"))).code).toBe(1);
});
