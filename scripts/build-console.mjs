// Builds the web console into packages/console/dist when its sources are newer than what is there: a second or
// two, only the first time. A server without a console serves everything else, so a failure is told and nothing
// more. `node scripts/build-console.mjs` builds it by hand.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const CONSOLE = join(ROOT, "packages", "console");
const DIST = join(CONSOLE, "dist");
const STAMP = join(DIST, ".built-from");
/** Everything that ends up in the bundle, or decides how. */
const SOURCES = [
  join(CONSOLE, "src"),
  join(CONSOLE, "index.html"),
  join(CONSOLE, "package.json"),
  join(CONSOLE, "vite.config.ts"),
  join(ROOT, "packages", "core", "src"),
  join(ROOT, "packages", "protocol", "src"),
];

/** True when the console is there and of these sources. */
export function buildConsole(node = process.execPath) {
  const sources = hashOfSources();
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === sources) return true;
  // Built beside and then moved: two builds at a time, or a server that starts meanwhile, see no half of one.
  const fresh = join(ROOT, "node_modules", `.console-${process.pid}`);
  const vite = join(ROOT, "node_modules", "vite", "bin", "vite.js");
  const built = spawnSync(node, [vite, "build", "--logLevel", "error", "--outDir", fresh], {
    cwd: CONSOLE,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (built.status !== 0) {
    console.error("quorate: the web console could not be built; the servers run without it.");
    rmSync(fresh, { recursive: true, force: true });
    return false;
  }
  writeFileSync(join(fresh, ".built-from"), sources);
  rmSync(DIST, { recursive: true, force: true });
  try {
    renameSync(fresh, DIST);
  } catch {
    // Another build of the same sources was faster by a moment.
    rmSync(fresh, { recursive: true, force: true });
  }
  return true;
}

function hashOfSources() {
  const hash = createHash("sha256");
  for (const source of SOURCES) {
    const files = /\.\w+$/.test(source)
      ? [source]
      : readdirSync(source, { recursive: true })
          .map((name) => join(source, String(name)))
          .filter((name) => /\.(tsx?|css|svg)$/.test(name) && !name.includes(".test."))
          .sort();
    for (const file of files) hash.update(file.slice(ROOT.length)).update(readFileSync(file));
  }
  return hash.digest("hex");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(buildConsole() ? 0 : 1);
