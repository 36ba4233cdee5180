import { describe, expect, test } from "vitest";
import { REFUSALS } from "@quorate/core";
import type { RefusalCode } from "@quorate/core";
import { Compile } from "typebox/compile";
import type { Static } from "typebox";
import type {
  AuditAnswer,
  AuditQuery,
  AuthorizationsPage,
  AuthorizationsQuery,
  CheckoutRequest,
  DenialsAnswer,
  DenialsQuery,
  FeaturesAnswer,
  Granted,
  HeartbeatRequest,
  LicenseAnswer,
  LoginAnswer,
  LoginBody,
  LoginState,
  MemberEvent,
  LicenseHistoryAnswer,
  PoolAnswer,
  RecentEventsAnswer,
  TokenAnswer,
  TokenBody,
  TokensAnswer,
  UsageAnswer,
  UsageQuery,
  UsageSeriesAnswer,
  UsageSeriesQuery,
} from "./api.ts";
import { openApiDocument } from "./openapi.ts";
import { problemOf, refusalOf } from "./problems.ts";
import { authorizationPath, heartbeatPath, methodsAt, PEER_KINDS, ROUTES } from "./routes.ts";
import { SCHEMAS } from "./schemas.ts";

/** Everything inside `value` that is at a `$ref`. */
function referencesIn(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "$ref" && typeof inner === "string" ? [inner] : referencesIn(inner),
  );
}

interface OpenApi {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> };
}
interface Operation {
  operationId: string;
  responses: Record<string, unknown>;
  security: Record<string, unknown>[];
  parameters: { name: string; in: string; required: boolean }[];
}

const text = JSON.stringify(openApiDocument("1.0.0"));
const { paths, components }: OpenApi = JSON.parse(text);
const operations = Object.values(paths).flatMap((methods) => Object.values(methods));

describe("the OpenAPI document", () => {
  test("has every route with its answers, once", () => {
    expect(operations).toHaveLength(ROUTES.length);
    expect(new Set(operations.map((one) => one.operationId)).size).toBe(ROUTES.length);
    for (const route of ROUTES) {
      const operation = paths[route.path]?.[route.method.toLowerCase()];
      expect(operation?.operationId).toBe(route.operation);
      for (const { status } of route.answers) {
        expect(operation?.responses).toHaveProperty(String(status));
      }
      for (const code of route.refusals) {
        expect(operation?.responses).toHaveProperty(String(REFUSALS[code].status));
      }
    }
  });

  test("refers to nothing that is missing", () => {
    const references = referencesIn({ paths, components });
    expect(references.length).toBeGreaterThan(30);
    for (const reference of references) {
      const name = reference.replace("#/components/schemas/", "");
      expect(Object.keys(components.schemas), reference).toContain(name);
    }
    for (const scheme of operations.flatMap((one) => one.security.flatMap(Object.keys))) {
      expect(Object.keys(components.securitySchemes)).toContain(scheme);
    }
  });

  test("names each parameter of a path", () => {
    for (const [path, methods] of Object.entries(paths)) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      for (const { parameters } of Object.values(methods)) {
        const inPath = parameters.filter((one) => one.in === "path").map((one) => one.name);
        expect(inPath).toEqual(named);
      }
    }
  });

  test("is plain JSON, the same each time", () => {
    expect(JSON.stringify(openApiDocument("1.0.0"))).toBe(text);
    expect(text).not.toContain("~");
  });
});

describe("the table of routes", () => {
  test("knows the methods of a path", () => {
    expect(methodsAt("/v1/authorizations")).toEqual(["POST", "GET"]);
    expect(methodsAt(authorizationPath("x"))).toEqual(["DELETE"]);
    expect(methodsAt(heartbeatPath("x"))).toEqual(["POST"]);
    expect(methodsAt("/v1/authorizations/")).toEqual([]);
    expect(methodsAt("/v1/authorizations/x/y")).toEqual([]);
    for (const kind of PEER_KINDS) expect(methodsAt(`/v1/peer/${kind}`)).toEqual(["POST"]);
  });
});

describe("the schemas", () => {
  test("compile, each of them", () => {
    for (const schema of Object.values(SCHEMAS)) {
      expect(Compile(schema).Check(undefined)).toBe(false);
    }
  });

  test("have the types of the wire", () => {
    // What is asserted here is that these lines compile, in both directions where the wire is exact.
    const checkout = (body: Static<typeof SCHEMAS.CheckoutBody>): Omit<CheckoutRequest, "secret"> =>
      // A property that is optional in TypeBox may be written as undefined; JSON has no such thing.
      JSON.parse(JSON.stringify(body));
    const same: [
      Mutual<Static<typeof SCHEMAS.CheckoutBody>, Omit<CheckoutRequest, "secret">>,
      Mutual<Static<typeof SCHEMAS.HeartbeatBody>, Omit<HeartbeatRequest, "session" | "secret">>,
      Mutual<Static<typeof SCHEMAS.AuthorizationsQuery>, AuthorizationsQuery>,
      Mutual<Static<typeof SCHEMAS.Granted>, Omit<Granted, "created">>,
      Mutual<Static<typeof SCHEMAS.AuthorizationsPage>, AuthorizationsPage>,
      Mutual<Static<typeof SCHEMAS.FeaturesAnswer>, FeaturesAnswer>,
      Mutual<Static<typeof SCHEMAS.PoolAnswer>, PoolAnswer>,
      Mutual<Static<typeof SCHEMAS.LicenseAnswer>, LicenseAnswer>,
      Mutual<Static<typeof SCHEMAS.TokenBody>, TokenBody>,
      Mutual<Static<typeof SCHEMAS.TokenAnswer>, TokenAnswer>,
      Mutual<Static<typeof SCHEMAS.TokensAnswer>, TokensAnswer>,
      Mutual<Static<typeof SCHEMAS.LoginBody>, LoginBody>,
      Mutual<Static<typeof SCHEMAS.LoginAnswer>, LoginAnswer>,
      Mutual<Static<typeof SCHEMAS.LoginState>, LoginState>,
      Mutual<Static<typeof SCHEMAS.AuditQuery>, AuditQuery>,
      Mutual<Static<typeof SCHEMAS.AuditAnswer>, AuditAnswer>,
      Mutual<Static<typeof SCHEMAS.MemberEvent>, MemberEvent>,
      Mutual<Static<typeof SCHEMAS.UsageQuery>, UsageQuery>,
      Mutual<Static<typeof SCHEMAS.UsageAnswer>, UsageAnswer>,
      Mutual<Static<typeof SCHEMAS.UsageSeriesQuery>, UsageSeriesQuery>,
      Mutual<Static<typeof SCHEMAS.UsageSeriesAnswer>, UsageSeriesAnswer>,
      Mutual<Static<typeof SCHEMAS.DenialsQuery>, DenialsQuery>,
      Mutual<Static<typeof SCHEMAS.DenialsAnswer>, DenialsAnswer>,
      Mutual<Static<typeof SCHEMAS.LicenseHistoryAnswer>, LicenseHistoryAnswer>,
      Mutual<Static<typeof SCHEMAS.RecentEventsAnswer>, RecentEventsAnswer>,
    ] = [
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
    ];
    expect(same).not.toContain(false);
    expect(checkout({ session: "s", feature: "f", holder: { user: "u", host: "h" } })).toEqual({
      session: "s",
      feature: "f",
      holder: { user: "u", host: "h" },
    });
  });
});

describe("a problem document", () => {
  test("of every code comes back as the refusal it was", () => {
    for (const code of Object.keys(REFUSALS).filter(isCode)) {
      const refusal = { refused: code, detail: "why", nonce: "n", leader: "l", retryAfterMs: 5 };
      const problem = problemOf(refusal);
      expect(problem.status).toBe(REFUSALS[code].status);
      expect(Compile(SCHEMAS.Problem).Check(problem)).toBe(true);
      expect(refusalOf(JSON.parse(JSON.stringify(problem)))).toEqual(refusal);
    }
  });

  test("of anybody else is none", () => {
    for (const body of [null, 1, "x", [], {}, { code: "toString" }, { code: "teapot" }]) {
      expect(refusalOf(body)).toBeNull();
    }
    expect(refusalOf({ code: "busy", retryAfterMs: "soon" })).toEqual({
      refused: "busy",
      detail: "",
    });
  });
});

function isCode(text: string): text is RefusalCode {
  return Object.hasOwn(REFUSALS, text);
}

/** True when each can stand for the other, whatever is readonly. */
type Mutual<Left, Right> = [Left] extends [Right]
  ? [Right] extends [Plain<Left>]
    ? true
    : false
  : false;
type Plain<Value> = Value extends (infer Item)[]
  ? readonly Plain<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]: Plain<Value[Key]> }
    : Value;
