import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { type QuickRequest, readQuickRequest } from "./quick-request.ts";

const socket = new Socket();
const HEAD_BYTES_MAX = 1_000;

function read(text: string): QuickRequest | null {
  return readQuickRequest(Buffer.from(text, "latin1"), socket, HEAD_BYTES_MAX);
}

/** A heartbeat with these lines after its host. */
function heartbeat(lines: string, body = ""): string {
  return `POST /v1/authorizations/s/heartbeat HTTP/1.1\r\nHost: a\r\n${lines}\r\n${body}`;
}

describe("a plain request", () => {
  test("is read with its headers as they were written, and its body", () => {
    expect(read(heartbeat("X-Y:a  b\r\ncontent-length: 2\r\n", "{}"))).toEqual({
      method: "POST",
      url: "/v1/authorizations/s/heartbeat",
      rawHeaders: ["Host", "a", "X-Y", "a  b", "content-length", "2"],
      socket,
      body: Buffer.from("{}"),
    });
    expect(read("DELETE /v1/authorizations/s?n=2 HTTP/1.1\r\nhost: a\r\n\r\n")).toMatchObject({
      method: "DELETE",
      url: "/v1/authorizations/s?n=2",
      rawHeaders: ["host", "a"],
    });
  });

  test("has at most 32 headers, and a bounded head", () => {
    expect(read(heartbeat("a: b\r\n".repeat(31)))?.rawHeaders.length).toBe(64);
    expect(read(heartbeat("a: b\r\n".repeat(32)))).toBeNull();
    expect(read(heartbeat(`a: ${"b".repeat(HEAD_BYTES_MAX)}\r\n`))).toBeNull();
  });
});

describe("left to Node's parser is", () => {
  test.each([
    ["a value that begins with two spaces", "a:  b\r\n"],
    ["a value that ends with a space", "a: b \r\n"],
    ["an empty value", "a: \r\n"],
    ["a value of nothing at all", "a:\r\n"],
    ["a space before the colon", "a : b\r\n"],
    ["an empty name", ": b\r\n"],
    ["a line without a colon", "a\r\n"],
    ["a folded line", "a: b\r\n c\r\n"],
    ["a bare newline", "a: b\nc: d\r\n"],
    ["a bare carriage return", "a: b\rc: d\r\n"],
    ["a tab", "a: b\tc\r\n"],
    ["a zero", "a: b\0\r\n"],
    ["a byte beyond ASCII", "a: \u00e9\r\n"],
    ["a second host", "HOST: b\r\n"],
    ["a second length", "Content-Length: 0\r\nCONTENT-LENGTH: 0\r\n"],
    ["a length with a leading zero", "Content-Length: 00\r\n"],
    ["a length that is more than came", "Content-Length: 1\r\n"],
    ["a connection that is to end", "Connection: close\r\n"],
    ["a body in pieces", "Transfer-Encoding: chunked\r\n"],
    ["a request from a page", "ORIGIN: http://a\r\n"],
  ])("%s", (_, lines) => {
    expect(read(heartbeat(lines))).toBeNull();
  });

  test("everything that came only in part, and everything with more behind it", () => {
    const text = heartbeat("Content-Length: 2\r\n", "{}");
    for (let length = 0; length < text.length; length += 1) {
      expect(read(text.slice(0, length))).toBeNull();
    }
    expect(read(`${text}P`)).toBeNull();
  });

  test("another method, path or version, and a request without headers", () => {
    const first = "POST /v1/authorizations HTTP/1.1";
    for (const other of [
      "PUT /v1/authorizations HTTP/1.1",
      "POST /v1/pool HTTP/1.1",
      "POST  /v1/authorizations HTTP/1.1",
      "POST /v1/authorizations HTTP/1.0",
      "POST /v1/authorizations  HTTP/1.1",
      "POST /v1/authorizations\u00e9 HTTP/1.1",
    ]) {
      expect(read(`${other}\r\nHost: a\r\n\r\n`)).toBeNull();
    }
    expect(read(`${first}\r\n\r\n`)).toBeNull();
    expect(read(`${first}\r\nHost: a\r\n\r\n`)).not.toBeNull();
  });
});
