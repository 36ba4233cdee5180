import { expect, it } from "vitest";
import { serverLog } from "./server-log.ts";

function logged(error: unknown): string {
  let text = "";
  serverLog("a", { write: (line: string) => (text += line) }).error("a call failed", { error });
  const { error: words, member, msg } = JSON.parse(text);
  expect({ member, msg }).toEqual({ member: "a", msg: "a call failed" });
  return words;
}

it("says of an error what happened, where and why", () => {
  const cause = new Error("connect ECONNREFUSED", { cause: new Error("deeper") });
  const words = logged(new TypeError("fetch failed", { cause }));
  expect(words).toMatch(/^TypeError: fetch failed\n +at /);
  expect(words).toContain("caused by Error: connect ECONNREFUSED\ncaused by Error: deeper");
  expect(logged("words")).toBe("words");
});

it("repeats nothing of an answer that an error holds", () => {
  const cause = new SyntaxError(`"secret" is not JSON`);
  const error = Object.assign(new Error("no JSON", { cause }), { response: { body: "secret" } });
  expect(logged(error)).not.toContain("secret");
});
