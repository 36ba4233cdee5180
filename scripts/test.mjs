// `npm test`: installs the system packages that the tests need where that is possible, then runs every test.
import { spawnSync } from "node:child_process";

const NEEDED = [
  { command: "etcd", package: "etcd-server", for: "the etcd store's tests" },
  { command: "etcdctl", package: "etcd-client", for: "the etcd store's tests" },
  { command: "openssl", package: "openssl", for: "the etcd store's tests" },
  { command: "ip", package: "iproute2", for: "the tests of machines and networks" },
  { command: "iptables", package: "iptables", for: "the tests of machines and networks" },
  { command: "strace", package: "strace", for: "failing disk syncs in the journal's tests" },
  { command: "promtool", package: "prometheus", for: "checking the metrics and the alerts" },
  { command: "chromium", package: "chromium", for: "the web console's tests" },
];

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
    paths: ["packages/console", "packages/cli", "tests/console"],
  },
  { name: "real processes", paths: ["tests/e2e"] },
  { name: "machines and networks", paths: ["tests/faults"] },
  { name: "simulation", paths: ["tests/simulation"] },
];
const chosen = process.argv.slice(2);
const turns = chosen.length > 0 ? [{ name: "chosen", paths: chosen }] : TURNS;
const failed = [];
for (const { name, paths } of turns) {
  console.log(`\ntest: ${name}: vitest run ${paths.join(" ")}`);
  const startedMs = Date.now();
  const { status } = spawnSync("node_modules/.bin/vitest", ["run", ...paths], {
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status !== 0) failed.push(name);
  console.log(
    `test: ${name}: ${Math.round((Date.now() - startedMs) / 1_000)} s, exit code ${status}`,
  );
}
console.log(failed.length === 0 ? "\ntest: all passed" : `\ntest: failed: ${failed.join("; ")}`);
process.exit(failed.length === 0 ? 0 : 1);

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
