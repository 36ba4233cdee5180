import { useEffect, useState } from "preact/hooks";
import type { AuthorizationRow, AuthorizationsPage } from "@quorate/protocol";
import { authorizationPath } from "@quorate/protocol";
import type { Live } from "../live/live.ts";
import { durationWords, instantWords } from "../model/time-words.ts";
import { Dialog } from "./dialog.tsx";
import { wordsOfFailure } from "./failure-words.ts";
import { useIsAdministrator } from "./hooks.ts";
import { AdministratorField } from "./login-form.tsx";

const REASON_CHARACTERS_MAX = 120;

export interface RevokeDialogProps {
  readonly row: AuthorizationRow;
  readonly live: Live;
  /** How long an authorization of the feature lives; null when it is not known. */
  readonly lifeMs: number | null;
  readonly onClose: (revoked: boolean) => void;
}

export function RevokeDialog({ row, live, lifeMs, onClose }: RevokeDialogProps) {
  const may = useIsAdministrator(live.calls);
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const revoke = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    try {
      if (!may) await live.calls.logIn(typed.trim());
      const query = new URLSearchParams({ reason: reason.trim() });
      await live.calls.change("DELETE", `${authorizationPath(row.session)}?${query}`);
      void live.refresh();
      onClose(true);
    } catch (error) {
      setFailure(wordsOfFailure(error));
      setBusy(false);
    }
  };
  const { holder, feature, seats, member, grantedAt } = row;
  const heard = useLastHeard(live, row);
  const life = lifeMs === null ? "one life" : durationWords(lifeMs);
  return (
    <Dialog title="Revoke this session?" onClose={() => onClose(false)}>
      <dl class="facts-list">
        <div>
          <dt>Holder</dt>
          <dd>
            {holder.user} on {holder.host}
            {holder.process !== undefined && `, process ${holder.process}`}
          </dd>
        </div>
        <div>
          <dt>Holds</dt>
          <dd>
            {seats === 1 ? "1 seat" : `${seats} seats`} of {feature} at {member}, since{" "}
            {instantWords(Date.parse(grantedAt), Date.now())}
          </dd>
        </div>
        <div>
          <dt>Last heard</dt>
          <dd>{heard}</dd>
        </div>
      </dl>
      <p>
        The program is told at its next heartbeat. Until it hears that it may go on, so the seat is
        free {life} after its last renewal, not at once.
      </p>
      <form onSubmit={(event) => void revoke(event)}>
        <label class="field">
          <span>Reason (the holder sees it)</span>
          <input
            type="text"
            name="reason"
            required
            maxLength={REASON_CHARACTERS_MAX}
            value={reason}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        {!may && <AdministratorField live={live} value={typed} onInput={setTyped} />}
        <p class="failure" role="alert">
          {failure}
        </p>
        <div class="actions">
          <button type="button" class="button" onClick={() => onClose(false)}>
            Cancel
          </button>
          <button
            type="submit"
            class="button danger"
            disabled={busy || reason.trim() === "" || (!may && typed.trim() === "")}
          >
            {busy ? "Revoking …" : "Revoke"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

const HEARD_EVERY_MS = 2_000;

/** Asked of the server that holds the session: it alone knows, and whoever is heard of is at work. */
function useLastHeard(live: Live, { session, member }: AuthorizationRow): string {
  const [words, setWords] = useState("asking its server …");
  useEffect(() => {
    let timer: number | null = null;
    let over = false;
    const ask = async (): Promise<void> => {
      const found = await renewedAt(live, session, member);
      if (over) return;
      setWords(
        found === null
          ? `${member} does not say`
          : `${durationWords(Date.now() - Date.parse(found))} ago`,
      );
      timer = window.setTimeout(() => void ask(), HEARD_EVERY_MS);
    };
    void ask();
    return () => {
      over = true;
      if (timer !== null) clearTimeout(timer);
    };
  }, [live, session, member]);
  return words;
}

async function renewedAt(live: Live, session: string, member: string): Promise<string | null> {
  const { pool, link } = live.snapshot;
  const url = pool === null ? null : live.calls.urlOf(pool, link.url, member);
  if (url === null || url === "") return null;
  const query = new URLSearchParams({ member, search: session, limit: "1" });
  try {
    const page = await live.calls.readFrom<AuthorizationsPage>(url, `/v1/authorizations?${query}`);
    return page.authorizations[0]?.renewedAt ?? null;
  } catch {
    // It is down, or wants a login of its own: the rest of the dialog holds without.
    return null;
  }
}
