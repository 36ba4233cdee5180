import { useState } from "preact/hooks";
import type { AuthorizationRow } from "@quorate/protocol";
import { authorizationPath } from "@quorate/protocol";
import type { Live } from "../live/live.ts";
import { durationWords, instantWords } from "../model/time-words.ts";
import { Dialog } from "./dialog.tsx";
import { wordsOfFailure } from "./failure-words.ts";
import { useIsAdministrator } from "./hooks.ts";
import { TokenField } from "./login-form.tsx";

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
        {!may && <TokenField value={typed} onInput={setTyped} />}
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
