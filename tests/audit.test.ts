/** The step of `npm run check` that asks the registry for known holes, against registries of three kinds. */
import { execFile } from "node:child_process";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const HOLE = {
  id: 1,
  url: "https://example.com/hole",
  title: "Everybody is let in",
  severity: "high",
  vulnerable_versions: "<999",
};

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const json =
  (body: object): Answer =>
  (request, response) => {
    request.resume();
    if (request.method !== "POST") response.statusCode = 404;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(request.method === "POST" ? body : {}));
  };

async function audit(answer: Answer): Promise<{ code: unknown; stdout: string }> {
  const registry = createServer(answer);
  await new Promise<void>((listening) => registry.listen(0, "127.0.0.1", listening));
  const { port } = registry.address() as AddressInfo;
  const env = {
    ...process.env,
    npm_config_registry: `http://127.0.0.1:${port}/`,
    npm_config_fetch_retries: "0",
  };
  try {
    return await new Promise((resolve) => {
      execFile(process.execPath, ["scripts/audit.mjs"], { cwd: ROOT, env }, (error, stdout) =>
        resolve({ code: error === null ? 0 : error.code, stdout }),
      );
    });
  } finally {
    registry.closeAllConnections();
    registry.close();
  }
}

it("a package with a known hole fails it, by name", async () => {
  const found = await audit(json({ fastify: [HOLE] }));
  expect(found).toMatchObject({ code: 1 });
  expect(found.stdout).toMatch(
    /^fastify .*high, Everybody is let in https:\/\/example.com\/hole$/m,
  );
});

it("no known hole passes it", async () => {
  expect(await audit(json({}))).toEqual({
    code: 0,
    stdout: "audit: 0 packages with known holes\n",
  });
});

it("a registry without such a list passes it and is told in one line", async () => {
  const { code, stdout } = await audit((request, response) => {
    request.resume();
    response.writeHead(405).end();
  });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^audit: not checked, .*405 Method Not Allowed.*\n$/);
});
