/**
 * Traces through the standard API of OpenTelemetry. Where nobody has registered an SDK there is no tracer, nothing is
 * wrapped, and nothing costs anything; that is looked at once, when a member opens.
 *
 * Deliberately absent: a span for each heartbeat that is answered at once. They are nearly all calls, and each says
 * the same. No span holds a name of a user, a token or a secret.
 */
import {
  context,
  propagation,
  ProxyTracerProvider,
  type Span,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import type { FastifyInstance } from "fastify";
import { isRefusal } from "@quorate/core";
import type { Journal } from "../journal/journal.ts";
import type { MemberApi } from "../member/api.ts";
import type { Peers } from "../member/ports.ts";
import type { Store } from "../store/store.ts";

const NAME = "quorate";
/** Asked by machines all the time, or without an end. */
const ROUTES_UNTRACED: ReadonlySet<string> = new Set([
  "/livez",
  "/readyz",
  "/metrics",
  "/v1/events",
  "/assets/:name",
]);

/** Null: this process has no SDK, and nothing is traced. */
export function tracerIfOn(): Tracer | null {
  const provider = trace.getTracerProvider();
  const isOff =
    provider instanceof ProxyTracerProvider && provider.getDelegateTracer(NAME) === undefined;
  return isOff ? null : trace.getTracer(NAME);
}

/** A span for each call that Fastify serves, under the caller's if it sent `traceparent`. */
export function traceCalls(app: FastifyInstance, tracer: Tracer): void {
  // With a callback, so that what the call does runs within the span.
  app.addHook("onRequest", (request, reply, done) => {
    const { method, routeOptions, headers } = request;
    const route = routeOptions.url ?? "";
    if (route === "" || ROUTES_UNTRACED.has(route)) return done();
    const parent = propagation.extract(context.active(), headers);
    const attributes = { "http.request.method": method, "http.route": route };
    const options = { kind: SpanKind.SERVER, attributes };
    const span = tracer.startSpan(`${method} ${route}`, options, parent);
    reply.raw.once("close", () => {
      const { statusCode } = reply.raw;
      span.setAttribute("http.response.status_code", statusCode);
      if (statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    });
    return context.with(trace.setSpan(parent, span), done);
  });
}

/** What a member is asked about sessions. */
export function tracedMember(member: MemberApi, tracer: Tracer): MemberApi {
  const checkout: MemberApi["checkout"] = (request) =>
    inSpan(
      tracer,
      "checkout",
      { attributes: { "quorate.feature": request.feature } },
      async (span) => {
        const answer = await member.checkout(request);
        span.setAttribute("quorate.outcome", isRefusal(answer) ? answer.refused : "granted");
        return answer;
      },
    );
  const release: MemberApi["release"] = (request) =>
    inSpan(tracer, "release", {}, () => member.release(request));
  const heartbeat: MemberApi["heartbeat"] = (request) => {
    const startTime = Date.now();
    const answer = member.heartbeat(request);
    if (!(answer instanceof Promise)) return answer;
    // Not at once, so it converts, waits for the disk or asks another member.
    const span = tracer.startSpan("heartbeat", { startTime });
    const end = (): void => span.end();
    answer.then(end, end);
    return answer;
  };
  const own: Partial<MemberApi> = { checkout, release, heartbeat };
  return new Proxy(member, {
    get: (target, property) => {
      const traced: unknown = Reflect.get(own, property);
      if (traced !== undefined) return traced;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Calls to other members, which see the span by `headersOfSpan`. */
export function tracedPeers(peers: Peers, tracer: Tracer): Peers {
  return {
    call: (url, to, call, deadlineMs) => {
      const attributes = { "quorate.member": to, "server.address": URL.parse(url)?.host ?? "" };
      const options = { kind: SpanKind.CLIENT, attributes };
      return inSpan(tracer, `peer ${call.kind}`, options, async (span) => {
        const answer = await peers.call(url, to, call, deadlineMs);
        const words = answer === null ? "silent" : answer.ok ? "ok" : answer.refusal.refused;
        span.setAttribute("quorate.outcome", words);
        return answer;
      });
    },
  };
}

/** The headers that carry the span of the moment on to who is called. */
export function headersOfSpan(): Record<string, string> {
  const headers: Record<string, string> = {};
  propagation.inject(context.active(), headers);
  return headers;
}

export function tracedStore(store: Store, tracer: Tracer): Store {
  return {
    name: store.name,
    failoverGapMs: store.failoverGapMs,
    transact: (transaction, deadlineMs) => {
      const attributes = { "db.system.name": store.name };
      const options = { kind: SpanKind.CLIENT, attributes };
      return inSpan(tracer, "store transaction", options, async (span) => {
        const ended = await store.transact(transaction, deadlineMs);
        span.setAttribute("quorate.outcome", ended.outcome);
        return ended;
      });
    },
    watch: (prefix, fromRevision, onChange) => store.watch(prefix, fromRevision, onChange),
    close: () => store.close(),
  };
}

/** From an entry's append to the end of its sync. */
export function tracedJournal(journal: Journal, tracer: Tracer): Journal {
  return {
    recover: () => journal.recover(),
    append: (entries) => {
      const attributes = { "quorate.entries": entries.length };
      return inSpan(tracer, "journal commit", { attributes }, () => journal.append(entries));
    },
    syncedSequence: () => journal.syncedSequence(),
    syncingSinceMs: () => journal.syncingSinceMs(),
    history: (query) => journal.history(query),
    usage: (query) => journal.usage(query),
    close: () => journal.close(),
  };
}

/** What `act` begins is within the span; the promise is the very one that it gave, so nobody waits longer. */
function inSpan<Answer>(
  tracer: Tracer,
  name: string,
  options: SpanOptions,
  act: (span: Span) => Promise<Answer>,
): Promise<Answer> {
  return tracer.startActiveSpan(name, options, (span) => {
    const answer = act(span);
    answer.then(
      () => span.end(),
      () => {
        // Whoever asked hears why; the error may name people.
        span.setStatus({ code: SpanStatusCode.ERROR });
        span.end();
      },
    );
    return answer;
  });
}
