import { describe, expect, test } from "vitest";
import type { AuthorizationRow } from "@quorate/protocol";
import { SessionList } from "./session-list.ts";
import type { Order } from "./session-list.ts";
import { session } from "./test-values.ts";

const NEWEST: Order = { key: "grantedAt", descending: true };

describe("a list of sessions", () => {
  test("shows a session that moved between two pages once", () => {
    const list = listOf(session({ session: "1" }), session({ session: "2" }));
    list.add([session({ session: "2", member: "b" })]);
    expect(list.length).toBe(2);
  });

  test("is searched by every word, anywhere, in any case", () => {
    const list = listOf(
      session({ session: "1", holder: { user: "Anna", host: "design-01", process: "cad.exe 77" } }),
      session({ session: "2", holder: { user: "anna", host: "lab-02" }, member: "b" }),
    );
    expect(found(list, "ANNA")).toEqual(["1", "2"]);
    expect(found(list, "anna lab")).toEqual(["2"]);
    expect(found(list, "cad.exe")).toEqual(["1"]);
    expect(found(list, "nobody")).toEqual([]);
  });

  test("is narrowed to one feature", () => {
    const list = listOf(session({ session: "1" }), session({ session: "2", feature: "sim" }));
    expect(list.view("", "sim", NEWEST).map(nameOf)).toEqual(["2"]);
  });

  test("is ordered by any column, both ways", () => {
    const list = listOf(
      session({
        session: "1",
        grantedAt: "2026-01-02T00:00:00.000Z",
        holder: { user: "b", host: "x" },
      }),
      session({
        session: "2",
        grantedAt: "2026-01-01T00:00:00.000Z",
        holder: { user: "A", host: "z" },
      }),
      session({
        session: "3",
        grantedAt: "2026-01-03T00:00:00.000Z",
        holder: { user: "c", host: "y" },
      }),
    );
    expect(list.view("", "", NEWEST).map(nameOf)).toEqual(["3", "1", "2"]);
    expect(list.view("", "", { ...NEWEST, descending: false }).map(nameOf)).toEqual([
      "2",
      "1",
      "3",
    ]);
    expect(list.view("", "", { key: "user", descending: false }).map(nameOf)).toEqual([
      "2",
      "1",
      "3",
    ]);
    expect(list.view("", "", { key: "host", descending: true }).map(nameOf)).toEqual([
      "2",
      "3",
      "1",
    ]);
  });
});

function listOf(...rows: AuthorizationRow[]): SessionList {
  const list = new SessionList();
  list.add(rows);
  return list;
}

function found(list: SessionList, search: string): string[] {
  return list.view(search, "", NEWEST).map(nameOf).toSorted();
}

function nameOf(row: AuthorizationRow): string {
  return row.session;
}
