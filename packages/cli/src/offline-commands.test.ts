import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { certificateBytes, parseCertificate } from "@quorate/protocol";
import { verify } from "@quorate/server/keys";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { idOfHost } from "./commands/member.ts";

const BIN = fileURLToPath(new URL("../bin/quorate.js", import.meta.url));
const TOKEN = "administrator-token";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-cli-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("quorate vendor", () => {
  it("makes keys once and signs a license that shows and verifies", async () => {
    expect(await quorate("vendor keygen --out keys")).toMatchObject({ code: 0 });
    expect(statSync(at("keys/vendor.key")).mode & 0o777).toBe(0o600);
    const again = await quorate("vendor keygen --out keys");
    expect(again).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^quorate: .*not overwritten.*\n$/),
    });

    writeDocument({ extra: true });
    const signed = await quorate("vendor sign doc.json --key keys/vendor.key --out lic.json");
    expect(signed).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/extra is unknown to this version/),
    });
    const license = jsonOf(readFileSync(at("lic.json"), "utf8"));
    expect(license).toMatchObject({
      pool: { size: 1 },
      issued: expect.stringMatching(/^20\d\d-/),
      extra: true,
    });

    const key = "--vendor-key keys/vendor.pub";
    const verified = await quorate(`license verify lic.json ${key} --json`);
    expect(jsonOf(verified.stdout)).toMatchObject({ valid: true, sequence: 5, pool: "main" });
    const shown = await quorate(`license show lic.json ${key}`);
    expect(shown.stdout).toMatch(/signature +valid/);
    expect(shown.stdout).toMatch(/cad +2026\.1 +10/);
  });

  it.each<[string, object, RegExp]>([
    [
      "without seats",
      { features: [{ name: "cad", version: "1" }] },
      /features\[0\]\.seats must be/,
    ],
    [
      "that has expired",
      { features: [{ name: "cad", version: "1", seats: 1, expires: "2020-01-01T00:00:00Z" }] },
      /cad has expired already/,
    ],
    [
      "that is spread over more members than the pool has",
      { features: [{ name: "cad", version: "1", seats: 9, spread: { a: 1, b: 1 } }] },
      /spread over 2 members, the pool has 1/,
    ],
  ])("refuses to sign a license %s", async (_title, changes, sentence) => {
    await quorate("vendor keygen --out keys");
    writeDocument(changes);
    const refused = await quorate("vendor sign doc.json --key keys/vendor.key --out lic.json");
    expect(refused).toMatchObject({ code: 5, stderr: expect.stringMatching(sentence) });
    expect(existsSync(at("lic.json"))).toBe(false);
  });
});

describe("quorate license", () => {
  it("verify fails for a changed license and for another vendor's key", async () => {
    await signLicense(5);
    await quorate("vendor keygen --out others");
    const other = await quorate("license verify 5.json --vendor-key others/vendor.pub");
    expect(other).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/not by the vendor's key.*license-invalid/),
    });
    writeFileSync(at("5.json"), readFileSync(at("5.json"), "utf8").replace("10", "11"));
    const changed = await quorate("license verify 5.json", { QUORATE_VENDOR_KEY: vendorKey() });
    expect(changed).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/changed after it was signed/),
    });
    expect(await quorate("license verify 5.json")).toMatchObject({ code: 2 });
  });

  it("install on a stopped member takes only a newer one", async () => {
    await signLicense(5);
    await signLicense(6);
    await signLicense(6, { customer: "Another" }, "6b.json");
    const early = await quorate("license install 5.json --data data");
    expect(early).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/make the member first/),
    });
    await quorate("member id --data data --id a");
    const env = { QUORATE_VENDOR_KEY: at("keys/vendor.pub") };
    const install = (file: string): Promise<Run> =>
      quorate(`license install ${file} --data data`, env);
    expect(await install("5.json")).toMatchObject({ code: 0, stderr: "" });
    expect(await install("6.json")).toMatchObject({ code: 0, stderr: "" });
    expect(await install("6.json")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/installed already/),
    });
    expect(await install("5.json")).toMatchObject({
      code: 7,
      stderr: expect.stringMatching(/license-older/),
    });
    expect(await install("6b.json")).toMatchObject({
      code: 8,
      stderr: expect.stringMatching(/license-conflict/),
    });
    expect(readFileSync(at("data/license.json"), "utf8")).toBe(readFileSync(at("6.json"), "utf8"));
    expect(existsSync(at("data/license-5.backup.json"))).toBe(true);
  });

  it("install in a folder has its lines in the audit log, and is refused while the member lives", async () => {
    await signLicense(6);
    await signLicense(7);
    await quorate("member id --data data --id a");
    const env = { QUORATE_VENDOR_KEY: at("keys/vendor.pub") };
    await quorate("license install 6.json --data data", env);
    const shown = await quorate("audit show --data data --json");
    const { entries } = JSON.parse(shown.stdout) as { entries: Record<string, unknown>[] };
    const fact = { role: "local", what: "license-install", who: expect.stringMatching(/./) };
    expect(entries).toMatchObject([
      { ...fact, details: { sequence: 6 }, outcome: "begun" },
      { ...fact, details: { sequence: 6 }, outcome: "done" },
    ]);
    const lock = new DatabaseSync(at("data/lock.db"));
    lock.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    const live = await quorate("license install 7.json --data data", env);
    lock.close();
    expect(live).toMatchObject({ code: 6, stdout: "" });
    expect(live.stderr).toMatch(/is running/);
    expect(await quorate("audit verify --data data")).toMatchObject({ code: 0 });
  });

  it("install in a running pool sends the document and tells what the server says", async () => {
    await signLicense(5);
    writeFileSync(at("token"), `${TOKEN}\n`);
    const requests: unknown[] = [];
    const problem = { status: 409, code: "license-older", detail: "The pool has sequence 9." };
    const answers: { status: number; body: object }[] = [
      { status: 200, body: { sequence: 5 } },
      { status: 409, body: problem },
    ];
    const { server, url } = await listen(async (request) => {
      requests.push(request);
      return answers.shift() ?? { status: 500, body: {} };
    });
    const { server: dead, url: deadUrl } = await listen(async () => ({ status: 500, body: {} }));
    await close(dead);
    try {
      const env = { QUORATE_SERVERS: `${deadUrl}, ${url}`, QUORATE_ADMIN_TOKEN_FILE: at("token") };
      const done = await quorate("license install 5.json", env);
      expect(done).toMatchObject({ code: 0, stdout: `installed sequence 5 through ${url}\n` });
      expect(requests[0]).toMatchObject({
        method: "PUT",
        url: "/v1/license",
        authorization: `Bearer ${TOKEN}`,
        body: readFileSync(at("5.json"), "utf8"),
      });
      const flags = `--server ${url} --admin-token-file token`;
      const older = await quorate(`license install 5.json ${flags}`);
      expect(older).toMatchObject({
        code: 7,
        stderr: expect.stringMatching(/The pool has sequence 9\. \(license-older\)/),
      });
      const down = await quorate(`license install 5.json --server ${deadUrl}`, env);
      expect(down).toMatchObject({
        code: 4,
        stderr: expect.stringMatching(/no server answered: .*ECONNREFUSED/),
      });
    } finally {
      await close(server);
    }
  });
});

describe("quorate member id", () => {
  it("makes a member once and certifies it with the pool's key", async () => {
    const made = await quorate("member id --data data --id a --json");
    expect(jsonOf(made.stdout)).toMatchObject({ id: "a", certifiedBy: null });
    await quorate("pool keygen --out pool");
    const poolKey = readFileSync(at("pool/pool.pub"), "utf8").trim();
    const certified = await quorate("member id --data data --pool-key pool/pool.key");
    expect(certified.stdout).toContain(poolKey);
    const { certificate } = jsonOf(readFileSync(at("data/member.json"), "utf8"));
    const parsed = parseCertificate(certificate);
    if (parsed === null) throw new Error("the certificate has its shape");
    expect(verify(poolKey, certificateBytes(parsed), parsed.signature.value)).toBe(true);
    expect(await quorate("member id --data data --id b")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/belongs to member a, not b/),
    });
  });

  it("makes an id of any host name", () => {
    expect(idOfHost("node-1.example.com")).toBe("node-1.example.com");
    expect(idOfHost("_büro pc")).toBe("b-ro-pc");
    expect(idOfHost("…")).toBe("member");
    expect(idOfHost("a".repeat(300))).toHaveLength(128);
  });
});

describe("a wrong command line", () => {
  it.each(["", "nonsense", "license", "license verify", "vendor sign x --frob"])(
    "%s ends with code 2 and no stack",
    async (line) => {
      const { code, stderr } = await quorate(line);
      expect(code).toBe(2);
      expect(stderr).not.toContain("    at ");
    },
  );

  it("asking for help is not wrong, and help tells the exit codes", async () => {
    const help = await quorate("--help");
    expect(help).toMatchObject({ code: 0, stdout: expect.stringMatching(/6 {2}another process/) });
    expect(await quorate("license --help")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/install/),
    });
  });
});

describe("on a Node that is too old", () => {
  const old = olderNode();
  it.skipIf(old === null)("starts the Node of the project, with its exit code", async () => {
    expect(await quorate("member id --data data --id a", {}, old ?? "")).toMatchObject({ code: 0 });
    expect(await quorate("nonsense", {}, old ?? "")).toMatchObject({ code: 2 });
  });
});

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function quorate(
  line: string,
  env: Record<string, string> = {},
  node: string = process.execPath,
): Promise<Run> {
  const words = line === "" ? [] : line.split(" ");
  const { PATH = "" } = process.env;
  return new Promise((resolve) => {
    const child = execFile(
      node,
      [BIN, ...words],
      { cwd: folder, env: { PATH, ...env }, timeout: 20_000 },
      (_error, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

async function signLicense(
  sequence: number,
  changes = {},
  out = `${sequence}.json`,
): Promise<void> {
  if (!existsSync(at("keys"))) await quorate("vendor keygen --out keys");
  writeDocument({ sequence, issued: "2026-01-01T00:00:00Z", ...changes });
  await quorate(`vendor sign doc.json --key keys/vendor.key --out ${out}`);
}

function writeDocument(changes: object): void {
  const document = {
    quorate: 1,
    id: "L-1",
    vendor: "Acme",
    customer: "Customer",
    sequence: 5,
    pool: { name: "main" },
    features: [{ name: "cad", version: "2026.1", seats: 10 }],
    ...changes,
  };
  writeFileSync(at("doc.json"), JSON.stringify(document));
}

function vendorKey(): string {
  return readFileSync(at("keys/vendor.pub"), "utf8").trim();
}

function at(name: string): string {
  return join(folder, name);
}

function jsonOf(text: string): Record<string, unknown> {
  return JSON.parse(text);
}

function listen(
  answer: (request: object) => Promise<{ status: number; body: object }>,
): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      const { method, url, headers } = request;
      void answer({ method, url, authorization: headers.authorization, body }).then((made) => {
        response.writeHead(made.status, { "content-type": "application/problem+json" });
        response.end(JSON.stringify(made.body));
      });
    });
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" ? address?.port : 0;
      resolve({ server, url: `http://127.0.0.1:${port}` });
    });
  });
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

/** A Node below 24 on this machine's path, for the test of the second start. */
function olderNode(): string | null {
  for (const path of (process.env["PATH"] ?? "").split(delimiter)) {
    const file = join(path, "node");
    if (!existsSync(file)) continue;
    const version = execFileSync(file, ["--version"], { encoding: "utf8" });
    if (Number(/^v(\d+)/.exec(version)?.[1]) < 24) return file;
  }
  return null;
}
