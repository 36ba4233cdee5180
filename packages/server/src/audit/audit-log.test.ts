import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry } from "@quorate/protocol";
import { checkAudit } from "./audit-check.ts";
import { openAuditLog } from "./audit-log.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-audit-"));
  path = join(folder, "audit.log");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const FACT = { who: "ana", role: "administrator", from: "::1", what: "lead", outcome: "done" };

async function write(count: number, fileBytesMax?: number): Promise<void> {
  const log = await openAuditLog(folder, fileBytesMax);
  await Promise.all(
    Array.from({ length: count }, (_, index) => log.append({ ...FACT, details: { index } })),
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

  it("is whole whatever characters its lines hold", async () => {
    const log = await openAuditLog(folder);
    const ends = ["\u2028", "\u2029", "\u0085", "\r", "\n", "\ud800", "\ufeff", "\v\f"];
    for (const id of ends) await log.append({ ...FACT, details: { id } });
    await log.close();
    const found: unknown[] = [];
    const check = await checkAudit(folder, null, ({ details }) => found.push(details["id"]));
    expect(check).toMatchObject({ entries: ends.length, problem: null });
    expect(found).toEqual(ends);
  });

  it("shows bytes that are no text, and a line without an end", async () => {
    await write(3);
    const whole = readFileSync(path);
    writeFileSync(path, Buffer.concat([whole, Buffer.alloc(300_000, "x")]));
    expect(await problem()).toBe("line 4 is no entry");
    whole[whole.indexOf("ana")] = 0xff;
    writeFileSync(path, whole);
    expect(await problem()).toMatch(/line 2 does not follow/);
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

  it("goes on in a new file when one is full, and the chain with it, over restarts", async () => {
    for (const count of [1, 7, 5, 1]) await write(count, 600);
    const files = readdirSync(folder).filter((name) => name.endsWith(".log"));
    expect(files.length).toBeGreaterThan(4);
    expect(files[0]).toBe("audit-000000000001.log");
    const numbers: number[] = [];
    const check = await checkAudit(folder, null, ({ number }) => numbers.push(number));
    expect(check).toMatchObject({ entries: 14, files: files.length, problem: null });
    expect(numbers).toEqual(Array.from({ length: 14 }, (_, index) => index + 1));
  });

  it("shows a file that was taken out, changed or put back from before", async () => {
    await write(14, 600);
    const [first = "", second = "", ...others] = readdirSync(folder)
      .filter((name) => name.endsWith(".log"))
      .map((name) => join(folder, name));
    expect(others.length).toBeGreaterThan(1);
    for (const file of [first, second, others.at(-1) ?? ""]) {
      const text = readFileSync(file, "utf8");
      rmSync(file);
      expect(await problem()).not.toBeNull();
      writeFileSync(file, text.replace("ana", "bob"));
      expect(await problem()).not.toBeNull();
      writeFileSync(file, text.slice(text.indexOf("\n") + 1));
      expect(await problem()).not.toBeNull();
      writeFileSync(file, text);
      expect(await problem()).toBeNull();
    }
  });

  it("goes on after a crash between two files", async () => {
    await write(4, 600);
    const before = (await checkAudit(folder)).entries;
    renameSync(path, join(folder, "audit-000000000003.log"));
    await write(1, 600);
    expect(await checkAudit(folder)).toMatchObject({ entries: before + 1, problem: null });
    renameSync(path, join(folder, "audit-000000000005.log"));
    writeFileSync(path, "");
    await write(1, 600);
    expect(await checkAudit(folder)).toMatchObject({ entries: before + 2, problem: null });
  });

  it("is whole while a file is put aside between two looks at the folder", async () => {
    await write(5, 600);
    const before = await checkAudit(folder);
    // When the first line is read the list of files is known already.
    const rotate = (): void => {
      const first = (JSON.parse(lines()[0] ?? "") as AuditEntry).number;
      renameSync(path, join(folder, `audit-${String(first).padStart(12, "0")}.log`));
    };
    const numbers: number[] = [];
    const check = await checkAudit(folder, null, ({ number }) => {
      if (number === 1) rotate();
      numbers.push(number);
    });
    expect(check).toEqual(before);
    expect(numbers).toEqual([1, 2, 3, 4, 5]);
    expect(await checkAudit(folder)).toMatchObject({ entries: 5, problem: null });
  });

  it("is whole at any moment while a server fills one file after the other", async () => {
    const log = await openAuditLog(folder, 600);
    const state = { isWriting: true };
    const writing = (async () => {
      for (let index = 0; index < 150; index += 1)
        await log.append({ ...FACT, details: { index } });
      state.isWriting = false;
    })();
    await log.append({ ...FACT, details: {} });
    while (state.isWriting) {
      const numbers: number[] = [];
      const check = await checkAudit(folder, null, ({ number }) => numbers.push(number));
      expect(check.problem).toBeNull();
      expect(numbers).toEqual(Array.from({ length: check.entries }, (_, index) => index + 1));
    }
    await writing;
    await log.close();
    expect(await checkAudit(folder)).toMatchObject({ entries: 151, problem: null });
  });

  it("is whole when the end of its last line is a moment late, and not when it never comes", async () => {
    await write(2);
    const whole = readFileSync(path);
    const half = whole.length - 40;
    writeFileSync(path, whole.subarray(0, half));
    const late = setTimeout(() => appendFileSync(path, whole.subarray(half)), 50);
    expect(await problem()).toBeNull();
    clearTimeout(late);
    writeFileSync(path, whole.subarray(0, half));
    expect(await problem()).toBe("line 2 is no entry");
  });

  it("is read from its end, page by page, over its files and while it grows", async () => {
    const log = await openAuditLog(folder, 600);
    const add = (index: number) => log.append({ ...FACT, details: { index } });
    for (let index = 1; index <= 14; index += 1) void add(index);
    const pages: number[][] = [];
    for (let before = Number.MAX_SAFE_INTEGER; ;) {
      const [page] = await Promise.all([log.entriesBefore(before, 4), add(0), add(0), add(0)]);
      if (page.length === 0) break;
      pages.push(page.map(({ number }) => number));
      before = page.at(-1)?.number ?? 0;
    }
    expect(pages).toEqual([
      [14, 13, 12, 11],
      [10, 9, 8, 7],
      [6, 5, 4, 3],
      [2, 1],
    ]);
    expect((await log.entriesBefore(3, 9)).map(({ details }) => details["index"])).toEqual([2, 1]);
    await log.close();
  });

  it("is read from its end whatever the length of its lines", async () => {
    const log = await openAuditLog(folder);
    const lengths = [1, 40_000, 3, 60_000, 65_000, 10, 33_000, 33_000];
    for (const length of lengths) {
      await log.append({ ...FACT, details: { text: "x".repeat(length) } }).catch(() => undefined);
    }
    const read = await log.entriesBefore(100, 100);
    expect(read.map(({ details }) => String(details["text"]).length)).toEqual(lengths.toReversed());
    await log.close();
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
