/** In a file of its own, because nothing may sync on the event loop in it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { checkAudit } from "./audit-check.ts";
import { openAuditLog } from "./audit-log.ts";

vi.mock("node:fs", async (original) => ({
  ...(await original<typeof import("node:fs")>()),
  fsyncSync: (): never => {
    throw new Error("the event loop waits for the disk");
  },
}));

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-audit-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("never holds up the event loop for the disk, also when a file is full", async () => {
  const log = await openAuditLog(folder, 600);
  const fact = { who: "", role: "", from: "::1", what: "login", outcome: "unauthorized" };
  for (let index = 0; index < 5; index += 1) await log.append({ ...fact, details: { index } });
  await log.close();
  const check = await checkAudit(folder);
  expect(check).toMatchObject({ entries: 5, problem: null });
  expect(check.files).toBeGreaterThan(1);
});
