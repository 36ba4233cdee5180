import { connect } from "node:net";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { MemberEvent } from "@quorate/protocol";
import { ask, fakeMember, serverOf } from "./fake-member.ts";
import type { FakeMember } from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";
import type { HttpLimits } from "./http-limits.ts";

const EVENT: MemberEvent = {
  type: "granted",
  at: "2026-11-24T08:00:00Z",
  data: { feature: "cad", words: "two\nlines" },
};

let member: FakeMember;
let server: HttpServer;

async function serve(limits: Partial<HttpLimits> = {}): Promise<void> {
  member = fakeMember();
  server = await serverOf(member, { limits });
}

afterEach(async () => {
  await server.close();
});

/** Reads a stream until it has `wanted`, or to its end. */
async function readUntil(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  wanted: string | null,
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  const enough = (): boolean => wanted !== null && text.includes(wanted);
  while (!enough()) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  return text;
}

async function openStream(lastId?: string): Promise<ReadableStreamDefaultReader<Uint8Array>> {
  const headers: Record<string, string> = lastId === undefined ? {} : { "Last-Event-ID": lastId };
  const response = await fetch(`${server.url}/v1/events`, { headers });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  expect(response.headers.get("cache-control")).toBe("no-store");
  if (response.body === null) throw new Error("a stream has a body");
  const reader = response.body.getReader();
  if (lastId === undefined) await readUntil(reader, "retry: 2000\n");
  return reader;
}

function told(type: string): MemberEvent {
  return { type, at: EVENT.at, data: {} };
}

/** Types and ids of the events in a stream's text. */
function eventsIn(text: string): { type: string; id: string }[] {
  return [...text.matchAll(/^id: (.*)\ndata: (.*)$/gm)].map(([, id = "", data = ""]) => {
    const event: MemberEvent = JSON.parse(data);
    return { type: event.type, id };
  });
}

describe("a reader that was cut", () => {
  async function lastIdOf(types: readonly string[]): Promise<string> {
    const reader = await openStream();
    for (const type of types) member.tell(told(type));
    const text = await readUntil(reader, `"${types.at(-1)}"`);
    await reader.cancel();
    return eventsIn(text).at(-1)?.id ?? "";
  }

  test("gets what it missed, each once and in order, and then what comes", async () => {
    await serve();
    const lastId = await lastIdOf(["one", "two"]);
    member.tell(told("three"));
    member.tell(told("four"));
    const reader = await openStream(lastId);
    const missed = await readUntil(reader, '"four"');
    member.tell(told("five"));
    const all = eventsIn(missed + (await readUntil(reader, '"five"')));
    expect(all.map(({ type }) => type)).toEqual(["three", "four", "five"]);
    expect(new Set(all.map(({ id }) => id)).size).toBe(3);
    await reader.cancel();
  });

  test("that missed nothing gets nothing twice", async () => {
    await serve();
    const reader = await openStream(await lastIdOf(["one"]));
    await readUntil(reader, "retry: 2000\n");
    member.tell(told("two"));
    expect(eventsIn(await readUntil(reader, '"two"')).map(({ type }) => type)).toEqual(["two"]);
    await reader.cancel();
  });

  test("is told of a gap when more was missed than is kept", async () => {
    await serve({ eventsKeptMax: 3 });
    const lastId = await lastIdOf(["one"]);
    for (const type of ["two", "three", "four", "five"]) member.tell(told(type));
    const reader = await openStream(lastId);
    const [gap] = eventsIn(await readUntil(reader, '"gap"'));
    await reader.cancel();
    // The gap's own id is a good place to go on from.
    member.tell(told("six"));
    const again = await openStream(gap?.id ?? "");
    const types = eventsIn(await readUntil(again, '"six"')).map(({ type }) => type);
    expect(types).toEqual(["six"]);
    await again.cancel();
  });

  test("is told of a gap when the id is another server's, or nonsense", async () => {
    await serve();
    member.tell(told("one"));
    for (const id of ["other.1", "x", ".", "9".repeat(2_000)]) {
      const reader = await openStream(id);
      expect(await readUntil(reader, '"gap"')).toContain('"type":"gap"');
      await reader.cancel();
    }
  });
});

describe("a stream of events", () => {
  test("brings each event to each reader, as one line of data", async () => {
    await serve();
    const readers = [await openStream(), await openStream()];
    member.tell(EVENT);
    for (const reader of readers) {
      const text = await readUntil(reader, "\n\n");
      const line = text.split("\n").find((one) => one.startsWith("data: ")) ?? "";
      expect(JSON.parse(line.slice("data: ".length))).toEqual(EVENT);
      await reader.cancel();
    }
  });

  test("says now and then that it is still there", async () => {
    await serve({ eventKeepAliveMs: 5 });
    const reader = await openStream();
    expect(await readUntil(reader, ": still here\n\n")).toContain(": still here");
    await reader.cancel();
  });

  test("ends when the server closes", async () => {
    await serve();
    const reader = await openStream();
    const rest = readUntil(reader, null);
    await server.close();
    expect(await rest).not.toContain("data:");
  });

  test("is refused when there are enough of them, and there is room again after one ends", async () => {
    await serve({ eventStreamsMax: 1 });
    const reader = await openStream();
    const refused = await ask(`${server.url}/v1/events`, "GET");
    expect(refused).toMatchObject({ status: 429, body: { code: "busy", retryAfterMs: 2_000 } });
    await reader.cancel();
    await expect.poll(async () => (await ask(`${server.url}/v1/events`, "HEAD")).status).toBe(200);
    await expect
      .poll(async () => {
        const response = await fetch(`${server.url}/v1/events`);
        await response.body?.cancel();
        return response.status;
      })
      .toBe(200);
  });

  test("cuts a reader that is too far behind and keeps the others", async () => {
    await serve({ eventBufferBytesMax: 64 * 1024 });
    const reader = await openStream();
    const lazy = await deafReader(server.port);
    const gone = new Promise<void>((resolve) => {
      lazy.on("close", () => resolve());
    });
    // More than the kernel's buffers of a connection on loopback hold, in pieces that a reader keeps
    // up with.
    const big = { ...EVENT, data: { text: "x".repeat(32 * 1024) } };
    const drained = readUntil(reader, '"last"');
    for (let round = 0; round < 400; round += 1) {
      member.tell(big);
      await new Promise((resolve) => setImmediate(resolve));
    }
    member.tell({ ...EVENT, type: "last" });
    expect(await drained).toContain('"last"');
    await reader.cancel();
    lazy.resume();
    await gone;
    const metrics = await ask(`${server.url}/metrics`, "GET");
    expect(metrics.text).toMatch(/quorate_event_streams [01]\n/);
  });
});

/** Asks for the events and then reads nothing. */
async function deafReader(port: number): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.write("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
    });
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.pause();
      resolve(socket);
    });
  });
}
