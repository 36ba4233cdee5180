import * as fc from "fast-check";
import Fastify from "fastify";
import { beforeAll, describe, expect, test } from "vitest";
import { SCHEMAS } from "@quorate/protocol";
import { CHECKOUT } from "./fake-member.ts";
import { readCheckoutBody, readHeartbeatBody, readReleaseQuery } from "./session-bodies.ts";

/** Text at and around every bound and pattern of the schemas. */
const text = fc.oneof(
  fc.string({ maxLength: 5 }),
  fc.string({ unit: "binary", maxLength: 5 }),
  fc.constantFrom(
    "",
    "a",
    "a.b",
    "-a",
    "\u202e",
    "a\nb",
    "\ud800",
    "1.0",
    " ",
    "e\u0301",
    "__proto__",
  ),
  fc
    .tuple(
      fc.constantFrom("a", "\u{1f600}", "_", "\u007f", "\u00a0"),
      fc.constantFrom(31, 32, 33, 42, 43, 44, 64, 127, 128, 129, 256, 257, 4096, 4097),
    )
    .map(([unit, count]) => unit.repeat(count)),
);
const number = fc.oneof(
  fc.constantFrom(
    0,
    -0,
    1,
    -1,
    0.5,
    1_000_000,
    1_000_001,
    86_400_000,
    86_400_001,
    Number.MAX_VALUE,
  ),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER + 1, Number.NaN),
  fc.double(),
);
const junk = fc.oneof(text, number, fc.boolean(), fc.constant(null), fc.jsonValue({ maxDepth: 2 }));
const holder = fc.oneof(
  fc.constant(CHECKOUT.holder),
  fc.record({ user: text, host: text, process: junk, other: junk }, { requiredKeys: [] }),
  junk,
);
const body = fc.oneof(
  fc.record(
    {
      session: fc.oneof(fc.constant(CHECKOUT.session), junk),
      n: fc.oneof(number, junk),
      feature: fc.oneof(fc.constant("cad"), junk),
      version: fc.oneof(fc.constant("2026.1"), junk),
      seats: fc.oneof(number, junk),
      holder,
      waitMs: fc.oneof(number, junk),
      token: junk,
      confirm: junk,
    },
    { requiredKeys: [] },
  ),
  // One member of a good body changed: most bodies of the other kind fail for several reasons at once.
  fc
    .tuple(fc.constantFrom("n", "session", "feature", "version", "seats", "waitMs", "x"), junk)
    .map(([key, value]) => ({ ...CHECKOUT, [key]: value })),
  holder.map((changed) => ({ ...CHECKOUT, holder: changed })),
  fc.tuple(fc.constantFrom("token", "confirm"), text).map(([key, value]) => ({ [key]: value })),
  junk,
);

let matches: (schema: object, value: unknown) => boolean;

beforeAll(async () => {
  // The Ajv that the server's other routes are checked with.
  const app = Fastify({
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
  });
  app.get("/", (request, reply) => {
    const compiled = new Map<object, (value: unknown) => boolean>();
    matches = (schema, value) => {
      const check = compiled.get(schema) ?? request.compileValidationSchema({ ...schema });
      compiled.set(schema, check);
      return check(value);
    };
    void reply.send({});
  });
  await app.inject("/");
});

describe("the hand-written checks of the hot path", () => {
  test("agree with the schema of a checkout", () => {
    fc.assert(
      fc.property(body, (value) => {
        const sent: unknown = overTheWire(value);
        const read = readCheckoutBody(sent);
        expect(typeof read !== "string", JSON.stringify(read)).toBe(
          matches(SCHEMAS.CheckoutBody, sent),
        );
      }),
      { numRuns: 3_000 },
    );
  });

  test("agree with the schema of a heartbeat", () => {
    fc.assert(
      fc.property(body, (value) => {
        const sent: unknown = overTheWire(value);
        const read = readHeartbeatBody(sent);
        expect(typeof read !== "string", JSON.stringify(read)).toBe(
          matches(SCHEMAS.HeartbeatBody, sent),
        );
      }),
      { numRuns: 3_000 },
    );
  });

  test("agree with the schema of a release's query", () => {
    const query = fc.record({ n: text, only: text, reason: text }, { requiredKeys: [] });
    fc.assert(
      fc.property(query, (words) => {
        const wellFormed = Object.fromEntries(
          Object.entries(words).map(([key, value]) => [key, Buffer.from(value).toString()]),
        );
        const read = readReleaseQuery(new URLSearchParams(wellFormed).toString());
        const { n, ...rest } = wellFormed;
        const typed = n === undefined ? rest : { ...rest, n: /^\d{1,16}$/.test(n) ? Number(n) : n };
        expect(typeof read !== "string").toBe(matches(SCHEMAS.ReleaseQuery, typed));
        if (typeof read !== "string") expect(read).toEqual(typed);
      }),
      { numRuns: 2_000 },
    );
  });

  test("take a good body as it is", () => {
    expect(readCheckoutBody(CHECKOUT)).toBe(CHECKOUT);
    expect(readHeartbeatBody({})).toEqual({});
    expect(readReleaseQuery("")).toEqual({});
    expect(readReleaseQuery("n=12&only=b&reason=left+the+company")).toEqual({
      n: 12,
      only: "b",
      reason: "left the company",
    });
  });

  test("name the member that is wrong and never its value", () => {
    const complaint = readCheckoutBody({ ...CHECKOUT, seats: "a-secret" });
    expect(complaint).toBe("seats must be an integer from 1 to 1000000.");
    expect(readCheckoutBody({ ...CHECKOUT, setas: 1 })).toBe('"setas" is not known here.');
    expect(readCheckoutBody({ ...CHECKOUT, "a\u001bb": 1 })).toBe(
      "There is a member that is not known.",
    );
    expect(readReleaseQuery("n=1&n=2")).toBe("n is there twice.");
  });
});

/** What JSON makes of a value: NaN becomes null, `undefined` vanishes; a `__proto__` key stays a key. */
function overTheWire(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value) ?? "null");
}
