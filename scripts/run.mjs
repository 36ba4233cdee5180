// Runs a file of this project under the Node it needs. It installs what the lock file names when that is
// missing, and falls back to the Node that npm installed when the machine's own is too old. It runs on any
// Node >= 20, so it is plain JavaScript without dependencies.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildConsole } from "./build-console.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MAJOR_MIN = 24;
/** What serves the console or looks at it; nothing else waits for its build. */
const CONSOLE_USERS = ["packages/cli/src/main.ts", "scripts/test.mjs"];
const STAMP = join(ROOT, "node_modules", ".installed-lock");

installWhatIsMissing();
if (CONSOLE_USERS.includes(process.argv[2] ?? "")) buildConsole(suitableNode());
const child = spawn(
  suitableNode(),
  ["--disable-warning=ExperimentalWarning", ...process.argv.slice(2)],
  {
    cwd: ROOT,
    stdio: "inherit",
    env: {
      ...process.env,
      PATH: join(ROOT, "node_modules", ".bin") + pathSeparator() + process.env.PATH,
    },
  },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  console.error(`quorate: cannot start Node: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
});

/**
 * `npm install` when the folder does not match the lock file; says so, because it takes a minute. Not `npm ci`: that
 * refuses a lock file without the bindings of platforms that a registry does not carry.
 */
function installWhatIsMissing() {
  const lock = createHash("sha256")
    .update(readFileSync(join(ROOT, "package-lock.json")))
    .digest("hex");
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === lock) return;
  console.error("quorate: installing the packages of package-lock.json (only the first time) …");
  const npm = spawnSync("npm", ["install", "--loglevel=error", "--no-audit", "--no-fund"], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
  });
  if (npm.status !== 0) {
    console.error(
      "quorate: npm install failed; see its message above. A network and npm are needed once.",
    );
    process.exit(1);
  }
  writeFileSync(STAMP, lock);
}

function suitableNode() {
  if (Number(process.versions.node.split(".")[0]) >= NODE_MAJOR_MIN) return process.execPath;
  const installed = join(
    ROOT,
    "node_modules",
    ".bin",
    process.platform === "win32" ? "node.cmd" : "node",
  );
  if (existsSync(installed)) return installed;
  console.error(
    `quorate: Node ${NODE_MAJOR_MIN} or newer is needed, this is ${process.version}, and no package brings one ` +
      `for ${process.platform}-${process.arch}. Install Node ${NODE_MAJOR_MIN} and try again.`,
  );
  return process.exit(1);
}

function pathSeparator() {
  return process.platform === "win32" ? ";" : ":";
}
