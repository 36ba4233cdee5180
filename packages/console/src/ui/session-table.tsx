/**
 * A table of which only the rows in sight exist. Its roles say how long it really is, so that a screen reader
 * counts right; the scrolled part takes the focus, so that arrow and page keys move through it.
 */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { AuthorizationRow, AuthorizationSort } from "@quorate/protocol";
import { durationWords, instantWords } from "../model/time-words.ts";
import { useMedia, useNowMs } from "./hooks.ts";

/** As in the style sheet; the head is as high as a row. */
const ROW_PX = 34;
const ROW_PX_PHONE = 66;
const ROWS_BEYOND = 8;
/** The next page is asked for when so many rows are left below. */
const ROWS_AHEAD = 60;

export interface Order {
  readonly sort: AuthorizationSort;
  readonly descending: boolean;
}

const COLUMNS: readonly { readonly key: AuthorizationSort; readonly title: string }[] = [
  { key: "user", title: "User" },
  { key: "host", title: "Host" },
  { key: "process", title: "Process" },
  { key: "feature", title: "Feature" },
  { key: "member", title: "Server" },
  { key: "grantedAt", title: "Held for" },
];

export interface SessionTableProps {
  readonly rows: readonly AuthorizationRow[];
  /** What the rows are the answer to: another answer is shown from its beginning. */
  readonly asked: object | null;
  /** How many there are, also those that are not here yet. */
  readonly found: number;
  /** Called again and again near the end of the rows that are here. */
  readonly onMore: () => void;
  readonly order: Order;
  readonly onOrder: (order: Order) => void;
  readonly onRevoke: (row: AuthorizationRow) => void;
  /** Said in place of rows when there are none. */
  readonly nothing: string;
}

export function SessionTable(props: SessionTableProps) {
  const { rows, asked, found, onMore, order, onOrder, onRevoke, nothing } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(0);
  const rowPx = useMedia("(max-width: 720px)") ? ROW_PX_PHONE : ROW_PX;
  const nowMs = useNowMs();
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const resize = new ResizeObserver(() => setHeight(element.clientHeight));
    resize.observe(element);
    setHeight(element.clientHeight);
    return () => resize.disconnect();
  }, []);
  // When the answer is there, and not when it is asked for: a scroll that is still under way would go on.
  useEffect(() => scroller.current?.scrollTo({ top: 0, behavior: "instant" }), [asked]);

  const first = Math.max(0, Math.floor(top / rowPx) - ROWS_BEYOND);
  const last = Math.min(rows.length, Math.ceil((top + height) / rowPx) + ROWS_BEYOND);
  const isNearEnd = rows.length > 0 && rows.length < found && last + ROWS_AHEAD >= rows.length;
  useEffect(() => {
    if (isNearEnd) onMore();
  }, [isNearEnd, rows.length, onMore]);
  return (
    <div
      ref={scroller}
      class="sessions"
      role="table"
      aria-label="Sessions"
      aria-rowcount={found + 1}
      tabIndex={0}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
    >
      <div role="rowgroup" class="head">
        <div role="row" aria-rowindex={1} class="session">
          {COLUMNS.map(({ key, title }) => (
            <ColumnHead key={key} name={key} title={title} order={order} onOrder={onOrder} />
          ))}
          <span role="columnheader" class="end">
            <span class="unseen">Action</span>
          </span>
        </div>
      </div>
      <div role="rowgroup">
        {rows.length === 0 && nothing !== "" && (
          <div role="row" class="nothing">
            <span role="cell">{nothing}</span>
          </div>
        )}
        <div role="presentation" class="space" style={{ height: `${rows.length * rowPx}px` }}>
          <div role="presentation" style={{ transform: `translateY(${first * rowPx}px)` }}>
            {rows.slice(first, last).map((row, index) => (
              <Row
                key={row.session}
                row={row}
                index={first + index}
                nowMs={nowMs}
                onRevoke={onRevoke}
              />
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}

interface ColumnHeadProps {
  readonly name: AuthorizationSort;
  readonly title: string;
  readonly order: Order;
  readonly onOrder: (order: Order) => void;
}

function ColumnHead({ name, title, order, onOrder }: ColumnHeadProps) {
  const isOrdered = order.sort === name;
  const sort = !isOrdered ? "none" : order.descending ? "descending" : "ascending";
  return (
    <span role="columnheader" aria-sort={sort} class={name === "member" ? "server" : name}>
      <button
        type="button"
        onClick={() =>
          onOrder({ sort: name, descending: isOrdered ? !order.descending : name === "grantedAt" })
        }
      >
        {title}
        <span class="arrow" aria-hidden="true">
          {isOrdered ? (order.descending ? "↓" : "↑") : ""}
        </span>
      </button>
    </span>
  );
}

interface RowProps {
  readonly row: AuthorizationRow;
  readonly index: number;
  readonly nowMs: number;
  readonly onRevoke: (row: AuthorizationRow) => void;
}

function Row({ row, index, nowMs, onRevoke }: RowProps) {
  const { holder, feature, seats, member, grantedAt, state, converted } = row;
  const atMs = Date.parse(grantedAt);
  return (
    <div
      role="row"
      class={state === "revoked" ? "session revoked" : "session"}
      aria-rowindex={index + 2}
      data-session={row.session}
    >
      <span role="cell" class="user">
        {holder.user}
      </span>
      <span role="cell" class="host">
        {holder.host}
      </span>
      <span role="cell" class="process">
        {holder.process ?? "–"}
      </span>
      <span role="cell" class="feature">
        {feature}
        {seats > 1 && <b> × {seats}</b>}
      </span>
      <span role="cell" class="server">
        {member}
        {converted && (
          <small title="This server took the session over from another"> taken over</small>
        )}
      </span>
      <span role="cell" class="grantedAt">
        <time dateTime={grantedAt} title={instantWords(atMs, nowMs)}>
          {durationWords(nowMs - atMs)}
        </time>
      </span>
      <span role="cell" class="end">
        {state === "revoked" ? (
          <span class="tag bad">revoked</span>
        ) : (
          <button
            type="button"
            class="button small"
            aria-label={`Revoke ${feature} of ${holder.user} on ${holder.host}`}
            onClick={() => onRevoke(row)}
          >
            Revoke
          </button>
        )}
      </span>
    </div>
  );
}
