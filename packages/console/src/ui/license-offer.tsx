import { useState } from "preact/hooks";
import type { LicenseAnswer } from "@quorate/protocol";
import type { Live } from "../live/live.ts";
import type { Offered } from "../model/license-check.ts";
import { wordsOfFailure } from "./failure-words.ts";
import { useIsAdministrator } from "./hooks.ts";
import { AdministratorField } from "./login-form.tsx";

export interface LicenseOfferProps {
  readonly offered: Offered;
  readonly live: Live;
  /** The number that is in force now, or null when nothing was installed. */
  /** What the server did with it; null: it was not sent. */
  readonly onClose: (answer: LicenseAnswer | null) => void;
}

/** What would change, what speaks against it, and the button. */
export function LicenseOffer({ offered, live, onClose }: LicenseOfferProps) {
  const may = useIsAdministrator(live.calls);
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const { license, changes, mistakes, warnings } = offered;
  const install = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    try {
      if (!may) await live.calls.logIn(typed.trim());
      const answer = await live.calls.change<LicenseAnswer>("PUT", "/v1/license", offered.text);
      void live.refresh();
      onClose(answer);
    } catch (error) {
      setFailure(wordsOfFailure(error));
      setBusy(false);
    }
  };
  return (
    <form class="offered" onSubmit={(event) => void install(event)}>
      <h3>
        Number {license.sequence} for {license.customer}
      </h3>
      {mistakes.map((sentence) => (
        <p key={sentence} class="banner bad" role="alert">
          {sentence}
        </p>
      ))}
      {warnings.map((sentence) => (
        <p key={sentence} class="banner warn">
          {sentence}
        </p>
      ))}
      {changes.some((each) => each.tone === "bad" && each.field === "seats") && (
        <p class="banner warn">
          With fewer seats nobody is thrown out: what is held stays held, and nothing new is granted
          until enough has come back.
        </p>
      )}
      <div class="table-wrap" role="region" aria-label="What changes" tabIndex={0}>
        <table class="changes">
          <thead>
            <tr>
              <th scope="col">What changes</th>
              <th scope="col">Now</th>
              <th scope="col">Then</th>
            </tr>
          </thead>
          <tbody>
            {changes.length === 0 && (
              <tr>
                <td colSpan={3}>Nothing</td>
              </tr>
            )}
            {changes.map((change) => (
              <tr key={`${change.feature} ${change.field}`} class={change.tone}>
                <th scope="row">
                  {change.feature !== null && <b>{change.feature} </b>}
                  {change.field}
                </th>
                <td>
                  <del>{change.before}</del>
                </td>
                <td>
                  <ins>{change.after}</ins>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {!may && mistakes.length === 0 && (
        <AdministratorField live={live} value={typed} onInput={setTyped} />
      )}
      <p class="failure" role="alert">
        {failure}
      </p>
      <div class="actions">
        <button type="button" class="button" onClick={() => onClose(null)}>
          Discard
        </button>
        <button
          type="submit"
          class="button primary"
          disabled={busy || mistakes.length > 0 || (!may && typed.trim() === "")}
        >
          {busy ? "Installing …" : `Install number ${license.sequence}`}
        </button>
      </div>
    </form>
  );
}
