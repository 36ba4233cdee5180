/** The system's Chromium, without a window and without anything that calls home. */
import { accessSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BrowserContext, chromium, type Page } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];
const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const WAIT_MS_MAX = 15_000;

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** Where the tests leave pictures of what they saw; not part of the repository. */
const PICTURES = fileURLToPath(new URL("../dist/pictures/", import.meta.url));

export class Browser {
  readonly #context: BrowserContext;
  readonly #folder: string;
  /** What the pages said on their consoles as errors, and what they threw. */
  readonly complaints: string[] = [];

  static async launch(): Promise<Browser> {
    const folder = mkdtempSync(join(tmpdir(), "quorate-console-"));
    const context = await chromium.launchPersistentContext(folder, {
      executablePath: executable(),
      args: ARGS,
      viewport: DESKTOP,
      colorScheme: "light",
      locale: "en-GB",
    });
    context.setDefaultTimeout(WAIT_MS_MAX);
    return new Browser(context, folder);
  }

  private constructor(context: BrowserContext, folder: string) {
    this.#context = context;
    this.#folder = folder;
  }

  async page(): Promise<Page> {
    const page = await this.#context.newPage();
    page.on("pageerror", (error) => this.complaints.push(`thrown: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(message.text());
    });
    return page;
  }

  async close(): Promise<void> {
    await this.#context.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A picture for people, in light and dark. */
export async function picture(page: Page, name: string): Promise<void> {
  mkdirSync(PICTURES, { recursive: true });
  for (const colorScheme of ["dark", "light"] as const) {
    await page.emulateMedia({ colorScheme });
    // Charts are drawn anew in the other colours.
    await page.evaluate(
      () =>
        new Promise((resolve) => {
          requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve)));
        }),
    );
    await page.screenshot({ path: join(PICTURES, `${name}-${colorScheme}.png`) });
  }
}

function executable(): string {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    for (const name of NAMES) {
      const path = join(folder, name);
      try {
        accessSync(path);
        return path;
      } catch {
        // Not here: the next one.
      }
    }
  }
  throw new Error("the console's tests need Chromium; on Debian: apt-get install chromium");
}
