/**
 * Plants a mutant: a hook of Node's module loader changes the source before its types are stripped. It must
 * be called before anything of the production code is imported.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import { changesOf, mutantOf, mutated, type Change } from "./catalogue.ts";

const ROOT = new URL("../../../", import.meta.url);

export function sourceOf(change: Change): string {
  return readFileSync(fileURLToPath(new URL(change.file, ROOT)), "utf8");
}

export function plant(name: string): void {
  const changes = new Map<string, string>();
  for (const change of changesOf(mutantOf(name))) {
    const url = new URL(change.file, ROOT).href;
    changes.set(url, mutated(changes.get(url) ?? sourceOf(change), change));
  }
  registerHooks({
    load: (url, context, nextLoad) => {
      const source = changes.get(url);
      if (source === undefined) return nextLoad(url, context);
      return { format: "module-typescript", source, shortCircuit: true };
    },
  });
}
