/** A machine whose wall clock jumps: libfaketime in front of its license server. */
import { globSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Row } from "./row.ts";

const CLOCK_MS = 12_000;
const NO_JUMP = "+0";

function library(): string | null {
  return globSync("/usr/lib/*/faketime/libfaketimeMT.so.1")[0] ?? null;
}

/** The library reads the offset from it at every look at the clock. */
function fileOf(id: string): string {
  return join(tmpdir(), `quorate-faults-clock-${process.pid}-${id}`);
}

function jump(name: string, words: string, offset: string): Row {
  return {
    name: `clock-${name}`,
    title: `the wall clock of the leader's machine set ${words} by two days, and right again`,
    whyNot: () =>
      library() === null
        ? "libfaketime is not installed (on Debian: apt-get install libfaketime)"
        : null,
    env: (id) => {
      set(id, NO_JUMP);
      return {
        LD_PRELOAD: library() ?? "",
        FAKETIME_TIMESTAMP_FILE: fileOf(id),
        FAKETIME_NO_CACHE: "1",
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
      };
    },
    async fault(stage) {
      const { id } = await stage.pool.leader();
      stage.say(`the clock of ${id} is set ${words}`);
      set(id, offset);
      await stage.everyClientIsServed();
      await stage.lasts(CLOCK_MS);
      set(id, NO_JUMP);
      stage.say("and right");
      await stage.everyClientIsServed();
      for (const machine of stage.pool.machines) rmSync(fileOf(machine.id), { force: true });
    },
  };
}

/** Whole or not at all: the server reads while this writes. */
function set(id: string, offset: string): void {
  const half = `${fileOf(id)}.new`;
  writeFileSync(half, offset);
  renameSync(half, fileOf(id));
}

export const CLOCK_ROWS: readonly Row[] = [
  jump("forward", "forward", "+2d"),
  jump("back", "back", "-2d"),
];
