/**
 * An older build of this repository for the rolling upgrade. As long as nothing was released, an older commit
 * stands for the older release: one that speaks the same between servers and writes the same into the store.
 * Its packages get a version of their own, so that both can be told apart.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The first that ran on several machines. */
const COMMIT = "3f36208";
const OLDER_VERSION = "0.0.9";
const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const MAIN = "packages/cli/src/main.ts";
const OWN_PACKAGES = "@quorate";

/** A clone without history has no older commit. */
export function whyNoOlderBuild(): string | null {
  const words = ["-C", ROOT, "cat-file", "-e", `${COMMIT}^{commit}`];
  if (spawnSync("git", words, { stdio: "ignore" }).status === 0) return null;
  return `the commit ${COMMIT} is not here (git fetch --unshallow)`;
}

/** Its `main.ts`. */
export function makeOlderBuild(folder: string): string {
  const build = join(folder, "older");
  mkdirSync(build);
  const archive = execFileSync("git", ["-C", ROOT, "archive", COMMIT, "packages"], {
    maxBuffer: 256 * 1024 * 1024,
  });
  execFileSync("tar", ["-x", "-C", build], { input: archive });
  const manifest = join(build, "packages/cli/package.json");
  const content = JSON.parse(readFileSync(manifest, "utf8")) as object;
  writeFileSync(manifest, JSON.stringify({ ...content, version: OLDER_VERSION }));
  linkModules(build);
  return join(build, MAIN);
}

/** The packages of others are this checkout's, those of this repository are the older ones. */
function linkModules(build: string): void {
  const [from, to] = [join(ROOT, "node_modules"), join(build, "node_modules")];
  mkdirSync(join(to, OWN_PACKAGES), { recursive: true });
  for (const name of readdirSync(from)) {
    if (name !== OWN_PACKAGES) symlinkSync(join(from, name), join(to, name));
  }
  for (const name of readdirSync(join(from, OWN_PACKAGES))) {
    const target = readlinkSync(join(from, OWN_PACKAGES, name));
    symlinkSync(resolve(to, OWN_PACKAGES, target), join(to, OWN_PACKAGES, name));
  }
}
