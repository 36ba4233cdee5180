import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingHttpHeaders, Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { MemberEvent } from "@quorate/protocol";
import { keptLog } from "../http/fake-member.ts";
import { webhookKeyOf } from "./signature.ts";
import { createWebhooks } from "./webhooks.ts";
import type { WebhookBounds, Webhooks } from "./webhooks.ts";

const SECRET = "whsec_" + Buffer.from("a secret of the receiver").toString("base64");
const LOST: MemberEvent = {
  type: "member-lost",
  at: "2026-11-24T08:00:00.000Z",
  data: { member: "b", epoch: 3, state: "retired" },
};

interface Got {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

let receiver: Server;
let url: string;
let got: Got[];
/** What the receiver answers, in turn; then 204. */
let answers: (number | "cut" | "never")[];
let webhooks: Webhooks;
const log = keptLog();

beforeEach(async () => {
  got = [];
  answers = [];
  receiver = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      got.push({ headers: request.headers, body: Buffer.concat(pieces).toString("utf8") });
      const answer = answers.shift() ?? 204;
      if (answer === "cut") request.socket.destroy();
      else if (answer !== "never") {
        response.writeHead(answer, answer === 302 ? { Location: `${url}/elsewhere` } : {});
        response.end();
      }
    });
  });
  await new Promise<void>((resolve) => {
    receiver.listen(0, "127.0.0.1", resolve);
  });
  const { port } = receiver.address() as AddressInfo;
  url = `http://127.0.0.1:${port}`;
});

afterEach(async () => {
  webhooks.close();
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
});

function open(bounds: Partial<WebhookBounds> = {}): void {
  const key = webhookKeyOf(SECRET);
  if (key === null) throw new Error("the secret is long enough");
  webhooks = createWebhooks({
    urls: [`${url}/hook?token=hidden`],
    key,
    member: "a",
    pool: () => "acme",
    log,
    bounds: { firstPauseMs: 4, ...bounds },
  });
}

function denied(feature: string, code: string): MemberEvent {
  return { type: "denied", at: LOST.at, data: { feature, code } };
}

async function deliveries(): Promise<Record<string, number>> {
  const [counter] = webhooks.metrics;
  const values = (await counter?.get())?.values ?? [];
  return Object.fromEntries(values.map(({ labels, value }) => [labels["outcome"], value]));
}

describe("a webhook", () => {
  test("is signed as the standard says", async () => {
    open();
    webhooks.hear(LOST);
    await expect.poll(() => got.length).toBe(1);
    const [{ headers, body }] = got as [Got];
    const id = "acme/member-lost/b/3";
    expect(JSON.parse(body)).toEqual({ id, pool: "acme", member: "a", ...LOST });
    expect(headers["webhook-id"]).toBe(id);
    const timestamp = Number(headers["webhook-timestamp"]);
    expect(Math.abs(timestamp - Date.now() / 1_000)).toBeLessThan(60);
    const mac = createHmac("sha256", "a secret of the receiver")
      .update(`${id}.${timestamp}.${body}`)
      .digest("base64");
    expect(headers["webhook-signature"]).toBe(`v1,${mac}`);
  });

  test("comes again until the receiver takes it, as the same message and before the next", async () => {
    answers = [500, "cut", 302, 429];
    open();
    webhooks.hear(LOST);
    webhooks.hear({ ...LOST, data: { ...LOST.data, member: "c" } });
    await expect.poll(deliveries).toEqual({ delivered: 2, retried: 4 });
    const ids = got.map(({ headers }) => headers["webhook-id"]);
    expect(ids).toEqual([...Array(5).fill("acme/member-lost/b/3"), "acme/member-lost/c/3"]);
  });

  test("is given up after its tries, and the next one is not", async () => {
    answers = [500, "never", 500];
    open({ tries: 3, answerMs: 40 });
    webhooks.hear(LOST);
    webhooks.hear({ ...LOST, data: { ...LOST.data, member: "c" } });
    await expect.poll(deliveries).toEqual({ retried: 2, dropped: 1, delivered: 1 });
    expect(got).toHaveLength(4);
    expect(log.lines.join()).toContain("given up after 3 tries");
    expect(log.lines.join()).not.toContain("hidden");
  });

  test("is dropped, the oldest first, when too many wait", async () => {
    answers = ["never"];
    open({ queuedMax: 3, answerMs: 60_000 });
    for (let epoch = 1; epoch <= 5; epoch += 1) {
      webhooks.hear({ ...LOST, data: { member: "b", epoch } });
    }
    expect(await deliveries()).toEqual({ dropped: 2 });
    await expect.poll(() => got.length).toBe(1);
    receiver.closeAllConnections();
    await expect.poll(deliveries).toMatchObject({ delivered: 3 });
    const ids = got.map(({ headers }) => String(headers["webhook-id"]).at(-1));
    expect(ids).toEqual(["1", "1", "4", "5"]);
  });

  test("tells denials of a feature together, and nothing of what happens all the time", async () => {
    open({ denialsMs: 30 });
    webhooks.hear({ type: "granted", at: LOST.at, data: { feature: "cad" } });
    for (let times = 0; times < 5; times += 1) webhooks.hear(denied("cad", "no-seats"));
    webhooks.hear(denied("typed", "unknown-feature"));
    webhooks.hear(denied("typed otherwise", "unknown-feature"));
    await expect.poll(() => got.length).toBe(4);
    const told = got.map(({ body }) => {
      const { data }: MemberEvent = JSON.parse(body);
      return `${String(data["code"])} ${String(data["count"])}`;
    });
    expect(told.toSorted()).toEqual([
      "no-seats 1",
      "no-seats 4",
      "unknown-feature 1",
      "unknown-feature 1",
    ]);
  });

  test("that waits does not keep what comes after it from being heard", () => {
    answers = Array(50).fill("never");
    open();
    const sinceMs = performance.now();
    for (let times = 0; times < 2_000; times += 1) webhooks.hear(LOST);
    // Two thousand at once: no answer of a member is late because a receiver is.
    expect(performance.now() - sinceMs).toBeLessThan(1_000);
  });
});

describe("the secret of a webhook", () => {
  test("is base64 after its prefix, else the text itself, and never too short", () => {
    expect(webhookKeyOf(`${SECRET}\n`)?.toString()).toBe("a secret of the receiver");
    expect(webhookKeyOf(" sixteen letters! ")?.toString()).toBe("sixteen letters!");
    expect(webhookKeyOf("short")).toBeNull();
    expect(webhookKeyOf("whsec_c2hvcnQ=")).toBeNull();
  });
});
