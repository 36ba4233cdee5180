import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

export const CONSOLE_FOLDER = join(ROOT, "packages", "console", "dist");

/** Builds the console unless it is there and of these sources, as `npm start` and `npm test` do. */
export function buildConsole(): void {
  const script = join(ROOT, "scripts", "build-console.mjs");
  const built = spawnSync(process.execPath, [script], { encoding: "utf8" });
  if (built.status !== 0) throw new Error(`the console was not built: ${built.stderr}`);
}

/** What a browser downloads for the first page, compressed. */
export function compressedBytes(): number {
  const assets = join(CONSOLE_FOLDER, "assets");
  const files = [
    join(CONSOLE_FOLDER, "index.html"),
    ...readdirSync(assets).map((each) => join(assets, each)),
  ];
  return files.reduce((total, file) => total + gzipSync(readFileSync(file)).length, 0);
}
