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
          <a class="button primary wide" href={oidcAt(url)}>
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

function oidcAt(url: string): string {
  return `${url}${LOGIN_PATH}/oidc`;
}

const REFUSED_WORDS: Readonly<Record<string, string>> = {
  forbidden: "Your organisation knows you, but gives you no role for this pool.",
  unauthorized: "Your organisation did not say who you are, or the login took too long.",
  busy: "You logged in too often just now. Wait a minute.",
};

/** A login at the issuer that failed ends at this page, with the reason in its address. */
export function LoginRefused({ code }: { readonly code: string }) {
  const [isSeen, setIsSeen] = useState(false);
  if (isSeen) return null;
  return (
    <div class="banner bad with-action" role="alert">
      <p>
        You are not logged in. {REFUSED_WORDS[code] ?? "Your organisation’s login does not answer."}{" "}
        ({code})
      </p>
      <button type="button" class="button small" onClick={() => setIsSeen(true)}>
        Close
      </button>
    </div>
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

/** For a dialog that needs an administrator: the token, or the way to the organisation's login. */
export function AdministratorField(props: TokenFieldProps & { readonly live: Live }) {
  const { live, ...field } = props;
  const { current, logins } = live.calls;
  return (
    <>
      <TokenField {...field} />
      {logins.at(current)?.ways.includes("oidc") === true && (
        <p>
          Or <a href={oidcAt(current)}>log in with your organisation</a> first.
        </p>
      )}
    </>
  );
}

interface TokenFieldProps {
  readonly value: string;
  readonly onInput: (text: string) => void;
}

function TokenField({ value, onInput }: TokenFieldProps) {
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
