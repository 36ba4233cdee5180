/**
 * Starts the SDK of OpenTelemetry in this process: the server speaks the standard API, and what becomes of its spans
 * is the SDK's business, which reads the usual `OTEL_…` variables. It is no dependency: most servers trace nothing.
 */
import { Failure } from "./failure.ts";

export interface Tracing {
  /** Sends what is not sent yet, within a moment. */
  stop(): Promise<void>;
}

const PACKAGE = "@opentelemetry/sdk-node";
const SERVICE_NAME = "quorate";
/** A collector that is away must not keep a server from ending. */
const STOP_MS_MAX = 2_000;

interface Sdk {
  start(): void;
  shutdown(): Promise<void>;
}

/** BEFORE the member opens: it looks once whether there is an SDK. Throws `Failure` when there is no such package. */
export async function startTracing(
  load: (name: string) => Promise<unknown> = (name) => import(name),
): Promise<Tracing> {
  process.env["OTEL_SERVICE_NAME"] ??= SERVICE_NAME;
  const sdk = sdkIn(await load(PACKAGE).catch(missing));
  sdk.start();
  return {
    stop: async () => {
      const bound = new Promise<void>((resolve) => {
        setTimeout(resolve, STOP_MS_MAX).unref();
      });
      // Spans that nobody takes are lost, which is no reason to end otherwise.
      await Promise.race([sdk.shutdown().catch(() => undefined), bound]);
    },
  };
}

function missing(error: unknown): never {
  const code = error instanceof Error && "code" in error ? error.code : "";
  if (code !== "ERR_MODULE_NOT_FOUND") throw error;
  throw new Failure(
    `--otel needs the package ${PACKAGE}, which is not installed: npm install ${PACKAGE}`,
  );
}

function sdkIn(module: unknown): Sdk {
  const made: unknown =
    typeof module === "object" && module !== null ? Reflect.get(module, "NodeSDK") : null;
  if (typeof made !== "function") throw new Failure(`${PACKAGE} is of another kind: no NodeSDK`);
  return Reflect.construct(made, [{}]) as Sdk;
}
