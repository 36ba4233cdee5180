/** Installs a license in a running pool: any one member takes it and brings it to all others. */
import { type LicenseAnswer, parseLicense } from "@quorate/protocol";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { Failure, tellWarnings } from "./failure.ts";
import { askServer } from "./own-fetch.ts";
import { adminTokenFrom, serversFrom } from "./servers.ts";

const ANSWER_MS_MAX = 10_000;

const EXIT_OF_CODE: Readonly<Record<string, ExitCode>> = {
  "license-older": EXIT.licenseOlder,
  "license-conflict": EXIT.licenseConflict,
  "license-invalid": EXIT.licenseInvalid,
};

export async function installOverHttp(
  file: string,
  text: string,
  server: string | undefined,
  adminTokenFile: string | undefined,
): Promise<void> {
  const servers = serversFrom(server, "--server");
  const token = adminTokenFrom(adminTokenFile);
  const parsed = parseLicense(text);
  if ("invalid" in parsed) {
    throw new Failure(`${file}: ${parsed.invalid}`, EXIT.licenseInvalid, "license-invalid");
  }
  tellWarnings(parsed.warnings);
  const { url, response } = await firstAnswer(servers, text, token);
  if (response.ok) {
    const kept = await keptWords(response);
    console.log(kept ?? `installed sequence ${parsed.license.sequence} through ${url}`);
    return;
  }
  const { code, detail } = await problemOf(response);
  const exit = code === null ? undefined : EXIT_OF_CODE[code];
  throw new Failure(`${url}: ${detail}`, exit ?? EXIT.failure, code);
}

/** Asks the servers in turn. Only a server that gives no answer at all is passed over. */
async function firstAnswer(
  servers: readonly string[],
  text: string,
  token: string,
): Promise<{ url: string; response: Response }> {
  const reasons: string[] = [];
  for (const url of servers) {
    try {
      const response = await askServer(`${url}/v1/license`, {
        method: "PUT",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: text,
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      return { url, response };
    } catch (error) {
      reasons.push(`${url} (${reasonOf(error)})`);
    }
  }
  throw new Failure(`no server answered: ${reasons.join(", ")}`, EXIT.unreachable);
}

/** A server that is cut off keeps the license for later, and says so. */
async function keptWords(response: Response): Promise<string | null> {
  if (response.status !== 202) return null;
  const { kept } = (await response.json()) as LicenseAnswer;
  return kept ?? null;
}

async function problemOf(response: Response): Promise<{ code: string | null; detail: string }> {
  let problem: unknown = null;
  try {
    problem = await response.json();
  } catch {
    // Something between us and the server answered in its own way: the status is all there is to tell.
  }
  const text = (field: string): string | null => {
    const found: unknown =
      typeof problem === "object" && problem !== null ? Reflect.get(problem, field) : null;
    return typeof found === "string" ? found : null;
  };
  const detail = text("detail") ?? text("title") ?? `the server answered ${response.status}`;
  return { code: text("code"), detail };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "no answer";
  if (error.name === "TimeoutError") return `no answer within ${ANSWER_MS_MAX / 1000} s`;
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  return "code" in cause ? String(cause.code) : cause.message;
}
