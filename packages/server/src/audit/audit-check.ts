/** Whether the audit log is whole, over all of its files. The server may write meanwhile. */
import { hash } from "node:crypto";
import type { AuditEntry } from "@quorate/protocol";
import { ForPeople } from "../keys/for-people.ts";
import { type AuditReading, entryIn, LOG_FILE, readAuditFiles } from "./audit-files.ts";
import { FIRST_PREVIOUS, HEAD_FILE, headIn } from "./audit-log.ts";

export interface AuditCheck {
  readonly entries: number;
  readonly files: number;
  /** SHA-256 of the last line, to be noted elsewhere. */
  readonly head: string;
  /** The first thing that is wrong, in a sentence; null: the chain is whole. */
  readonly problem: string | null;
}

/** Reads line by line. `expected`: a hash that was noted before and must be among the lines. */
export async function checkAudit(
  folder: string,
  expected: string | null = null,
  onEntry: (entry: AuditEntry) => void = () => {},
): Promise<AuditCheck> {
  // The head BEFORE the lines: what is written meanwhile makes them more, and never fewer.
  const head = headIn(folder);
  const reading = await readAuditFiles(folder);
  try {
    return await checked(folder, reading, head, expected, onEntry);
  } finally {
    await reading.close();
  }
}

async function checked(
  folder: string,
  { files, lines }: AuditReading,
  head: ReturnType<typeof headIn>,
  expected: string | null,
  onEntry: (entry: AuditEntry) => void,
): Promise<AuditCheck> {
  if (files === 0 && head === null) {
    throw new ForPeople(`${folder} has no ${LOG_FILE}: nothing was changed there yet`);
  }
  let number = 0;
  let previous = FIRST_PREVIOUS;
  let problem: string | null = null;
  let headSeen = head === null || head.number === 0;
  let expectedSeen = expected === null;
  for await (const line of lines()) {
    number += 1;
    const entry = entryIn(line.toString());
    if (entry !== null) onEntry(entry);
    problem ??=
      entry === null
        ? `line ${number} is no entry`
        : entry.previous !== previous
          ? `line ${number} does not follow from the line before: one of them was changed, taken out or put in`
          : entry.number === number
            ? null
            : `line ${number} has the number ${entry.number}`;
    previous = hash("sha256", line, "hex");
    headSeen ||= head?.number === number && head.hash === previous;
    expectedSeen ||= expected === previous;
  }
  if (head === null && number > 0) problem ??= `${HEAD_FILE} is missing`;
  if (!headSeen) {
    problem ??= `line ${head?.number ?? 0}, which ${HEAD_FILE} names, is not there or was changed: the end was cut or written anew`;
  }
  if (!expectedSeen) problem ??= `no line has the hash ${expected}`;
  return { entries: number, files, head: previous, problem };
}
