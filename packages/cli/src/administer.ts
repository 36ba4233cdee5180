/** One order of an administrator to the first server that answers. */
import type { PoolAnswer } from "@quorate/protocol";
import { EXIT } from "./exit-codes.ts";
import { Failure } from "./failure.ts";
import { callServer, problemIn } from "./server-calls.ts";

export interface Order {
  readonly servers: readonly string[];
  readonly token: string;
  readonly path: "/v1/pool/lead" | "/v1/pool/remove" | "/v1/pool/rebuild";
  readonly body?: object;
  /** The order is not for this member: it can't remove itself. */
  readonly notBy?: string;
}

const LOOK_MS_MAX = 1_500;
const ANSWER_MS_MAX = 10_000;

export async function giveOrder(order: Order): Promise<{ url: string; pool: PoolAnswer }> {
  const { servers, token, path, body, notBy } = order;
  const headers = { authorization: `Bearer ${token}` };
  const looks = await Promise.all(
    servers.map((url) => callServer(url, "/v1/pool", { headers, timeoutMs: LOOK_MS_MAX })),
  );
  const reasons: string[] = [];
  for (const [index, url] of servers.entries()) {
    const look = looks[index];
    if (look === undefined || "silent" in look) {
      reasons.push(`${url} (${look?.silent ?? "not asked"})`);
      continue;
    }
    if (notBy !== undefined && selfOf(look.body) === notBy) {
      reasons.push(`${url} (it is ${notBy} itself)`);
      continue;
    }
    const answer = await callServer(url, path, {
      method: "POST",
      headers,
      ...(body === undefined ? {} : { body }),
      timeoutMs: ANSWER_MS_MAX,
    });
    if ("silent" in answer) {
      // The order may have been carried out all the same: nobody else gets it, a person looks first.
      throw new Failure(
        `${url} took the order but did not answer (${answer.silent}); look with: quorate status`,
      );
    }
    const problem = problemIn(answer);
    if (problem === null) return { url, pool: answer.body as PoolAnswer };
    if (problem.code !== "no-mandate" && problem.code !== "no-majority") {
      throw new Failure(`${url}: ${problem.detail}`, EXIT.failure, problem.code);
    }
    reasons.push(`${url} (${problem.detail})`);
  }
  throw new Failure(`no server could do it: ${reasons.join(", ")}`, EXIT.unreachable);
}

function selfOf(body: unknown): string | null {
  const found = typeof body === "object" && body !== null && "self" in body;
  return found && typeof body.self === "string" ? body.self : null;
}
