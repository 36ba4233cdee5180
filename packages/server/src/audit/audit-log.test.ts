import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AuditEntry, checkAudit, openAuditLog } from "./audit-log.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-audit-"));
  path = join(folder, "audit.log");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function write(count: number): Promise<void> {
  const log = await openAuditLog(folder);
  const fact = { who: "ana", role: "administrator", from: "::1", what: "lead", outcome: "done" };
  await Promise.all(
    Array.from({ length: count }, (_, index) => log.append({ ...fact, details: { index } })),
  );
  await log.close();
}

const lines = (): string[] => readFileSync(path, "utf8").trimEnd().split("\n");
const rewrite = (changed: readonly string[]): void =>
  writeFileSync(path, changed.map((line) => `${line}\n`).join(""));
const problem = async (): Promise<string | null> => (await checkAudit(folder)).problem;

describe("the audit log", () => {
  it("is one chain over restarts, in the order of the calls", async () => {
    await write(5);
    await write(3);
    const entries: AuditEntry[] = [];
    const check = await checkAudit(folder, null, (entry) => entries.push(entry));
    expect(check).toMatchObject({ entries: 8, problem: null });
    expect(entries.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(entries.map(({ details }) => details["index"])).toEqual([0, 1, 2, 3, 4, 0, 1, 2]);
  });

  it("shows a changed line, whichever it is", async () => {
    await write(4);
    const before = lines();
    for (const index of before.keys()) {
      rewrite(before.map((line, at) => (at === index ? line.replace("ana", "bob") : line)));
      expect([index, await problem()]).toEqual([index, expect.stringMatching(/changed/)]);
    }
    rewrite(before);
    expect(await problem()).toBeNull();
  });

  it("shows a line that was taken out, put in or moved, and a cut end", async () => {
    await write(4);
    const [one = "", two = "", three = "", four = ""] = lines();
    const wrong = [
      [one, three, four],
      [two, three, four],
      [one, two, three],
      [one, two, two, three, four],
      [two, one, three, four],
      [one, two, "", three, four],
      [],
    ];
    for (const changed of wrong) {
      rewrite(changed);
      expect([changed.length, await problem()]).toEqual([changed.length, expect.any(String)]);
    }
    rewrite([one, two, three, four]);
    expect(await problem()).toBeNull();
    rmSync(path);
    expect(await problem()).toMatch(/the end was cut/);
  });

  it("goes on after a crash in the middle of a line, or before the head was written", async () => {
    await write(2);
    const head = readFileSync(join(folder, "audit.head"));
    await write(1);
    writeFileSync(join(folder, "audit.head"), head);
    appendFileSync(path, '{"number":4,"at":"2026');
    await write(1);
    expect(await checkAudit(folder)).toMatchObject({ entries: 4, problem: null });
  });

  it("written anew from the start is found by a hash that was noted before", async () => {
    await write(3);
    const noted = (await checkAudit(folder)).head;
    await write(2);
    expect((await checkAudit(folder, noted)).problem).toBeNull();
    rmSync(path);
    rmSync(join(folder, "audit.head"));
    await write(5);
    expect(await problem()).toBeNull();
    expect((await checkAudit(folder, noted)).problem).toMatch(/no line has the hash/);
  });
});
