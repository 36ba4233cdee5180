import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { AuthorizationRow } from "@quorate/protocol";
import type { Live, Snapshot } from "../live/live.ts";
import { Sessions } from "../live/sessions.ts";
import type { SessionsState } from "../live/sessions.ts";
import { count, listWords } from "../model/pool-words.ts";
import { clockWords } from "../model/time-words.ts";
import { Choice } from "./choice.tsx";
import { Denials } from "./denials.tsx";
import { RevokeDialog } from "./revoke-dialog.tsx";
import { type Order, SessionTable } from "./session-table.tsx";

/** Between two key strokes nothing is asked. */
const TYPING_MS = 150;

type View = "held" | "denied";

const VIEWS: readonly (readonly [View, string])[] = [
  ["held", "Held now"],
  ["denied", "Denied"],
];

export interface SessionsPageProps {
  readonly live: Live;
  readonly snapshot: Snapshot;
  readonly query: URLSearchParams;
}

export function SessionsPage({ live, snapshot, query }: SessionsPageProps) {
  const feature = query.get("feature") ?? "";
  const view: View = query.get("view") === "denied" ? "denied" : "held";
  const [search, setSearch] = useState("");
  const searched = useSettled(search);
  const names = snapshot.features?.features.map((each) => each.name) ?? [];
  const go = (change: { readonly feature?: string; readonly view?: View }): void => {
    const asked = new URLSearchParams();
    const next = { feature, view, ...change };
    if (next.feature !== "") asked.set("feature", next.feature);
    if (next.view === "denied") asked.set("view", next.view);
    location.hash = `#/sessions${asked.size === 0 ? "" : `?${asked}`}`;
  };

  return (
    <div class="sessions-page">
      <div class="toolbar" role="search">
        <label class="field inline grow">
          <span>{view === "held" ? "Search" : "User"}</span>
          <input
            type="search"
            placeholder={
              view === "held" ? "user, host, process, server, session" : "the whole name of a user"
            }
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </label>
        <label class="field inline">
          <span>Feature</span>
          <select value={feature} onChange={(event) => go({ feature: event.currentTarget.value })}>
            <option value="">all</option>
            {names.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <Choice
          label="What is listed"
          values={VIEWS}
          chosen={view}
          onChoose={(chosen) => go({ view: chosen })}
        />
      </div>
      {view === "held" ? (
        <Held live={live} snapshot={snapshot} search={searched} feature={feature} />
      ) : (
        <Denials live={live} user={searched.trim()} feature={feature} />
      )}
    </div>
  );
}

interface HeldProps {
  readonly live: Live;
  readonly snapshot: Snapshot;
  readonly search: string;
  readonly feature: string;
}

function Held({ live, snapshot, search, feature }: HeldProps) {
  const [state, setState] = useState<SessionsState | null>(null);
  const sessions = useRef<Sessions | null>(null);
  const [order, setOrder] = useState<Order>({ sort: "grantedAt", descending: true });
  const [revoking, setRevoking] = useState<AuthorizationRow | null>(null);
  useEffect(() => {
    const made = new Sessions(live.calls, setState);
    sessions.current = made;
    return () => made.stop();
  }, [live]);
  useEffect(
    () => void sessions.current?.ask({ search, feature, ...order }),
    [live, search, feature, order],
  );
  const more = useCallback(() => void sessions.current?.more(), []);
  return (
    <>
      <p class="summary" role="status">
        <Summary state={state} />
        <button
          type="button"
          class="button small"
          disabled={state?.loading ?? true}
          onClick={() => void sessions.current?.renew()}
        >
          Refresh
        </button>
      </p>
      <SessionTable
        rows={state?.rows ?? []}
        asked={state?.asked ?? null}
        found={state?.found ?? 0}
        onMore={more}
        order={order}
        onOrder={setOrder}
        onRevoke={setRevoking}
        nothing={nothingWords(state, search, feature)}
      />
      {revoking !== null && (
        <RevokeDialog
          row={revoking}
          live={live}
          lifeMs={
            snapshot.features?.features.find((each) => each.name === revoking.feature)?.lifeMs ??
            null
          }
          onClose={(revoked) => {
            setRevoking(null);
            if (revoked) void sessions.current?.renew();
          }}
        />
      )}
    </>
  );
}

function Summary({ state }: { readonly state: SessionsState | null }) {
  if (state === null || state.readAtMs === null) {
    const failed = state?.failed ?? null;
    return failed === null ? <span>Reading the list …</span> : <span class="is-bad">{failed}</span>;
  }
  const { found, total, readAtMs, missing, failed } = state;
  return (
    <span>
      <b>{count(found)}</b> of {count(total)} sessions as of {clockWords(readAtMs)}
      {missing.length > 0 && (
        <span class="is-warn"> · without {listWords(missing)}, which did not report</span>
      )}
      {failed !== null && <span class="is-bad"> · {failed}</span>}
    </span>
  );
}

function nothingWords(state: SessionsState | null, search: string, feature: string): string {
  if (state === null || state.readAtMs === null) return "";
  if (state.total === 0) return "Nobody holds a seat.";
  return search === "" ? `Nobody holds ${feature}.` : "No session fits the search.";
}

/** The value once it has not changed for a moment. */
function useSettled(value: string): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), TYPING_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}
