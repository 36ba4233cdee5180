/**
 * The procedures of docs/operating.md, word for word as commands: three servers with TLS and an etcd member each
 * (on loopback, where ports stand in for machines), backup and restore, two of three lost, one machine to three.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { heartbeatMs } from "@quorate/core";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cli, type Program } from "@quorate/e2e/server-process";
import { waitFor } from "@quorate/e2e/wait";
import { describe, expect, onTestFailed, test } from "vitest";
import { freePortOfTwo } from "../../../packages/server/src/store/real-etcd.ts";

const READY_MS_MAX = 60_000;
const TEST_MS_MAX = 240_000;
const LIFE_MS = 30_000;
const SEATS = 4;
/** After a rebuild every seat is kept back for the longest life, at least the default one, and two leases' waits. */
const REBUILD_MS = 110_000;

describe.skipIf(isSkipped())("operating", { timeout: TEST_MS_MAX, concurrent: true }, () => {
  test("three machines from nothing; backup and restore of the store", async () => {
    await using site = await Site.make(["a", "b", "c"]);
    await site.startAll();
    await site.holdsASeat();
    site.etcdctl("a", "snapshot", "save", site.at("backup.db"));
    await site.stopAll();
    for (const id of site.ids) {
      rmSync(site.etcdData(id), { recursive: true });
      site.restore(id, site.at("backup.db"));
    }
    site.launchAll();
    await site.rebuiltIfAsked();
    await site.holdsASeat(REBUILD_MS);
  });

  test("two of three lost for good: the last one's etcd goes on alone, then with a new machine", async () => {
    await using site = await Site.make(["a", "b", "c"]);
    await site.startAll();
    await site.lose("b");
    await site.lose("c");
    await site.stop("a");
    copyFileSync(join(site.etcdData("a"), "member", "snap", "db"), site.at("last.db"));
    rmSync(site.etcdData("a"), { recursive: true });
    site.restore("a", site.at("last.db"), ["a"], ["--skip-hash-check"]);
    site.launch("a", [], site.managed(["a"]));
    await site.member("b");
    site.launch("b", ["--etcd-replaces", "b"], site.managed(["a", "b"]));
    await Promise.all([site.ready("a"), site.ready("b")]);
    await site.holdsASeat();
    await site.member("c");
    site.launch("c", ["--etcd-replaces", "c"], site.managed(["a", "b", "c"]));
    await site.ready("c");
    await site.holdsASeat();
  });

  test("from one machine to three, with every seat in use", async () => {
    await using site = await Site.make(["a", "b", "c"]);
    await site.sign(2, 3);
    await site.sign(1, 1);
    const before = `sqlite:${site.at("store.db")}`;
    site.launch("a", [], before);
    await site.ready("a");
    const programs = Array.from({ length: SEATS }, () => site.program());
    await waitFor("every seat is in use", () => site.running() === SEATS, READY_MS_MAX);
    await site.stop("a");
    site.launch("a", ["--store-from", before], site.managed(["a"]));
    await site.ready("a");
    const larger = ["--license", site.at("license-2.json")];
    site.launch("b", [...larger, "--etcd-replaces", "b"], site.managed(["a", "b"]));
    await site.ready("b");
    site.launch("c", [...larger, "--etcd-replaces", "c"], site.managed(["a", "b", "c"]));
    await site.ready("c");
    // From now on any one of them may die.
    await site.stop("a");
    await site.serveAll(programs);
    writeFileSync(site.at("done"), "");
    for (const program of programs) {
      expect(await program.ended(), program.stderr).toBe(0);
      expect(program.stderr).not.toContain("lost");
    }
    await site.holdsASeat();
  });
});

function isSkipped(): boolean {
  const missing = ["etcd", "etcdctl", "openssl"].find(
    (command) => spawnSync("which", [command]).status !== 0,
  );
  if (missing === undefined) return false;
  if (process.env["CI"] !== undefined) throw new Error(`${missing} is not installed`);
  console.log(`skipped: ${missing} is not installed`);
  return true;
}

class Site implements AsyncDisposable {
  readonly ids: readonly string[];
  readonly folder: string;
  readonly #ports: ReadonlyMap<string, { readonly https: number; readonly etcd: number }>;
  readonly #servers = new Map<string, Program>();
  #store: string;

  static async make(ids: readonly string[]): Promise<Site> {
    const ports = new Map<string, { https: number; etcd: number }>();
    for (const id of ids)
      ports.set(id, { https: await freePortOfTwo(), etcd: await freePortOfTwo() });
    const site = new Site(ids, ports);
    await site.#prepare();
    return site;
  }

  private constructor(
    ids: readonly string[],
    ports: ReadonlyMap<string, { readonly https: number; readonly etcd: number }>,
  ) {
    this.ids = ids;
    this.#ports = ports;
    this.folder = mkdtempSync(join(tmpdir(), "quorate-operating-"));
    this.#store = this.managed(ids);
    onTestFailed(() => {
      for (const [id, program] of this.#servers) console.error(`${id}: ${program.stderr}`);
    });
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  managed(ids: readonly string[]): string {
    const members = ids.map((id) => `${id}=https://127.0.0.1:${this.#etcdPort(id) + 1}`);
    return `etcd+managed:${members.join(",")}`;
  }

  #etcdPort(id: string): number {
    return this.#ports.get(id)!.etcd;
  }

  urlOf(id: string): string {
    return `https://127.0.0.1:${this.#ports.get(id)!.https}`;
  }

  get asAdministrator(): string[] {
    const servers = this.ids.map((id) => this.urlOf(id)).join(",");
    const token = ["--admin-token-file", this.at("admin.token")];
    return ["--servers", servers, "--ca", this.at("ca.pem"), ...token];
  }

  async #prepare(): Promise<void> {
    this.#certificates();
    writeFileSync(this.at("admin.token"), "administrator-of-the-test", { mode: 0o600 });
    await this.quorate("vendor", "keygen", "--out", this.at("vendor"));
    await this.quorate("pool", "keygen", "--out", this.at("pool"));
    await this.sign(1, this.ids.length);
    for (const id of this.ids) await this.member(id);
  }

  async member(id: string): Promise<void> {
    const key = ["--pool-key", this.at("pool/pool.key")];
    await this.quorate("member", "id", "--data", this.at(id), "--id", id, ...key);
  }

  async sign(sequence: number, size: number): Promise<void> {
    const key = execFileSync("cat", [this.at("pool/pool.pub")], { encoding: "utf8" }).trim();
    const request = {
      quorate: 1,
      id: `TEST-${sequence}`,
      vendor: "Vendor",
      customer: "Customer",
      sequence,
      pool: { name: "operating", size, key },
      features: [{ name: "cad", version: "2026.1", seats: SEATS, lifeMs: LIFE_MS }],
    };
    writeFileSync(this.at("request.json"), JSON.stringify(request));
    const out = ["--out", this.at(`license-${sequence}.json`)];
    const secret = ["--key", this.at("vendor/vendor.key")];
    await this.quorate("vendor", "sign", this.at("request.json"), ...secret, ...out);
  }

  #certificates(): void {
    const openssl = (...args: string[]): void => {
      execFileSync("openssl", args, { cwd: this.folder, stdio: "ignore" });
    };
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl(
      "req",
      "-x509",
      ...curve,
      "-days",
      "2",
      "-subj",
      "/CN=pool authority",
      "-keyout",
      "ca.key",
      "-out",
      "ca.pem",
    );
    openssl(
      "req",
      ...curve,
      "-subj",
      "/CN=license server",
      "-keyout",
      "server.key",
      "-out",
      "server.csr",
    );
    writeFileSync(
      this.at("server.ext"),
      "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
    );
    openssl(
      "x509",
      "-req",
      "-in",
      "server.csr",
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-days",
      "2",
      "-extfile",
      "server.ext",
      "-out",
      "server.pem",
    );
  }

  // ---- processes ------------------------------------------------------------------------------------

  launch(id: string, more: readonly string[] = [], store = this.#store): Program {
    const words = [
      ["--data", this.at(id), "--listen", `127.0.0.1:${this.#ports.get(id)!.https}`],
      ["--store", store, "--vendor-key", this.at("vendor/vendor.pub")],
      ["--license", this.at("license-1.json"), "--admin-token-file", this.at("admin.token")],
      ["--tls-cert", this.at("server.pem"), "--tls-key", this.at("server.key")],
      ["--tls-ca", this.at("ca.pem"), store.startsWith("etcd") ? this.#etcdTls : []].flat(),
      more,
    ];
    const program = cli(["serve", ...words.flat()]);
    this.#servers.set(id, program);
    return program;
  }

  get #etcdTls(): string[] {
    const own = ["--etcd-cert", this.at("server.pem"), "--etcd-key", this.at("server.key")];
    return ["--etcd-ca", this.at("ca.pem"), ...own];
  }

  launchAll(): void {
    for (const id of this.ids) this.launch(id);
  }

  async startAll(): Promise<void> {
    this.launchAll();
    await Promise.all(this.ids.map((id) => this.ready(id)));
  }

  async ready(id: string): Promise<void> {
    const program = this.#servers.get(id)!;
    await waitFor(`${id} grants`, () => program.stdout.includes('"ready":true'), READY_MS_MAX);
  }

  async stop(id: string): Promise<void> {
    const program = this.#servers.get(id)!;
    program.signal("SIGTERM");
    await program.ended(30_000);
  }

  /** The machine with all that is on it. */
  async lose(id: string): Promise<void> {
    const claim = readFileSync(join(this.at(id), "etcd", "quorate-etcd.json"), "utf8");
    const { etcd } = JSON.parse(claim) as { readonly etcd: { readonly pid: number } };
    await this.#servers.get(id)!.kill();
    process.kill(etcd.pid, "SIGKILL");
    rmSync(this.at(id), { recursive: true, force: true });
  }

  async stopAll(): Promise<void> {
    for (const program of this.#servers.values()) program.signal("SIGTERM");
    for (const program of this.#servers.values()) expect(await program.ended(30_000)).toBe(0);
  }

  /** Some server's log asks for it. */
  asksForRebuild(): boolean {
    return [...this.#servers.values()].some(({ stderr }) => stderr.includes("pool rebuild"));
  }

  /** A store as old as the servers' last note of it is taken for the same; an older one is not. */
  async rebuiltIfAsked(): Promise<void> {
    const grants = (): boolean =>
      [...this.#servers.values()].every(({ stdout }) => stdout.includes('"ready":true'));
    await waitFor(
      "the servers grant or ask",
      () => this.asksForRebuild() || grants(),
      READY_MS_MAX,
    );
    if (this.asksForRebuild()) {
      await this.quorate("pool", "rebuild", "--yes", ...this.asAdministrator);
    }
  }

  // ---- commands -------------------------------------------------------------------------------------

  async quorate(...words: readonly string[]): Promise<string> {
    const program = cli(words);
    const code = await program.ended(READY_MS_MAX);
    if (code !== 0) throw new Error(`quorate ${words.join(" ")}: ${code} ${program.stderr}`);
    return program.stdout;
  }

  /** `quorate run` gets a seat for a program that ends at once. */
  async holdsASeat(timeoutMs = READY_MS_MAX): Promise<void> {
    const servers = this.ids.map((id) => this.urlOf(id)).join(",");
    const seat = ["--servers", servers, "--feature", "cad", "--wait", `${timeoutMs / 1_000}s`];
    const program = cli(["run", ...seat, "--", "true"], { QUORATE_CA: this.at("ca.pem") });
    expect(await program.ended(timeoutMs + READY_MS_MAX), program.stderr).toBe(0);
  }

  /** A protected program, at work until the file `done` is there; it says so with a file of its own. */
  program(): Program {
    const servers = this.ids.map((id) => this.urlOf(id)).join(",");
    const seat = ["--servers", servers, "--feature", "cad", "--wait", "60s"];
    const work = `touch running-$$; until [ -e done ]; do sleep 0.1; done`;
    const words = ["run", ...seat, "--", "sh", "-c", `cd ${this.folder}; ${work}`];
    return cli(words, { QUORATE_CA: this.at("ca.pem") });
  }

  running(): number {
    return readdirSync(this.folder).filter((name) => name.startsWith("running-")).length;
  }

  /** Each heartbeat since now was answered: two intervals without a warning. */
  async serveAll(programs: readonly Program[]): Promise<void> {
    const untilMs = performance.now() + 2 * heartbeatMs(LIFE_MS);
    await waitFor("two heartbeats", () => performance.now() > untilMs, READY_MS_MAX);
    for (const program of programs) expect(program.runs, program.stderr).toBe(true);
  }

  etcdData(id: string): string {
    return join(this.at(id), "etcd", "data");
  }

  etcdctl(id: string, ...words: readonly string[]): void {
    const tls = ["--cacert", this.at("ca.pem"), "--cert", this.at("server.pem")];
    const at = ["--endpoints", `https://127.0.0.1:${this.#etcdPort(id)}`];
    execFileSync("etcdctl", [...at, ...tls, "--key", this.at("server.key"), ...words], {
      env: { ...process.env, ETCDCTL_API: "3" },
      stdio: ["ignore", "ignore", "inherit"],
    });
  }

  /** The etcd folder of a server, from a backup, as a member of these. */
  restore(id: string, backup: string, ids = this.ids, more: readonly string[] = []): void {
    mkdirSync(join(this.at(id), "etcd"), { recursive: true });
    const peer = (each: string): string => `https://127.0.0.1:${this.#etcdPort(each) + 1}`;
    const words = [
      ["snapshot", "restore", backup, "--name", id, "--data-dir", this.etcdData(id)],
      ["--initial-cluster", ids.map((each) => `${each}=${peer(each)}`).join(",")],
      ["--initial-advertise-peer-urls", peer(id), ...more],
    ];
    execFileSync("etcdctl", words.flat(), {
      env: { ...process.env, ETCDCTL_API: "3" },
      stdio: ["ignore", "ignore", "inherit"],
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.#servers.values()) {
      if (program.runs) program.signal("SIGTERM");
    }
    for (const program of this.#servers.values()) {
      await program.ended(30_000).catch(() => program.kill());
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
