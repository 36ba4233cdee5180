// `npm run check`: the one gate, here and in CI. Every tool prints what it says; the first failure does not
// hide the others.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";

const TYPED = [
  "packages/core",
  "packages/protocol",
  "packages/server",
  "packages/client",
  "packages/cli",
  "packages/console",
  "tests/simulation",
  "tests/e2e",
  "tests/console",
  "tests/faults",
  "bench",
];
const steps = [
  { name: "format", command: "oxfmt", args: ["--check", "."] },
  ...TYPED.filter(
    (folder) =>
      existsSync(folder) &&
      readdirSync(folder, { recursive: true }).some((f) => /\.tsx?$/.test(String(f))),
  ).map((folder) => ({ name: `types of ${folder}`, command: "tsc", args: ["-p", folder] })),
  { name: "types of the unit tests", command: "tsc", args: ["-p", "tsconfig.tests.json"] },
  {
    name: "lint, type-aware: purity of core, directions of imports",
    command: "oxlint",
    args: ["--deny-warnings"],
  },
  { name: "dead code", command: "knip", args: [] },
  { name: "known holes in packages", command: "node", args: ["scripts/audit.mjs"] },
];
const failed = [];
for (const { name, command, args } of steps) {
  console.log(`\n== ${name}: ${[command, ...args].join(" ")}`);
  const { status } = spawnSync(command, args, {
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status !== 0) failed.push(name);
}
console.log(failed.length === 0 ? "\ncheck: all passed" : `\ncheck: failed: ${failed.join("; ")}`);
process.exit(failed.length === 0 ? 0 : 1);
