import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { AuthorizationRow } from "@quorate/protocol";
import type { Administrator } from "../live/administrator.ts";
import type { Live, Snapshot } from "../live/live.ts";
import { SESSION_ROWS_MAX, Sessions } from "../live/sessions.ts";
import type { SessionsState } from "../live/sessions.ts";
import { count, listWords } from "../model/pool-words.ts";
import type { Order } from "../model/session-list.ts";
import { clockWords } from "../model/time-words.ts";
import { RevokeDialog } from "./revoke-dialog.tsx";
import { SessionTable } from "./session-table.tsx";

export interface SessionsPageProps {
  readonly live: Live;
  readonly administrator: Administrator;
  readonly snapshot: Snapshot;
  readonly feature: string;
}

export function SessionsPage({ live, administrator, snapshot, feature }: SessionsPageProps) {
  const [state, setState] = useState<SessionsState | null>(null);
  const sessions = useRef<Sessions | null>(null);
  const [search, setSearch] = useState("");
  const [order, setOrder] = useState<Order>({ key: "grantedAt", descending: true });
  const [revoking, setRevoking] = useState<AuthorizationRow | null>(null);
  useEffect(() => {
    const made = new Sessions(live.calls, setState);
    sessions.current = made;
    void made.load();
    return () => made.stop();
  }, [live]);
  const list = state?.list;
  const version = state?.version;
  const rows = useMemo(
    () => list?.view(search, feature, order) ?? [],
    [list, version, search, feature, order],
  );
  const names = snapshot.features?.features.map((each) => each.name) ?? [];

  return (
    <div class="sessions-page">
      <div class="toolbar" role="search">
        <label class="field inline grow">
          <span>Search</span>
          <input
            type="search"
            placeholder="user, host, process, server, session"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </label>
        <label class="field inline">
          <span>Feature</span>
          <select
            value={feature}
            onChange={(event) => {
              const name = event.currentTarget.value;
              const query = name === "" ? "" : `?feature=${encodeURIComponent(name)}`;
              location.hash = `#/sessions${query}`;
            }}
          >
            <option value="">all</option>
            {names.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button
          type="button"
          class="button"
          disabled={state?.loading ?? true}
          onClick={() => void sessions.current?.load()}
        >
          Refresh
        </button>
      </div>
      <p class="summary" role="status">
        <Summary state={state} shown={rows.length} />
      </p>
      <SessionTable
        rows={rows}
        order={order}
        onOrder={setOrder}
        onRevoke={setRevoking}
        nothing={nothingWords(state, search, feature)}
      />
      {revoking !== null && (
        <RevokeDialog
          row={revoking}
          live={live}
          administrator={administrator}
          lifeMs={
            snapshot.features?.features.find((each) => each.name === revoking.feature)?.lifeMs ??
            null
          }
          onClose={(revoked) => {
            setRevoking(null);
            if (revoked) void sessions.current?.load();
          }}
        />
      )}
    </div>
  );
}

function Summary({
  state,
  shown,
}: {
  readonly state: SessionsState | null;
  readonly shown: number;
}) {
  if (state === null) return <>Reading the list …</>;
  const { list, loading, loadedAtMs, missing, failed, complete } = state;
  return (
    <>
      <b>{count(shown)}</b> of {count(list.length)} sessions
      {loadedAtMs === null && loading && " so far, more are coming …"}
      {loadedAtMs !== null && ` as of ${clockWords(loadedAtMs)}`}
      {loadedAtMs !== null && !complete && `; only the first ${count(SESSION_ROWS_MAX)} are here`}
      {missing.length > 0 && (
        <span class="is-warn"> · without {listWords(missing)}, which did not report</span>
      )}
      {failed !== null && <span class="is-bad"> · {failed}</span>}
    </>
  );
}

function nothingWords(state: SessionsState | null, search: string, feature: string): string {
  if (state === null || state.loadedAtMs === null) return "";
  if (state.list.length === 0) return "Nobody holds a seat.";
  return search === "" ? `Nobody holds ${feature}.` : "No session fits the search.";
}
