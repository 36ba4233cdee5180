/**
 * A screen that is drawn again and again in place: the cursor goes home, lines are written over the old ones and
 * what is left of those is cleared. Nothing is cleared before it is written, so nothing flickers.
 */
import { stripVTControlCharacters } from "node:util";
import type { ScreenStyle } from "./status-screen.ts";

const HOME = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";
const CLEAR_ALL = "\u001b[2J";
const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";
const COLUMNS_DEFAULT = 80;

/** How to draw on this standard output. */
export function screenStyle(): ScreenStyle {
  const { isTTY, columns } = process.stdout;
  // https://no-color.org: any value that is not empty.
  const noColour = (process.env["NO_COLOR"] ?? "") !== "" || process.env["TERM"] === "dumb";
  return {
    columns: isTTY ? columns : Number(process.env["COLUMNS"]) || COLUMNS_DEFAULT,
    colour: isTTY && !noColour,
  };
}

export class LiveScreen {
  #begun = false;
  readonly #restore = (): void => {
    process.stdout.write(SHOW_CURSOR);
  };

  /** Lines that do not fit are left out from the end, so what matters comes first. */
  draw(lines: readonly string[]): void {
    if (!this.#begun) {
      this.#begun = true;
      process.stdout.write(HIDE_CURSOR + CLEAR_ALL);
      process.on("exit", this.#restore);
    }
    const { columns, rows } = process.stdout;
    const shown: string[] = [];
    let used = 0;
    for (const line of lines) {
      // A long line wraps, so that a command on it can still be copied.
      used += Math.max(1, Math.ceil(stripVTControlCharacters(line).length / columns));
      // The last row stays empty: writing to its end would scroll.
      if (used >= rows) break;
      shown.push(line);
    }
    process.stdout.write(
      HOME + shown.map((line) => `${line}${CLEAR_LINE}\n`).join("") + CLEAR_BELOW,
    );
  }

  end(): void {
    if (!this.#begun) return;
    this.#begun = false;
    process.off("exit", this.#restore);
    this.#restore();
  }
}
