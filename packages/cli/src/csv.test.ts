import { describe, expect, it } from "vitest";
import { csvLines } from "./csv.ts";

describe("a line of CSV", () => {
  it("quotes what needs it, as RFC 4180 says", () => {
    expect(csvLines([["plain", 1.5, 'a "b", c', "two\nlines"]])).toEqual([
      'plain,1.5,"a ""b"", c","two\nlines"\r\n',
    ]);
  });

  it("is no formula to a spreadsheet, whatever a client calls itself", () => {
    expect(csvLines([['=HYPERLINK("x")', "@sum", "-1", -1]])).toEqual([
      `"'=HYPERLINK(""x"")",'@sum,'-1,-1\r\n`,
    ]);
  });
});
