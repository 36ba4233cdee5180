/** A pool of three real servers that speak HTTPS only, with clients that show certificates, members and the command line. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { httpWire, nodeClient, nodeTransport, RefusedError } from "@quorate/client/node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type TestAuthority, testAuthority } from "../../server/src/http/test-certificates.ts";
import { makeDemoFolder } from "./demo/demo-folder.ts";
import { type Run, runCommand, TestCommand, until } from "./test-command.ts";

const LEASE_MS = 2_000;
const LONG_MS = 60_000;

let root = "";
let authority: TestAuthority;
/** Who signs clients' certificates: nobody of the servers. */
let clients: TestAuthority;
let own: readonly string[] = [];
let servers: readonly TestCommand[] = [];
let urls: readonly string[] = [];
let env: Record<string, string> = {};

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "quorate-tls-pool-"));
  authority = testAuthority(root);
  clients = testAuthority(root, "clients");
  const { cert: ownCert, key: ownKey } = clients.issue("ana");
  own = ["--ca", authority.ca, "--cert", ownCert, "--key", ownKey];
  const folder = await makeDemoFolder(join(root, "pool"), 0, LEASE_MS);
  urls = folder.servers.map(({ url }) => url.replace("http:", "https:"));
  servers = folder.servers.map(({ id, words }) => {
    const { cert, key } = authority.issue(id);
    const tls = ["--tls-cert", cert, "--tls-key", key, "--tls-ca", authority.ca];
    const door = ["--clients", "certificate", "--client-ca", clients.ca];
    return new TestCommand([...words, ...tls, ...door, "--license", folder.licenseFile]);
  });
  env = { QUORATE_SERVERS: urls.join(","), QUORATE_STATE: join(root, "state") };
  for (const server of servers) await server.says(/"ready":true/);
  await until(
    async () =>
      /3 of 3 servers alive/.test((await quorate("status", "--ca", authority.ca)).stdout)
        ? true
        : null,
    () => "three servers that live",
  );
}, LONG_MS);

afterAll(async () => {
  for (const { child } of servers) child.kill("SIGKILL");
  await Promise.all(servers.map(({ done }) => done));
  rmSync(root, { recursive: true, force: true });
});

const quorate = (...words: readonly string[]): Promise<Run> => runCommand(words, env);

it("the command line trusts the signer that --ca or QUORATE_CA names, and no other", async () => {
  const untrusted = await quorate("status");
  expect(untrusted.code).toBe(4);
  expect(untrusted.stdout + untrusted.stderr).toMatch(/certificate is not trusted/);
  const named = await runCommand(["status"], { ...env, QUORATE_CA: authority.ca });
  expect(named).toMatchObject({ code: 0, stderr: "" });
  expect(named.stdout).toMatch(/3 of 3 servers alive/);
  const other = testAuthority(root, "other").ca;
  expect((await quorate("status", "--ca", other)).code).toBe(4);
  expect((await quorate("status", "--ca", join(root, "none"))).code).toBe(2);
});

it("members call each other over HTTPS: one server grants what lies with the others", async () => {
  const taken = await quorate("checkout", "cad", "--seats", "30", "--json", ...own);
  expect(taken).toMatchObject({ code: 0 });
  const released = await quorate("release", sessionIn(taken.stdout), "--ca", authority.ca);
  expect(released).toMatchObject({ code: 0 });
  expect(servers.map(({ stderr }) => /no TLS with/.test(stderr))).toEqual([false, false, false]);
});

it("who shows no certificate, or a server's, or one that is not its key's, checks nothing out", async () => {
  const trust = ["--ca", authority.ca];
  const withoutAny = await quorate("checkout", "cad", ...trust);
  expect(withoutAny.code).toBe(1);
  expect(withoutAny.stderr).toMatch(/show a certificate .*unauthorized/);
  const servers = authority.issue("not-a-client");
  const token = ["--token-file", join(root, "pool", "admin.token")];
  for (const words of [["--cert", servers.cert, "--key", servers.key], token]) {
    const run = await quorate("checkout", "cad", ...trust, ...words);
    expect([words, run.code]).toEqual([words, 1]);
    expect(run.stderr).toMatch(/unauthorized/);
  }
  const { cert } = clients.issue("ben");
  for (const words of [
    ["--cert", cert],
    ["--cert", cert, "--key", servers.key],
    ["--cert", join(root, "none"), "--key", servers.key],
  ]) {
    const run = await quorate("checkout", "cad", ...trust, ...words);
    expect([words, run.code]).toEqual([words, 2]);
  }
});

it("the environment names the certificate, too", async () => {
  const { cert, key } = clients.issue("carla");
  const named = { QUORATE_CA: authority.ca, QUORATE_CLIENT_CERT: cert, QUORATE_CLIENT_KEY: key };
  const taken = await runCommand(["checkout", "sim", "--json"], { ...env, ...named });
  expect(taken).toMatchObject({ code: 0 });
  const released = await quorate("release", sessionIn(taken.stdout), "--ca", authority.ca);
  expect(released).toMatchObject({ code: 0 });
});

it("the SDK takes a seat with the signer's certificate and its own, and none without", async () => {
  const ca = readFileSync(authority.ca, "utf8");
  const { cert, key } = clients.issue("dora");
  const show = { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  const nobody = nodeClient({ servers: urls, tls: { ca }, releaseOnExit: false });
  await expect(nobody.checkout({ feature: "sim" })).rejects.toBeInstanceOf(RefusedError);
  await nobody.close();
  const client = nodeClient({ servers: urls, tls: { ca, ...show }, releaseOnExit: false });
  const authorization = await client.checkout({ feature: "sim" });
  expect(authorization.feature).toBe("sim");
  await client.close();
  expect(await httpWire(nodeTransport()).pool(urls[0] ?? "", 2_000)).toBeNull();
});

it("a server shows a replaced certificate without a restart", async () => {
  const { cert, key } = authority.issue("renewed");
  copyFileSync(key, join(root, "a.key"));
  copyFileSync(cert, join(root, "a.crt"));
  await until(
    async () => ((await nameShownBy(urls[0] ?? "")) === "renewed" ? true : null),
    () => "the renewed certificate",
  );
  expect((await quorate("status", "--ca", authority.ca)).stdout).toMatch(/3 of 3 servers alive/);
});

it("beyond this machine it starts without TLS only when told to, and says so", async () => {
  const words = ["serve", "--data", join(root, "open"), "--listen", "0.0.0.0:0", "--id", "x"];
  const key = ["--vendor-key", join(root, "pool", "vendor.pub")];
  const refused = await runCommand([...words, ...key]);
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.stderr).toMatch(/--tls-cert/);
  const open = new TestCommand([...words, ...key, "--insecure"]);
  await open.says(/reach this server without TLS/);
  open.child.kill("SIGKILL");
  await open.done;
});

function sessionIn(text: string): string {
  const answer: unknown = JSON.parse(text);
  const found = typeof answer === "object" && answer !== null && "session" in answer;
  return found ? String(answer.session) : "";
}

function nameShownBy(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const ca = readFileSync(authority.ca, "utf8");
    const socket = connect({ host: hostname, port: Number(port), ca }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", reject);
  });
}
