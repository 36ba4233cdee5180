/** Logging in: with a token, which is sent once and kept nowhere, or through the organisation's own login. */
import { useState } from "preact/hooks";
import { LOGIN_PATH } from "@quorate/protocol";
import type { Live } from "../live/live.ts";
import { Dialog } from "./dialog.tsx";
import { wordsOfFailure } from "./failure-words.ts";

export interface LoginFormProps {
  readonly live: Live;
  /** The server to log in at. */
  readonly url: string;
  readonly onDone?: () => void;
  readonly onCancel?: () => void;
}

export function LoginForm({ live, url, onDone, onCancel }: LoginFormProps) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const ways = live.calls.logins.at(url)?.ways ?? ["token"];
  const enter = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    try {
      await live.calls.logIn(text.trim());
      setText("");
      void live.refresh();
      onDone?.();
    } catch (error) {
      setFailure(wordsOfFailure(error));
    }
    setBusy(false);
  };
  return (
    <form class="login" onSubmit={(event) => void enter(event)}>
      {ways.includes("oidc") && (
        <p class="ways">
          <a class="button primary wide" href={`${url}${LOGIN_PATH}/oidc`}>
            Log in with your organisation
          </a>
        </p>
      )}
      {ways.includes("token") && <TokenField value={text} onInput={setText} />}
      <p class="failure" role="alert">
        {failure}
      </p>
      <div class="actions">
        {onCancel !== undefined && (
          <button type="button" class="button" onClick={onCancel}>
            Cancel
          </button>
        )}
        {ways.includes("token") && (
          <button type="submit" class="button primary" disabled={busy || text.trim() === ""}>
            {busy ? "Logging in …" : "Log in"}
          </button>
        )}
      </div>
    </form>
  );
}

export function LoginDialog(props: { readonly live: Live; readonly onClose: () => void }) {
  const { live, onClose } = props;
  return (
    <Dialog title="Log in" onClose={onClose}>
      <LoginForm live={live} url={live.calls.current} onDone={onClose} onCancel={onClose} />
    </Dialog>
  );
}

/** In place of the pages where nobody may read without a login. */
export function LoginPage({ live, lost }: { readonly live: Live; readonly lost: string | null }) {
  const { current, origin } = live.calls;
  const isElsewhere = current !== origin;
  return (
    <section class="login-page" aria-labelledby="login">
      <h2 id="login">Log in</h2>
      {isElsewhere ? (
        <p>
          {lost === null ? "The server that you came from" : lost} does not answer any more. Another
          one does, and knows no login of yours yet. Log in here, or open{" "}
          <a href={`${current}/${location.hash}`}>its own console at {current}</a>.
        </p>
      ) : (
        <p>This pool is shown to nobody who is not logged in.</p>
      )}
      <LoginForm live={live} url={current} />
    </section>
  );
}

export interface TokenFieldProps {
  readonly value: string;
  readonly onInput: (text: string) => void;
}

export function TokenField({ value, onInput }: TokenFieldProps) {
  return (
    <label class="field">
      <span>Token</span>
      <input
        type="password"
        name="token"
        autocomplete="off"
        spellcheck={false}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      <small>
        One of the pool (<code>quorate token create</code>), or the administrator’s of this server.
        It is sent once and kept nowhere; the login ends when you log out, or are idle for half an
        hour.
      </small>
    </label>
  );
}
