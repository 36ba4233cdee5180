// `npm test`: installs the system packages that the tests need where that is possible, then runs every test.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NEEDED = [
  { command: "etcd", package: "etcd-server", for: "the etcd store's tests" },
  { command: "etcdctl", package: "etcd-client", for: "the etcd store's tests" },
  { command: "openssl", package: "openssl", for: "the etcd store's tests" },
  { command: "ip", package: "iproute2", for: "the tests of machines and networks" },
  { command: "iptables", package: "iptables", for: "the tests of machines and networks" },
  { command: "strace", package: "strace", for: "failing disk syncs in the journal's tests" },
  { command: "promtool", package: "prometheus", for: "checking the metrics and the alerts" },
  { command: "systemd-analyze", package: "systemd", for: "checking the unit of the guide" },
  { command: "chromium", package: "chromium", for: "the web console's tests" },
];

/** Characters of one failure that are told again at the end. */
const STORY_MAX = 3_000;

const missing = NEEDED.filter(({ command }) => spawnSync("which", [command]).status !== 0);
if (missing.length > 0) install(missing);

// Real processes with short leases beside busy simulations would starve: each kind has its own turn.
const TURNS = [
  {
    name: "rules, wire, server, SDK",
    paths: ["packages/core", "packages/protocol", "packages/server", "packages/client"],
  },
  {
    name: "console and command line",
    paths: ["packages/console", "packages/cli", "tests/audit.test.ts", "tests/console"],
  },
  { name: "real processes", paths: ["tests/e2e"] },
  { name: "machines and networks", paths: ["tests/faults"] },
  { name: "simulation", paths: ["tests/simulation"] },
];
const chosen = process.argv.slice(2);
const turns = chosen.length > 0 ? [{ name: "chosen", paths: chosen }] : TURNS;
const failed = [];
const stories = [];
const results = mkdtempSync(join(tmpdir(), "quorate-test-"));
for (const [index, { name, paths }] of turns.entries()) {
  const resultFile = join(results, `${index}.json`);
  console.log(`\ntest: ${name}: vitest run ${paths.join(" ")}`);
  const startedMs = Date.now();
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${resultFile}`];
  const { status } = spawnSync("node_modules/.bin/vitest", ["run", ...paths, ...reporters], {
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status !== 0) {
    failed.push(name);
    stories.push(...failuresIn(resultFile));
  }
  console.log(
    `test: ${name}: ${Math.round((Date.now() - startedMs) / 1_000)} s, exit code ${status}`,
  );
}
rmSync(results, { recursive: true, force: true });
// Again at the end, where a long log is read first.
for (const story of stories) console.log(`\n${story}`);
console.log(failed.length === 0 ? "\ntest: all passed" : `\ntest: failed: ${failed.join("; ")}`);
process.exit(failed.length === 0 ? 0 : 1);

/** What failed in a turn and why, from vitest's own report; each story is cut to what one reads. */
function failuresIn(resultFile) {
  let report;
  try {
    report = JSON.parse(readFileSync(resultFile, "utf8"));
  } catch {
    return ["test: the run ended without a report"];
  }
  return report.testResults.flatMap(({ name, message, assertionResults }) => {
    const tests = assertionResults.filter(({ status }) => status === "failed");
    const lines = tests.map(
      ({ fullName, failureMessages }) =>
        `test: FAILED ${name} > ${fullName}\n${failureMessages.join("\n").slice(0, STORY_MAX)}`,
    );
    return message ? [`test: FAILED ${name}\n${message.slice(0, STORY_MAX)}`, ...lines] : lines;
  });
}

function install(packages) {
  const names = packages.map((each) => each.package);
  const root = process.getuid?.() === 0;
  if (root && spawnSync("which", ["apt-get"]).status === 0) {
    console.log(`test: installing ${names.join(", ")} with apt-get …`);
    spawnSync("apt-get", ["update", "-qq"], { stdio: "inherit" });
    const done = spawnSync("apt-get", ["install", "-y", "-qq", ...names], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
    if (done.status === 0) return;
  }
  for (const { package: name, for: use } of packages) {
    console.error(
      `test: the system package "${name}" is missing (${use}). On Debian: apt-get install ${name}`,
    );
  }
  if (process.env.CI !== undefined) process.exit(1);
}
