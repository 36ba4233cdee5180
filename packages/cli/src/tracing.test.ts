import { expect, it } from "vitest";
import { Failure } from "./failure.ts";
import { startTracing } from "./tracing.ts";

it("names the package that is missing", async () => {
  const missing = startTracing((name) => import(`${name}-that-is-not-there`));
  await expect(missing).rejects.toThrow(/npm install @opentelemetry\/sdk-node/);
  await expect(startTracing(async () => ({}))).rejects.toBeInstanceOf(Failure);
  const broken = new Error("a bug in it");
  await expect(startTracing(() => Promise.reject(broken))).rejects.toBe(broken);
});

it("starts the SDK, and ends with it although its collector is away", async () => {
  const said: string[] = [];
  class NodeSDK {
    start(): void {
      said.push(`start as ${process.env["OTEL_SERVICE_NAME"]}`);
    }
    async shutdown(): Promise<void> {
      said.push("shutdown");
      throw new Error("ECONNREFUSED");
    }
  }
  const tracing = await startTracing(async () => ({ NodeSDK }));
  await tracing.stop();
  expect(said).toEqual(["start as quorate", "shutdown"]);
});
