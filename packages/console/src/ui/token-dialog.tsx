import { useState } from "preact/hooks";
import type { Administrator } from "../live/administrator.ts";
import { Dialog } from "./dialog.tsx";
import { useToken } from "./hooks.ts";

export interface TokenDialogProps {
  readonly administrator: Administrator;
  readonly onClose: () => void;
}

export function TokenDialog({ administrator, onClose }: TokenDialogProps) {
  const [text, setText] = useState("");
  const known = useToken(administrator) !== null;
  const enter = (event: Event): void => {
    event.preventDefault();
    administrator.enter(text);
    onClose();
  };
  return (
    <Dialog title="Administrator" onClose={onClose}>
      <form onSubmit={enter}>
        <TokenField value={text} onInput={setText} />
        <div class="actions">
          {known && (
            <button
              type="button"
              class="button danger"
              onClick={() => {
                administrator.enter(null);
                onClose();
              }}
            >
              Forget the token
            </button>
          )}
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button primary" disabled={text.trim() === ""}>
            Use this token
          </button>
        </div>
      </form>
    </Dialog>
  );
}

export interface TokenFieldProps {
  readonly value: string;
  readonly onInput: (text: string) => void;
}

export function TokenField({ value, onInput }: TokenFieldProps) {
  return (
    <label class="field">
      <span>Administrator’s token</span>
      <input
        type="password"
        name="token"
        autocomplete="off"
        spellcheck={false}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      <small>
        The word in the file that the servers were started with (<code>--admin-token-file</code>).
        It stays in the memory of this page until you reload or close it, is stored nowhere, and is
        sent only with what changes the pool.
      </small>
    </label>
  );
}
