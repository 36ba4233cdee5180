/**
 * One page out of any number of rows that come in any order: what fits the words of the question, in the order
 * that was asked for, after the mark. Only about two pages are kept at a time. Pure.
 */
import { PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX } from "@quorate/core";
import type { AuthorizationRow, AuthorizationsQuery } from "@quorate/protocol";

/** Rows kept beyond a page before the rest is cut: sorting is paid once for so many. */
const SLACK_ROWS = 1_000;

interface Kept {
  readonly key: string;
  readonly row: AuthorizationRow;
}

type Place = Pick<Kept, "key"> & { readonly session: string };

export class RowsPage {
  /** Rows that fit, also on other pages. */
  found = 0;
  total = 0;
  private readonly query: AuthorizationsQuery;
  private readonly limit: number;
  private readonly words: readonly string[];
  private readonly after: Place | null;
  private readonly sign: number;
  private kept: Kept[] = [];
  /** The last row of a full page: what comes after it is not on the page. */
  private last: Place | null = null;

  constructor(query: AuthorizationsQuery) {
    this.query = query;
    this.limit = Math.min(query.limit ?? PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX);
    this.words = (query.search ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    this.after = query.after === undefined ? null : placeOf(query.after);
    this.sign = query.order === "descending" ? -1 : 1;
  }

  take(row: AuthorizationRow): void {
    this.total += 1;
    if (!this.fits(row)) return;
    this.found += 1;
    const key = this.keyOf(row);
    const place = { key, session: row.session };
    if (this.after !== null && this.compare(place, this.after) <= 0) return;
    if (this.last !== null && this.compare(place, this.last) >= 0) return;
    this.kept.push({ key, row });
    if (this.kept.length > this.limit + SLACK_ROWS) this.cut();
  }

  finish(): { authorizations: AuthorizationRow[]; next: string | null } {
    this.cut();
    const authorizations = this.kept.slice(0, this.limit).map(({ row }) => row);
    const last = this.kept[this.limit - 1];
    const more = this.kept.length > this.limit && last !== undefined;
    return { authorizations, next: more ? this.markOf(last) : null };
  }

  private fits(row: AuthorizationRow): boolean {
    const { feature, user, host, member } = this.query;
    if (feature !== undefined && row.feature !== feature) return false;
    if (user !== undefined && row.holder.user !== user) return false;
    if (host !== undefined && row.holder.host !== host) return false;
    if (member !== undefined && row.member !== member) return false;
    return this.words.every((word) => isIn(row, word));
  }

  /** One row more than a page shows that there is another page. */
  private cut(): void {
    this.kept.sort((a, b) => this.compare(placeAt(a), placeAt(b)));
    const seen = new Set<string>();
    // A session on its way from one server to another may be told by both.
    this.kept = this.kept.filter(({ row }) => !seen.has(row.session) && seen.add(row.session));
    if (this.kept.length <= this.limit) return;
    this.kept.length = this.limit + 1;
    const last = this.kept[this.limit];
    this.last = last === undefined ? null : placeAt(last);
  }

  private compare(a: Place, b: Place): number {
    const [left, right] = a.key === b.key ? [a.session, b.session] : [a.key, b.key];
    return left < right ? -this.sign : left > right ? this.sign : 0;
  }

  private keyOf({ holder, session, feature, member, grantedAt }: AuthorizationRow): string {
    switch (this.query.sort ?? "session") {
      case "user":
        return holder.user.toLowerCase();
      case "host":
        return holder.host.toLowerCase();
      case "process":
        return (holder.process ?? "").toLowerCase();
      case "feature":
        return feature;
      case "member":
        return member;
      case "grantedAt":
        // The same form everywhere (ISO, UTC), so that text order is time order.
        return grantedAt;
      case "session":
        return session;
    }
  }

  private markOf({ key, row }: Kept): string {
    if (key === row.session) return key;
    return `${row.session}.${Buffer.from(key).toString("base64url")}`;
  }
}

function isIn({ holder, feature, version, member, session }: AuthorizationRow, word: string) {
  return (
    holder.user.toLowerCase().includes(word) ||
    holder.host.toLowerCase().includes(word) ||
    (holder.process ?? "").toLowerCase().includes(word) ||
    feature.toLowerCase().includes(word) ||
    (version ?? "").toLowerCase().includes(word) ||
    member.toLowerCase().includes(word) ||
    session.toLowerCase().includes(word)
  );
}

function placeAt({ key, row }: Kept): Place {
  return { key, session: row.session };
}

/** Any text is some place: a mark that nobody made gives a page from somewhere, and no harm. */
function placeOf(mark: string): Place {
  const [session = "", key] = mark.split(".", 2);
  return {
    session,
    key: key === undefined ? session : Buffer.from(key, "base64url").toString("utf8"),
  };
}
