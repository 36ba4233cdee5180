import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** What axe-core finds wrong with the page as it is now, one line each. */
export async function accessibilityMistakes(page: Page): Promise<string[]> {
  // Evaluated over the debugger, since the page's own policy lets no foreign script in.
  await page.evaluate(AXE);
  const results = await page.evaluate<AxeResults, readonly string[]>(
    (values) => window.axe.run({ runOnly: { type: "tag", values: [...values] } }),
    RULES,
  );
  return results.violations.flatMap(({ id, help, nodes }) =>
    nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 160)}`),
  );
}

declare global {
  interface Window {
    readonly axe: typeof import("axe-core");
  }
}
