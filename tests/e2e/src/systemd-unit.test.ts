/** The unit of docs/operating.md, as it stands there, read by systemd itself. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import {
  EXIT_ANOTHER_LIVES,
  EXIT_REMOVED,
} from "../../../packages/server/src/member/lease-keeper.ts";

const GUIDE = fileURLToPath(new URL("../../../docs/operating.md", import.meta.url));
const COMMAND = "/usr/bin/quorate serve …as above…";

const unit = /### systemd\n[\s\S]*?```ini\n([\s\S]*?)```/.exec(readFileSync(GUIDE, "utf8"))?.[1];

/** What systemd complains of. */
function complaintsOf(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "quorate-unit-"));
  try {
    const file = join(folder, "quorate.service");
    // Here the command is another one: systemd looks whether it is there.
    writeFileSync(file, text.replace(COMMAND, `${process.execPath} serve --id a`));
    const { stdout, stderr, error } = spawnSync("systemd-analyze", ["verify", "--man=no", file], {
      encoding: "utf8",
      env: { ...process.env, SYSTEMD_LOG_LEVEL: "warning" },
    });
    if (error !== undefined) throw error;
    return `${stdout}${stderr}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("systemd understands every line of it", () => {
  expect(unit).toContain(`ExecStart=${COMMAND}\n`);
  expect(complaintsOf(unit ?? "")).toBe("");
  expect(complaintsOf((unit ?? "").replace("KillMode", "KillMod"))).toMatch(/Unknown key.*KillMod/);
});

test("it starts again whatever happened, but not where another server lives or this one was removed", () => {
  expect(unit).toContain("Restart=always\n");
  expect(unit).toContain(`RestartPreventExitStatus=${EXIT_ANOTHER_LIVES} ${EXIT_REMOVED}\n`);
});
