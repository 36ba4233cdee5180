/** The two ways of a request about a session: in the quick lane, and through Node's parser. They must not differ. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectSecurely } from "node:tls";
import * as fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  ADMIN_TOKEN,
  fakeMember,
  granted,
  SECRET,
  openThings,
  serverOf,
  SESSION,
} from "./fake-member.ts";
import type { FakeMember } from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";
import { readQuickRequest } from "./quick-request.ts";
import { testAuthority } from "./test-certificates.ts";
import { readTls } from "./tls.ts";

const HEARTBEAT_PATH = `/v1/authorizations/${SESSION}/heartbeat`;
const { serve, closeAll, open } = openThings();

afterEach(closeAll);

/** What a server reads at all, it reads within this time. */
const READ_WITHIN_MS = 500;

/** A connection whose answers are read one after the other. */
class Wire {
  readonly socket: Socket;
  text = "";
  isClosed = false;
  #heard = (): void => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes) => {
      this.text += bytes.toString("latin1");
      this.#heard();
    });
    socket.on("close", () => {
      this.isClosed = true;
      this.#heard();
    });
    socket.on("error", () => {});
    open.push({ close: () => socket.destroy() });
  }

  /** The next answer, without its date; "closed" when the server closed instead. */
  async answer(): Promise<string> {
    while (!this.isClosed && answerEnd(this.text) === 0) {
      await new Promise<void>((resolve) => (this.#heard = resolve));
    }
    const end = answerEnd(this.text);
    if (end <= 0) return "closed";
    const answer = this.text.slice(0, end);
    this.text = this.text.slice(end);
    return answer.replace(/Date: .*\r\n/, "");
  }

  async ask(bytes: string): Promise<string> {
    this.socket.write(bytes, "latin1");
    return this.answer();
  }

  /** The same, and nothing more will be sent: what is incomplete is answered at once. */
  async askLast(bytes: string): Promise<string> {
    this.socket.end(bytes, "latin1");
    return this.answer();
  }
}

function answerEnd(text: string): number {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd === -1) return 0;
  const length = Number(/Content-Length: (\d+)/i.exec(text.slice(0, headEnd))?.[1] ?? 0);
  return text.length >= headEnd + 4 + length ? headEnd + 4 + length : 0;
}

async function waitedFor<Value>(look: () => Value | null): Promise<Value> {
  await expect.poll(look).not.toBeNull();
  return look() as Value;
}

const wireTo = (server: HttpServer): Wire => new Wire(connect(server.port, "127.0.0.1"));

/** A connection that the quick lane has handed over to node:http already. */
async function slowWireTo(server: HttpServer): Promise<Wire> {
  const wire = wireTo(server);
  expect(await wire.ask("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/^HTTP\/1.1 200 OK/);
  return wire;
}

const requestOf = (
  method: string,
  path: string,
  body = "",
  headers = `Quorate-Session: ${SECRET}\r\n`,
): string =>
  `${method} ${path} HTTP/1.1\r\nHost: x\r\n${headers}` +
  (body === "" ? "" : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`) +
  `\r\n${body}`;
const heartbeat = (n: number): string => requestOf("POST", HEARTBEAT_PATH, `{"n":${n}}`);
const CHECKOUT = requestOf(
  "POST",
  "/v1/authorizations",
  `{"session":"${SESSION}","n":1,"feature":"cad","holder":{"user":"ana","host":"desk"}}`,
);

describe("a plain request", () => {
  test.each([
    ["a checkout", CHECKOUT, /^HTTP\/1.1 201 Created/],
    ["a heartbeat", heartbeat(2), /^HTTP\/1.1 200 OK/],
    ["a release", requestOf("DELETE", `/v1/authorizations/${SESSION}?n=3`), /^HTTP\/1.1 204 /],
    ["no secret", requestOf("POST", HEARTBEAT_PATH, "{}", ""), /^HTTP\/1.1 403 /],
    ["no JSON", requestOf("POST", HEARTBEAT_PATH, "{"), /^HTTP\/1.1 400 /],
    [
      "an administrator's revocation",
      requestOf(
        "DELETE",
        `/v1/authorizations/${SESSION}`,
        "",
        `Authorization: Bearer ${ADMIN_TOKEN}\r\n`,
      ),
      /^HTTP\/1.1 204 /,
    ],
  ])("is answered the same in both ways: %s", async (_what, bytes, status) => {
    const member = fakeMember();
    const server = await serve(member);
    const quick = await wireTo(server).ask(bytes);
    const asked = member.asked.splice(0);
    expect(quick).toMatch(status);
    expect(await (await slowWireTo(server)).ask(bytes)).toBe(quick);
    expect(member.asked).toEqual(asked);
  });

  test("is read in the quick lane as programs and the SDK write it", async () => {
    const seen: unknown[] = [];
    const member = fakeMember();
    const server = await serve(member);
    const wire = wireTo(server);
    for (const bytes of [CHECKOUT, heartbeat(1)]) {
      seen.push(readQuickRequest(Buffer.from(bytes), wire.socket, 1_000)?.url);
    }
    expect(seen).toEqual(["/v1/authorizations", HEARTBEAT_PATH]);
  });

  test("goes through TLS, too", async () => {
    const tls = readTls({ ...certificate, ca: null, clientAuth: "none" });
    const server = await serve(fakeMember(), { tls });
    const ca = readFileSync(authorityFile, "utf8");
    const wire = new Wire(connectSecurely({ port: server.port, host: "127.0.0.1", ca }));
    expect(await wire.ask(heartbeat(1))).toMatch(/^HTTP\/1.1 200 OK/);
    expect(await wire.ask("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/^HTTP\/1.1 200 OK/);
    expect(await wire.ask(heartbeat(2))).toMatch(/^HTTP\/1.1 200 OK/);
  });
});

/** Longer than requests may hold the event loop, all together. */
const CROWD = 60;
const WORK_MS = 2;

describe("a crowd that asks at once", () => {
  /** Of the event loop. */
  let turns = 0;
  const heartbeatsOf = new Map<number, number>();

  function busyMember(): FakeMember {
    return fakeMember({
      heartbeat: () => {
        heartbeatsOf.set(turns, (heartbeatsOf.get(turns) ?? 0) + 1);
        const untilMs = performance.now() + WORK_MS;
        while (performance.now() < untilMs);
        return granted("cad", false);
      },
    });
  }

  /** Everybody writes within one turn of the event loop, and is read within one, too. */
  async function crowdAt(server: HttpServer): Promise<Wire[]> {
    const wires = Array.from({ length: CROWD }, () => wireTo(server));
    for (const wire of wires) expect(await wire.ask(heartbeat(1))).toMatch(/200 OK/);
    heartbeatsOf.clear();
    return wires;
  }

  test("is answered in turns, between which others are served", async () => {
    const wires = await crowdAt(await serve(busyMember()));
    const counting = setInterval(() => (turns += 1), 1);
    open.push({ close: () => clearInterval(counting) });
    const answers = await Promise.all(wires.map((wire) => wire.ask(heartbeat(2))));
    for (const answer of answers) expect(answer).toMatch(/200 OK/);
    expect(Math.max(...heartbeatsOf.values())).toBeLessThan(CROWD / 2);
  });

  test("has its requests taken to node:http with all that was sent, and its last words answered", async () => {
    const wires = await crowdAt(await serve(busyMember()));
    const [strange, split, two, last, gone] = wires.splice(-5);
    const asked = wires.map((wire) => wire.ask(heartbeat(2)));
    const get = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    asked.push(strange!.ask(get), last!.askLast(heartbeat(2)));
    two!.socket.write(heartbeat(2) + heartbeat(3));
    split!.socket.write(heartbeat(2).slice(0, -3));
    setImmediate(() => split!.socket.write(heartbeat(2).slice(-3)));
    gone!.socket.write(heartbeat(2));
    setImmediate(() => gone!.socket.destroy());
    asked.push(
      split!.answer(),
      two!.answer().then(() => two!.answer()),
    );
    for (const answer of await Promise.all(asked)) expect(answer).toMatch(/200 OK/);
    expect(await strange!.ask(heartbeat(3))).toMatch(/200 OK/);
  });
});

let folder = "";
let authorityFile = "";
let certificate = { cert: "", key: "" };
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-lane-"));
  const authority = testAuthority(folder);
  authorityFile = authority.ca;
  certificate = authority.issue("a");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a connection of the quick lane", () => {
  test("goes on with node:http from its first request that is not plain", async () => {
    const wire = wireTo(await serve(fakeMember()));
    expect(await wire.ask(heartbeat(1))).toMatch(/200 OK/);
    expect(await wire.ask("GET /v1/pool HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/200 OK/);
    expect(await wire.ask(heartbeat(2))).toMatch(/200 OK/);
  });

  test("meets node:http with a request of which only a part has come", async () => {
    const member = fakeMember();
    const wire = wireTo(await serve(member));
    expect(await wire.ask(heartbeat(1))).toMatch(/200 OK/);
    const bytes = heartbeat(2);
    wire.socket.write(bytes.slice(0, -3));
    await new Promise<void>((resolve) => wire.socket.write(bytes.slice(-3), () => resolve()));
    expect(await wire.answer()).toMatch(/200 OK/);
    expect(member.asked).toHaveLength(2);
  });

  test("answers what was sent before an answer in order, plain or not", async () => {
    const answers: ((n: number) => void)[] = [];
    const member = fakeMember({
      heartbeat: () =>
        new Promise((resolve) => {
          answers.push((n) => resolve({ ...granted("cad", false), lifeMs: n }));
        }),
    });
    const wire = wireTo(await serve(member));
    wire.socket.write(heartbeat(1));
    await expect.poll(() => answers.length).toBe(1);
    wire.socket.write(heartbeat(2) + heartbeat(3));
    wire.socket.write("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    answers.shift()?.(1);
    expect(await wire.answer()).toContain('"lifeMs":1,');
    await expect.poll(() => answers.length).toBe(2);
    answers.pop()?.(3);
    answers.pop()?.(2);
    expect(await wire.answer()).toContain('"lifeMs":2,');
    expect(await wire.answer()).toContain('"lifeMs":3,');
    expect(await wire.answer()).toMatch(/200 OK/);
  });

  test("is closed when nothing comes, and when it was idle for too long", async () => {
    const server = await serve(fakeMember(), { limits: { headersMs: 50, keepAliveMs: 100 } });
    expect(await wireTo(server).answer()).toBe("closed");
    const wire = wireTo(server);
    expect(await wire.ask(heartbeat(1))).toMatch(/200 OK/);
    expect(await wire.answer()).toBe("closed");
  });

  test("answers whoever sends no more, then ends", async () => {
    const wire = wireTo(await serve(fakeMember()));
    wire.socket.end(heartbeat(1));
    expect(await wire.answer()).toMatch(/200 OK/);
    expect(await wire.answer()).toBe("closed");
  });

  test("answers what was sent before the client's last word", async () => {
    const answers: (() => void)[] = [];
    const member = fakeMember({
      heartbeat: () => new Promise((resolve) => answers.push(() => resolve(granted("cad", false)))),
    });
    const wire = wireTo(await serve(member));
    wire.socket.write(heartbeat(1));
    await expect.poll(() => answers.length).toBe(1);
    wire.socket.end(requestOf("DELETE", `/v1/authorizations/${SESSION}?n=2`));
    // The server's side of the connection hears of both before the first is answered.
    await expect.poll(() => wire.socket.writableFinished).toBe(true);
    await new Promise(setImmediate);
    answers.pop()?.();
    expect(await wire.answer()).toMatch(/200 OK/);
    expect(await wire.answer()).toMatch(/204 /);
    expect(await wire.answer()).toBe("closed");
  });

  test("is not read while its client reads no answers", async () => {
    let asked = 0;
    const answer = { ...granted("cad", false), token: "t".repeat(60_000) };
    const member = fakeMember({
      heartbeat: () => {
        asked += 1;
        return answer;
      },
    });
    const wire = wireTo(await serve(member));
    wire.socket.pause();
    wire.socket.setNoDelay(true);
    const answersMax = 1_000;
    let sent = 0;
    // One after the other, each of which the server has read before the next, as long as it reads.
    const isRead = async (): Promise<boolean> => {
      const untilMs = performance.now() + READ_WITHIN_MS;
      const wanted = sent;
      for (;;) {
        if (asked >= wanted) return true;
        if (performance.now() > untilMs) return false;
        await new Promise(setImmediate);
      }
    };
    do {
      sent += 1;
      wire.socket.write(heartbeat(sent));
    } while (sent < answersMax && (await isRead()));
    expect(asked).toBeLessThan(answersMax / 2);
    wire.socket.resume();
    for (let n = 0; n < sent; n += 1) expect(await wire.answer()).toMatch(/200 OK/);
    expect(asked).toBe(sent);
  });

  test("survives a client that is gone before its answer", async () => {
    let answer: (() => void) | null = null;
    const member = fakeMember({
      heartbeat: () => new Promise((resolve) => (answer = () => resolve(granted("cad", false)))),
    });
    const server = await serve(member);
    const wire = wireTo(server);
    wire.socket.write(heartbeat(1));
    const give = await waitedFor(() => answer);
    wire.socket.resetAndDestroy();
    give();
    expect(await wireTo(server).ask("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/200 OK/);
  });

  test("ends with the server: idle ones at once, others after their answer", async () => {
    let answer: (() => void) | null = null;
    const member = fakeMember({
      heartbeat: () => new Promise((resolve) => (answer = () => resolve(granted("cad", false)))),
    });
    const server = await serverOf(member);
    const [idle, fresh, busy] = [wireTo(server), wireTo(server), wireTo(server)];
    expect(await idle.ask(CHECKOUT)).toMatch(/201/);
    expect(await fresh.ask(CHECKOUT)).toMatch(/201/);
    busy.socket.write(heartbeat(1));
    const give = await waitedFor(() => answer);
    const closed = server.close();
    expect(await idle.answer()).toBe("closed");
    expect(await fresh.answer()).toBe("closed");
    give();
    expect(await busy.answer()).toMatch(/200 OK[^]*Connection: close/);
    expect(await busy.answer()).toBe("closed");
    await closed;
  });
});

describe("any request", () => {
  const anyOf = <Value>(...values: Value[]): fc.Arbitrary<Value> => fc.constantFrom(...values);
  const header = fc.oneof(
    anyOf(
      `Quorate-Session: ${SECRET}`,
      `quorate-session:${SECRET}`,
      "Quorate-Session: short",
      "Content-Type: application/json",
      "Content-Type: text/plain",
      "Connection: keep-alive",
      "Connection: close",
      "Transfer-Encoding: chunked",
      "Transfer-Encoding : chunked",
      "Content-Length: 7",
      "Content-Length: 07",
      "Content-Length: +7",
      "Content-Length: 7, 7",
      "Content-Length: 20000",
      "Expect: 100-continue",
      "Expect: tea",
      "Upgrade: websocket",
      "Origin: http://evil.example",
      "Host: again",
      "X-Empty:",
      "X-Folded: a\r\n b",
      "X-Bare: a\nHost: b",
      "X-Carriage: a\rb",
      "X-Latin: \u00e9",
      "X-Nul: a\0b",
      " Leading: space",
      "No colon",
      ": no name",
      "Na me: x",
      `Cookie: ${"c".repeat(40)}`,
      `X-Long: ${"x".repeat(20_000)}`,
      ...Array.from({ length: 3 }, (_, index) => `X-${index}: ${"y".repeat(index)}`),
    ),
    fc
      .tuple(fc.string({ maxLength: 8 }), fc.string({ maxLength: 12 }))
      .map(([name, value]) => `${name}: ${value}`),
  );
  const request = fc
    .record({
      method: anyOf(
        "POST",
        "POST",
        "POST",
        "DELETE",
        "DELETE",
        "GET",
        "PUT",
        "post",
        "POST\t",
        "D",
      ),
      path: anyOf(
        HEARTBEAT_PATH,
        HEARTBEAT_PATH,
        "/v1/authorizations",
        `/v1/authorizations/${SESSION}`,
        `/v1/authorizations/${SESSION}?n=4`,
        "/v1/authorizations/x/y/z",
        "/v1/authorizations%2F",
        "/v1/authorizations/ x",
        "/v1/authorizationsé",
        `http://x${HEARTBEAT_PATH}`,
        "*",
      ),
      version: anyOf(
        " HTTP/1.1",
        " HTTP/1.1",
        " HTTP/1.1",
        " HTTP/1.0",
        " HTTP/2.0",
        "",
        "  HTTP/1.1",
      ),
      host: anyOf("Host: x\r\n", "Host: x\r\n", "host: x:1\r\n", ""),
      headers: fc.array(header, { maxLength: 4 }),
      body: anyOf("", "{}", '{"n":1}', '{"n":', '{"x":2}', "\u00e9"),
      length: anyOf("right", "right", "right", "none", "999"),
      rest: anyOf("", "", "", "\r\n", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    })
    .map(({ method, path, version, host, headers, body, length, rest }) => {
      const size = length === "right" ? (body === "" ? null : body.length) : length;
      const lines = headers.map((each) => `${each}\r\n`).join("");
      const last = size === null || size === "none" ? "" : `Content-Length: ${size}\r\n`;
      return `${method} ${path}${version}\r\n${host}${lines}${last}\r\n${body}${rest}`;
    });

  const isUnparsed = (answer: string): boolean => answer.includes("not a well-formed HTTP request");

  test("is answered the same in both ways, whatever it is", { timeout: 120_000 }, async () => {
    const member: FakeMember = fakeMember();
    const server = await serve(member);
    await fc.assert(
      fc.asyncProperty(request, async (bytes) => {
        const [quick, slow] = [wireTo(server), await slowWireTo(server)];
        member.asked.splice(0);
        const first = await quick.askLast(bytes);
        const asked = member.asked.splice(0);
        const second = await slow.askLast(bytes);
        // node:http itself answers either the request or what follows it and is no request, whichever is first.
        const isPlain = readQuickRequest(Buffer.from(bytes, "latin1"), quick.socket, 16_384);
        const isRace = isPlain === null && isUnparsed(first) !== isUnparsed(second);
        if (!isRace) {
          expect(second).toBe(first);
          expect(member.asked).toEqual(asked);
        }
        quick.socket.destroy();
        slow.socket.destroy();
      }),
      { numRuns: 300 },
    );
  });
});
