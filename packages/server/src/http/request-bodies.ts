/**
 * How Fastify reads bodies here: with our own bounded reader, so that a body that is too large is refused
 * in words instead of by a reset, and with the bytes kept for signatures and license files.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Refusal } from "@quorate/core";
import { parseJson, readBody } from "./body-reader.ts";
import type { BodyBounds } from "./body-reader.ts";

/** The bytes of a body that was parsed; empty where there was none. */
export type BytesOf = (request: FastifyRequest) => Buffer;

/** Thrown by hooks; the error handler makes the problem document of it. */
export class RefusedError extends Error {
  readonly refusal: Refusal;
  /** Stands in for the table's, where HTTP has a finer one. */
  readonly status: number | undefined;

  constructor(refusal: Refusal, status?: number) {
    super(refusal.detail);
    this.status = status;
    this.refusal = refusal;
  }
}

export function readBodiesOf(app: FastifyInstance, bounds: BodyBounds): BytesOf {
  const bytes = new WeakMap<FastifyRequest, Buffer>();

  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", (request, _payload, done) => {
    // What was sent to a path that is nothing is not looked at.
    if (request.is404) return done(null);
    return readBody(request.raw, request.routeOptions.bodyLimit, bounds, (refusal, body) => {
      if (refusal !== null) return done(null, new RefusedError(refusal));
      bytes.set(request, body);
      const parsed = body.length === 0 ? { value: undefined } : parseJson(body);
      return done(null, "value" in parsed ? parsed.value : new RefusedError(parsed));
    });
  });
  // Fastify closes the connection after an error of a parser, which may cut the refusal off; so a
  // refusal passes as if it were the body.
  app.addHook("preValidation", async (request) => {
    if (request.body instanceof RefusedError) throw request.body;
  });
  return (request) => bytes.get(request) ?? Buffer.alloc(0);
}
