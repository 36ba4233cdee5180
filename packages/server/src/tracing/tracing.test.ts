/** Spans as a real SDK collects them. */
import { context, propagation, trace } from "@opentelemetry/api";
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { refuse } from "@quorate/core";
import {
  ask,
  CHECKOUT,
  fakeMember,
  granted,
  SESSION,
  SESSION_HEADERS,
  serverOf,
} from "../http/fake-member.ts";
import type { HttpServer } from "../http/http-server.ts";
import type { Journal } from "../journal/journal.ts";
import type { Store } from "../store/store.ts";
import {
  headersOfSpan,
  tracedJournal,
  tracedMember,
  tracedPeers,
  tracedStore,
  tracerIfOn,
} from "./tracing.ts";

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const tracer = provider.getTracer("test");

let server: HttpServer | null = null;
afterEach(async () => {
  await server?.close();
  server = null;
  exporter.reset();
});

it("without an SDK there is no tracer", () => {
  expect(tracerIfOn()).toBeNull();
});

describe("with an SDK", () => {
  beforeAll(() => provider.register());
  afterAll(async () => {
    trace.disable();
    context.disable();
    propagation.disable();
    await provider.shutdown();
  });

  const spans = (): readonly ReadableSpan[] => exporter.getFinishedSpans();
  const named = (name: string): ReadableSpan => {
    const found = spans().find((span) => span.name === name);
    if (found === undefined)
      throw new Error(
        `no ${name} in ${spans()
          .map((each) => each.name)
          .join()}`,
      );
    return found;
  };

  it("there is one", () => {
    expect(tracerIfOn()).not.toBeNull();
  });

  it("a call has a span under its caller's, and what it does is within", async () => {
    const features = fakeMember().features;
    const member = fakeMember({
      features: async () =>
        tracer.startActiveSpan("inner", async (span) => {
          const answer = await features();
          span.end();
          return answer;
        }),
    });
    server = await serverOf(member, { tracer });
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
    await ask(`${server.url}/v1/features`, "GET", { traceparent });
    await expect.poll(() => spans().length).toBe(2);
    const call = named("GET /v1/features");
    expect(call.attributes).toEqual({
      "http.request.method": "GET",
      "http.route": "/v1/features",
      "http.response.status_code": 200,
    });
    expect(call.spanContext().traceId).toBe(traceId);
    expect(call.parentSpanContext?.spanId).toBe("b7ad6b7169203331");
    expect(named("inner").parentSpanContext?.spanId).toBe(call.spanContext().spanId);
  });

  it("names no path that somebody made up, no session and no token; probes and streams have none", async () => {
    server = await serverOf(fakeMember(), { tracer });
    await ask(`${server.url}/nowhere/secret`, "GET");
    await ask(`${server.url}/v1/authorizations?user=ana`, "GET");
    await ask(`${server.url}/v1/tokens/${SESSION}`, "DELETE", { Authorization: "Bearer secret" });
    for (const path of ["/livez", "/readyz", "/metrics"]) await ask(server.url + path, "GET");
    await expect.poll(() => spans().length).toBe(2);
    const text = JSON.stringify(spans().map(({ name, attributes }) => ({ name, attributes })));
    expect(text).not.toMatch(/secret|ana|nowhere/);
    expect(text).not.toContain(SESSION);
    expect(named("DELETE /v1/tokens/:id").attributes["http.response.status_code"]).toBe(403);
  });

  it("checkouts and what they wait for have spans, heartbeats that are answered at once have none", async () => {
    const member = fakeMember();
    server = await serverOf(tracedMember(member, tracer), { tracer });
    const { url } = server;
    await ask(`${url}/v1/authorizations`, "POST", SESSION_HEADERS, CHECKOUT);
    await ask(`${url}/v1/authorizations/${SESSION}/heartbeat`, "POST", SESSION_HEADERS, {});
    await ask(`${url}/v1/authorizations/${SESSION}`, "DELETE", SESSION_HEADERS);
    expect((await ask(`${url}/v1/pool`, "GET")).status).toBe(200);
    await expect.poll(() => spans().map(({ name }) => name)).toContain("GET /v1/pool");
    expect(spans().map(({ name }) => name)).toEqual(["checkout", "release", "GET /v1/pool"]);
    expect(named("checkout").attributes).toEqual({
      "quorate.feature": "cad",
      "quorate.outcome": "granted",
    });
    const waits = tracedMember(
      fakeMember({ heartbeat: async () => granted("cad", false) }),
      tracer,
    );
    await waits.heartbeat({ session: SESSION, secret: "" });
    expect(named("heartbeat").ended).toBe(true);
  });

  it("journal, store and peers have spans with their outcome, and pass on answers and errors as they are", async () => {
    const failure = new Error("the disk of ana is full");
    const journal = tracedJournal(
      { append: () => Promise.reject(failure) } as Partial<Journal> as Journal,
      tracer,
    );
    await expect(journal.append([])).rejects.toBe(failure);
    expect(named("journal commit").status.code).toBe(2);
    expect(JSON.stringify(named("journal commit").events)).not.toContain("ana");

    const outcome = { outcome: "applied", revision: 3, read: [] } as const;
    const transact = async () => outcome;
    const store = tracedStore({ name: "memory", transact } as Partial<Store> as Store, tracer);
    const transaction = { compare: [], puts: [], reads: [] };
    expect(await store.transact(transaction, 100)).toBe(outcome);
    expect(named("store transaction").attributes).toEqual({
      "db.system.name": "memory",
      "quorate.outcome": "applied",
    });

    let carried: Record<string, string> = {};
    const refusal = refuse("not-leader", "b leads");
    const peers = tracedPeers(
      {
        call: async () => {
          carried = headersOfSpan();
          return { ok: false, refusal };
        },
      },
      tracer,
    );
    const call = { kind: "collect", epoch: 1, term: 1 } as const;
    expect(await peers.call("http://127.0.0.1:9", "b", call, 100)).toEqual({ ok: false, refusal });
    const span = named("peer collect");
    expect(span.attributes).toMatchObject({
      "quorate.member": "b",
      "quorate.outcome": "not-leader",
    });
    expect(carried["traceparent"]).toContain(span.spanContext().spanId);
  });
});
