/** Does what an administrator asks, with a line in the audit log before and after. */
import { isRefusal, type Refusal, refuse } from "@quorate/core";
import type { Caller } from "../http/access.ts";
import type { RequestHead } from "../http/raw-header.ts";
import type { Log } from "../member/ports.ts";
import type { AuditLog } from "./audit-log.ts";

interface Deed {
  readonly caller: Caller;
  readonly request: RequestHead;
  readonly what: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export type Audited = <Answer extends object>(
  deed: Deed,
  act: () => Promise<Answer | Refusal>,
) => Promise<Answer | Refusal>;

export function createAudited(audit: AuditLog | null, log: Log): Audited {
  if (audit === null) return (_deed, act) => act();
  return async ({ caller, request, what, details }, act) => {
    const { name: who, role, subject } = caller;
    const from = request.socket.remoteAddress ?? "";
    // An issuer's people may choose names, and one may choose another's.
    const whole = subject === undefined ? details : { ...details, subject };
    const fact = { who, role, from, what, details: whole };
    try {
      await audit.append({ ...fact, outcome: "begun" });
    } catch (error) {
      log.error("the audit log cannot be written: nothing is changed without it", { error });
      return NOT_WRITTEN;
    }
    const end = (outcome: string): Promise<void> =>
      // It has happened, and the line before says so: failing now would tell the caller something untrue.
      audit.append({ ...fact, outcome }).catch((error: unknown) => {
        log.error("the audit log cannot be written", { error });
      });
    try {
      const answer = await act();
      await end(isRefusal(answer) ? answer.refused : "done");
      return answer;
    } catch (error) {
      await end("failed");
      throw error;
    }
  };
}

const NOT_WRITTEN = refuse(
  "internal-error",
  "The audit log of this server cannot be written, so nothing was done. Look at its disk and start it again, or ask another server.",
);
