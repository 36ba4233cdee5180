import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AuthorizationRow, AuthorizationsQuery } from "@quorate/protocol";
import { AUTHORIZATION_SORTS } from "@quorate/protocol";
import { RowsPage } from "./rows-page.ts";

function row(number: number, more: Partial<AuthorizationRow> = {}): AuthorizationRow {
  return {
    session: `s${String(number).padStart(6, "0")}`,
    feature: number % 2 === 0 ? "cad" : "sim",
    version: "2026.1",
    seats: 1,
    holder: { user: `User ${number % 7}`, host: `host-${number % 5}`, process: `p${number}` },
    member: ["a", "b", "c"][number % 3] ?? "a",
    grantedAt: new Date(Date.UTC(2026, 0, 1) + (number % 11) * 1_000).toISOString(),
    state: "active",
    converted: false,
    ...more,
  };
}

function pageOf(rows: readonly AuthorizationRow[], query: AuthorizationsQuery) {
  const page = new RowsPage(query);
  for (const each of rows) page.take(each);
  const { authorizations, next } = page.finish();
  const { found, total } = page;
  return { sessions: authorizations.map((each) => each.session), found, total, next };
}

describe("a page of rows", () => {
  test("has every word of a search somewhere, whatever the case", () => {
    const ana = row(1, { holder: { user: "Ana Müller", host: "desk-7" } });
    const rows = [ana, row(2), row(3)];
    for (const search of ["müller", "ANA desk", "sim ana", "s000001", "desk-7 2026.1"]) {
      expect(pageOf(rows, { search }), search).toMatchObject({ found: 1, total: 3 });
    }
    expect(pageOf(rows, { search: "ana nobody" })).toMatchObject({ sessions: [], found: 0 });
    expect(pageOf(rows, { search: "  " }).found).toBe(3);
    expect(pageOf(rows, { feature: "sim", search: "host" }).sessions).toEqual(["s000003"]);
  });

  test("has a session once, though two servers tell of it", () => {
    expect(pageOf([row(1), row(1, { member: "c" })], { sort: "member" }).sessions).toHaveLength(1);
  });

  test("is somewhere in the list, whatever the mark says", () => {
    for (const after of ["x", ".", "a.b.c", "s000001.%%%"]) {
      expect(pageOf([row(1)], { after, sort: "user" }).sessions.length).toBeLessThanOrEqual(1);
    }
  });

  test("after page, all rows come once and in order, in any order asked for", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 200 }), { maxLength: 60 }),
        fc.constantFrom(...AUTHORIZATION_SORTS),
        fc.constantFrom("ascending" as const, "descending" as const),
        fc.integer({ min: 1, max: 9 }),
        (numbers, sort, order, limit) => {
          const rows = numbers.map((number) => row(number));
          const all = pageOf(rows, { sort, order, limit: 1_000 }).sessions;
          expect(all.toSorted()).toEqual(rows.map((each) => each.session).toSorted());
          const seen: string[] = [];
          let after: string | null = null;
          do {
            const asked: AuthorizationsQuery = { sort, order, limit };
            const page = pageOf(rows, after === null ? asked : { ...asked, after });
            expect(page).toMatchObject({ found: rows.length, total: rows.length });
            seen.push(...page.sessions);
            after = page.next;
          } while (after !== null);
          expect(seen).toEqual(all);
        },
      ),
    );
  });

  test("of very many rows is the first page, and sorts only now and then", () => {
    const rows = Array.from({ length: 30_000 }, (_, number) => row((number * 7_919) % 30_000));
    const page = pageOf(rows, { limit: 3, sort: "session", order: "descending" });
    expect(page.sessions).toEqual(["s029999", "s029998", "s029997"]);
    expect(page.found).toBe(30_000);
  });
});
