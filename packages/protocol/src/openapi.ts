/**
 * The OpenAPI 3.1 document of one member, from the same tables that the server works with: `ROUTES`,
 * `SCHEMAS` and `REFUSALS`.
 */
import { REFUSALS } from "@quorate/core";
import type { RefusalCode } from "@quorate/core";
import { PROBLEM_MEDIA_TYPE } from "./problems.ts";
import { CSRF_HEADER, ROUTES, SESSION_HEADER, SIGNATURE_HEADER } from "./routes.ts";
import type { Route } from "./routes.ts";
import { SCHEMAS, SESSION_PATTERN, TOKEN_NAME_PATTERN } from "./schemas.ts";
import type { SchemaName } from "./schemas.ts";

/** Makes a new plain JSON value each time. */
export function openApiDocument(version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of ROUTES) {
    const methods = (paths[route.path] ??= {});
    methods[route.method.toLowerCase()] = operationOf(route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Quorate",
      version,
      description:
        "One member of a pool of license servers. Durations are milliseconds, instants RFC 3339, " +
        "refusals RFC 9457 problem documents with a stable `code`.",
    },
    paths,
    components: {
      schemas: structuredCloneOfJson(SCHEMAS),
      securitySchemes: {
        session: {
          type: "apiKey",
          in: "header",
          name: SESSION_HEADER,
          description: "The secret; the session is base64url(SHA-256(secret))",
        },
        administrator: { type: "http", scheme: "bearer" },
        login: {
          type: "apiKey",
          in: "cookie",
          name: "quorate_login",
          description:
            "A login's cookie, named quorate_login_<port>, with __Host- in front over TLS. " +
            `What is no GET needs the login's mark in the header ${CSRF_HEADER} as well`,
        },
        member: {
          type: "apiKey",
          in: "header",
          name: SIGNATURE_HEADER,
          description: "base64url of the Ed25519 signature over the body by the member's key",
        },
      },
    },
  };
}

const SECURITY = {
  anyone: [],
  session: [{ session: [] }],
  "session-or-administrator": [{ session: [] }, { administrator: [] }, { login: [] }],
  administrator: [{ administrator: [] }, { login: [] }],
  login: [{ login: [] }],
  member: [{ member: [] }],
} as const satisfies Record<Route["access"], readonly unknown[]>;

function operationOf(route: Route): Record<string, unknown> {
  return {
    operationId: route.operation,
    summary: route.summary,
    security: SECURITY[route.access],
    parameters: [...pathParameters(route.path), ...queryParameters(route.query)],
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            // A heartbeat has no member that is required, so its body may be left out.
            required: route.body !== "HeartbeatBody",
            content: { "application/json": { schema: reference(route.body) } },
          },
        }),
    responses: { ...goodAnswers(route), ...refusedAnswers(route.refusals) },
  };
}

function pathParameters(path: string): unknown[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map((match) => ({
    name: match[1],
    in: "path",
    required: true,
    schema: {
      type: "string",
      pattern: match[1] === "session" ? SESSION_PATTERN : TOKEN_NAME_PATTERN,
    },
  }));
}

function queryParameters(query: Route["query"]): unknown[] {
  if (query === undefined) return [];
  return Object.entries(SCHEMAS[query].properties).map(([name, schema]) => ({
    name,
    in: "query",
    required: false,
    schema: structuredCloneOfJson(schema),
  }));
}

function goodAnswers(route: Route): Record<string, unknown> {
  return Object.fromEntries(
    route.answers.map((answer) => [
      String(answer.status),
      {
        description: answer.says,
        ...(answer.schema === undefined && answer.mediaType === undefined
          ? {}
          : {
              content: {
                [answer.mediaType ?? "application/json"]: {
                  schema: answer.schema === undefined ? {} : reference(answer.schema),
                },
              },
            }),
      },
    ]),
  );
}

function refusedAnswers(codes: readonly RefusalCode[]): Record<string, unknown> {
  const byStatus = new Map<number, RefusalCode[]>();
  for (const code of codes) {
    const { status } = REFUSALS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, sharing]) => [
      String(status),
      {
        description: sharing.map((code) => `\`${code}\`: ${REFUSALS[code].title}.`).join("\n"),
        content: { [PROBLEM_MEDIA_TYPE]: { schema: reference("Problem") } },
      },
    ]),
  );
}

function reference(name: SchemaName): { $ref: string } {
  return { $ref: `#/components/schemas/${name}` };
}

/** TypeBox hangs notes of its own on a schema that are not part of its JSON. */
function structuredCloneOfJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
