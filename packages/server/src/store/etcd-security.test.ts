/** TLS, users, and what people are told when the way to etcd is set up wrongly. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { parseEtcdStore } from "./etcd-address.ts";
import type { EtcdStoreOptions } from "./etcd-options.ts";
import { EtcdProxy } from "./etcd-proxy.ts";
import { openEtcdStore } from "./etcd-store.ts";
import { RealEtcd, whyNoEtcd } from "./real-etcd.ts";
import { storeConformance } from "./store.conformance.ts";
import type { Store } from "./store.ts";

const DEADLINE_MS = 2_000;
const LOOK_MS = 50;
const READ = { compare: [], puts: [], reads: ["a"] };
const PUT = { compare: [], puts: [{ key: "a", value: "1" }], reads: [] };

let folder: string;
const stores: Store[] = [];
const warnings: string[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-certificates-"));
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(async () => {
  warnings.length = 0;
  for (const store of stores.splice(0)) await store.close();
});

async function open(options: EtcdStoreOptions): Promise<Store> {
  const store = await openEtcdStore({
    onWarning: (sentence) => warnings.push(sentence),
    ...options,
  });
  stores.push(store);
  return store;
}

describe.skipIf(whyNoEtcd() !== null)("an etcd with TLS that asks for certificates", () => {
  let etcd: RealEtcd;
  let good: { ca: string; cert: string; key: string };

  beforeAll(async () => {
    makeAuthority("ca");
    makeAuthority("other-ca");
    makeCertificate("ca", "server", "IP:127.0.0.1");
    makeCertificate("ca", "client", "DNS:client");
    makeCertificate("other-ca", "stranger", "DNS:stranger");
    etcd = await RealEtcd.start({
      members: 1,
      tls: { ca: pem("ca"), cert: pem("server"), key: keyOf("server") },
    });
    good = { ca: pem("ca"), cert: pem("client"), key: keyOf("client") };
  });
  afterAll(() => etcd.stop());

  let pools = 0;
  storeConformance("etcd with TLS", async () => {
    const prefix = `tls-${(pools += 1)}`;
    return {
      handle: () => openEtcdStore({ endpoints: etcd.urls, prefix, tls: good }),
      remove: async () => {},
    };
  });

  test("without the authority's file, its certificate is not trusted", async () => {
    const opening = open({ endpoints: etcd.urls, tls: { cert: good.cert, key: good.key } });
    await expect(opening).rejects.toThrow("--etcd-ca");
  });

  test("a certificate of another authority is refused", async () => {
    const tls = { ca: good.ca, cert: pem("stranger"), key: keyOf("stranger") };
    await expect(open({ endpoints: etcd.urls, tls })).rejects.toThrow("--etcd-cert");
  });

  test("no certificate of its own is refused", async () => {
    const opening = open({ endpoints: etcd.urls, tls: { ca: good.ca } });
    await expect(opening).rejects.toThrow("--etcd-cert");
  });

  test("a name that is not in its certificate is told", async () => {
    const endpoints = [etcd.urls[0]!.replace("127.0.0.1", "localhost")];
    await expect(open({ endpoints, tls: good })).rejects.toThrow("in its certificate");
  });

  test("http instead of https is told, and is no reason to wait", async () => {
    const endpoints = [etcd.urls[0]!.replace("https", "http")];
    const store = await open({ endpoints });
    expect(warnings.join()).toContain("https://");
    const outcome = await store.transact(READ, DEADLINE_MS);
    expect(outcome).toMatchObject({
      outcome: "unknown",
      reason: expect.stringContaining("https:"),
    });
  });

  test("files that are missing or don't go together are told", async () => {
    const missing = open({ endpoints: etcd.urls, tls: { ca: join(folder, "none.pem") } });
    await expect(missing).rejects.toThrow("none.pem");
    const mixed = { ca: good.ca, cert: pem("client"), key: keyOf("server") };
    await expect(open({ endpoints: etcd.urls, tls: mixed })).rejects.toThrow("go together");
    const half = { ca: good.ca, cert: pem("client") };
    await expect(open({ endpoints: etcd.urls, tls: half })).rejects.toThrow("--etcd-key together");
  });

  test("a renewed certificate is used for the next connection; files that don't fit are not", async () => {
    const proxy = await EtcdProxy.before(etcd.ports[0]!);
    const renew = (name: string): void => {
      copyFileSync(pem(name), pem("renewed"));
      copyFileSync(keyOf(name), keyOf("renewed"));
    };
    renew("client");
    const store = await open({
      endpoints: [proxy.url.replace("http:", "https:")],
      tls: { ca: good.ca, cert: pem("renewed"), key: keyOf("renewed") },
      certificatesLookMs: LOOK_MS,
    });
    const isServed = async (): Promise<boolean> =>
      (await store.transact(READ, DEADLINE_MS)).outcome === "applied";
    try {
      // The connection that stands goes on; the next one shows the stranger's, which etcd refuses.
      renew("stranger");
      await until(async () => {
        proxy.cut();
        const outcome = await store.transact(READ, DEADLINE_MS);
        return outcome.outcome === "unknown" && outcome.reason.includes("refuses this server's");
      });
      renew("client");
      await until(isServed);
      copyFileSync(keyOf("server"), keyOf("renewed"));
      await until(async () => warnings.join().includes("the old one stays in use"));
      proxy.cut();
      await until(isServed);
    } finally {
      proxy.close();
    }
  });
});

describe.skipIf(whyNoEtcd() !== null)("an etcd with users", () => {
  let etcd: RealEtcd;
  const asRoot = (...args: string[]): string =>
    etcdctl(etcd, "--user", "root:root-secret", ...args);
  const login = { user: "quorate", password: "secret", prefix: "mine" };

  beforeAll(async () => {
    etcd = await RealEtcd.start({ members: 1 });
    etcdctl(etcd, "user", "add", "root:root-secret");
    etcdctl(etcd, "user", "grant-role", "root", "root");
    etcdctl(etcd, "user", "add", "quorate:secret");
    etcdctl(etcd, "role", "add", "pool");
    etcdctl(
      etcd,
      "role",
      "grant-permission",
      "pool",
      "--prefix=true",
      "readwrite",
      "/quorate/mine/",
    );
    etcdctl(etcd, "user", "grant-role", "quorate", "pool");
    etcdctl(etcd, "user", "add", "reader:secret");
    etcdctl(etcd, "role", "add", "reading");
    etcdctl(etcd, "role", "grant-permission", "reading", "--prefix=true", "read", "/quorate/mine/");
    etcdctl(etcd, "user", "grant-role", "reader", "reading");
    etcdctl(etcd, "auth", "enable");
  });
  afterAll(() => etcd.stop());

  test("is used with the right password, watches included, and renews a token that died", async () => {
    const store = await open({ endpoints: etcd.urls, ...login });
    const told: string[] = [];
    store.watch("", 0, ({ key }) => told.push(key));
    expect((await store.transact(PUT, DEADLINE_MS)).outcome).toBe("applied");
    await expect.poll(() => told).toEqual(["a"]);
    // A member that starts again knows none of the tokens that it gave.
    await etcd.kill(0);
    etcd.startMember(0);
    await expect
      .poll(async () => (await store.transact(READ, DEADLINE_MS)).outcome, { timeout: 15_000 })
      .toBe("applied");
    const many = await Promise.all(
      Array.from({ length: 20 }, () => store.transact(PUT, DEADLINE_MS)),
    );
    expect(many.map(({ outcome }) => outcome)).toEqual(many.map(() => "applied"));
    await expect.poll(() => told.length, { timeout: 5_000 }).toBeGreaterThan(1);
  });

  test("refuses a wrong password, no user, and a user without the permission", async () => {
    const endpoints = etcd.urls;
    const wrong = open({ endpoints, ...login, password: "guess" });
    await expect(wrong).rejects.toThrow("--etcd-password-file");
    await expect(open({ endpoints, prefix: "mine" })).rejects.toThrow("--etcd-user");
    const elsewhere = open({ endpoints, ...login, prefix: "other" });
    await expect(elsewhere).rejects.toThrow("grant-permission");
    const reader = open({ endpoints, ...login, user: "reader" });
    await expect(reader).rejects.toThrow("grant-permission");
    await expect(open({ endpoints, user: "quorate" })).rejects.toThrow("together");
  });

  test("whose permission is taken away later makes outcomes unknown and says why", async () => {
    const store = await open({ endpoints: etcd.urls, ...login });
    asRoot("user", "revoke-role", "quorate", "pool");
    const outcome = await store.transact(PUT, DEADLINE_MS);
    asRoot("user", "grant-role", "quorate", "pool");
    expect(outcome).toMatchObject({ reason: expect.stringContaining("grant-permission") });
    expect((await store.transact(PUT, DEADLINE_MS)).outcome).toBe("applied");
  });
});

describe.skipIf(whyNoEtcd() !== null)("an etcd without users", () => {
  test("tells that the password guards nothing", async () => {
    const etcd = await RealEtcd.start({ members: 1 });
    try {
      const opening = open({ endpoints: etcd.urls, user: "quorate", password: "secret" });
      await expect(opening).rejects.toThrow("etcdctl auth enable");
    } finally {
      await etcd.stop();
    }
  });
});

describe("an address", () => {
  test("where nothing listens is waited for", async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address() as AddressInfo;
    closed.close();
    const store = await open({ endpoints: [`http://127.0.0.1:${port}`] });
    expect(warnings.join()).toContain("nothing listens at");
    expect(await store.transact(READ, 300)).toMatchObject({
      outcome: "unknown",
      reason: expect.stringContaining("nothing listens at"),
    });
  });

  test("of a web server is no etcd", async () => {
    const web = createHttpServer((_request, response) => response.end("hello")).listen(0);
    await once(web, "listening");
    const { port } = web.address() as AddressInfo;
    try {
      const opening = open({ endpoints: [`http://127.0.0.1:${port}`] });
      await expect(opening).rejects.toThrow("no etcd");
    } finally {
      web.close();
    }
  });

  test("whose name nobody knows is told", async () => {
    const opening = open({ endpoints: ["http://no-such-host.invalid:2379"] });
    await expect(opening).rejects.toThrow(/is not known/);
  });

  test("is read in one form, and a password in it is not repeated", () => {
    expect(parseEtcdStore("etcd:https://h1,http://[::1]:99/")).toEqual([
      "https://h1:2379",
      "http://[::1]:99",
    ]);
    expect(parseEtcdStore("sqlite:/x")).toBeNull();
    expect(() => parseEtcdStore("etcd:h1:2379")).toThrow("https://HOST:2379");
    expect(() => parseEtcdStore("etcd:https://user:secret@h1")).toThrow(/^(?!.*secret)/);
  });
});

async function until(look: () => Promise<boolean>): Promise<void> {
  await expect.poll(look, { timeout: 15_000, interval: LOOK_MS }).toBe(true);
}

function pem(name: string): string {
  return join(folder, `${name}.pem`);
}

function keyOf(name: string): string {
  return join(folder, `${name}-key.pem`);
}

function makeAuthority(name: string): void {
  openssl(
    [
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ["-days", "2", "-subj", `/CN=${name}`, "-keyout", keyOf(name), "-out", pem(name)],
    ].flat(),
  );
}

function makeCertificate(authority: string, name: string, alternativeName: string): void {
  const request = join(folder, `${name}.csr`);
  const extensions = join(folder, `${name}.ext`);
  const uses = "extendedKeyUsage=serverAuth,clientAuth";
  writeFileSync(extensions, `subjectAltName=${alternativeName}\n${uses}\n`);
  openssl(
    [
      ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ["-subj", `/CN=${name}`, "-keyout", keyOf(name), "-out", request],
    ].flat(),
  );
  openssl(
    [
      ["x509", "-req", "-in", request, "-CA", pem(authority), "-CAkey", keyOf(authority)],
      ["-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", pem(name)],
    ].flat(),
  );
  chmodSync(keyOf(name), 0o600);
}

function openssl(args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: "ignore" });
}

function etcdctl(etcd: RealEtcd, ...args: string[]): string {
  return execFileSync("etcdctl", ["--endpoints", etcd.urls[0]!, ...args], {
    env: { ...process.env, ETCDCTL_API: "3" },
    stdio: ["ignore", "pipe", "ignore"],
    encoding: "utf8",
  });
}
