/** Requests that were denied: who asked for what, when, and why not. */
import { useEffect, useState } from "preact/hooks";
import type { DenialRow, DenialsAnswer } from "@quorate/protocol";
import type { Live } from "../live/live.ts";
import { count, listWords } from "../model/pool-words.ts";
import { denialWords } from "../model/denial-words.ts";
import { clockWords, instantWords } from "../model/time-words.ts";
import { wordsOfFailure } from "./failure-words.ts";
import { HistoryTable } from "./history-table.tsx";

const COLUMNS = ["When", "User", "Host", "Asked for", "Why not", "Server"];
const PAGE_ROWS = 100;
const RENEW_MS = 5_000;
/** Who has read so many does better to ask for one feature or user. */
const ROWS_MAX = 5_000;

export interface DenialsProps {
  readonly live: Live;
  /** Empty: all. */
  readonly user: string;
  readonly feature: string;
}

interface State {
  readonly rows: readonly DenialRow[];
  /** Null: there is no more. */
  readonly olderThan: string | null;
  readonly readAtMs: number | null;
  readonly missing: readonly string[];
  readonly failed: string | null;
}

const NOTHING: State = { rows: [], olderThan: null, readAtMs: null, missing: [], failed: null };

export function Denials({ live, user, feature }: DenialsProps) {
  const [state, setState] = useState(NOTHING);
  const read = async (to: string | null): Promise<DenialsAnswer> => {
    const query = new URLSearchParams({
      limit: String(PAGE_ROWS),
      ...(user === "" ? {} : { user }),
      ...(feature === "" ? {} : { feature }),
      ...(to === null ? {} : { to }),
    });
    return (await live.calls.readReport<DenialsAnswer>(`/v1/denials?${query}`)).value;
  };
  useEffect(() => {
    setState(NOTHING);
    let timer: number | null = null;
    let over = false;
    const renew = async (): Promise<void> => {
      try {
        const answer = await read(null);
        if (!over) setState((before) => withNewest(before, answer));
      } catch (error) {
        if (!over) setState((before) => ({ ...before, failed: wordsOfFailure(error) }));
      }
      if (!over) timer = window.setTimeout(() => void renew(), RENEW_MS);
    };
    void renew();
    return () => {
      over = true;
      if (timer !== null) clearTimeout(timer);
    };
  }, [live, user, feature]);
  const older = async (): Promise<void> => {
    try {
      const answer = await read(state.olderThan);
      setState((before) => withOlder(before, answer));
    } catch (error) {
      setState((before) => ({ ...before, failed: wordsOfFailure(error) }));
    }
  };
  const { rows, olderThan, readAtMs, missing, failed } = state;
  return (
    <>
      <p class="summary" role="status">
        <span>
          {readAtMs === null && failed === null && "Reading the list …"}
          {readAtMs !== null && (
            <>
              <b>{count(rows.length)}</b>
              {olderThan === null ? "" : " or more"} denied requests of the last 7 days as of{" "}
              {clockWords(readAtMs)}
            </>
          )}
          {missing.length > 0 && (
            <span class="is-warn"> · without the journal of {listWords(missing)}</span>
          )}
          {failed !== null && <span class="is-bad"> · {failed}</span>}
        </span>
      </p>
      <HistoryTable
        kind="denials"
        label="Denied requests"
        columns={COLUMNS}
        empty={readAtMs !== null && rows.length === 0 ? "Nobody was denied." : null}
        onOlder={olderThan !== null && rows.length < ROWS_MAX ? older : null}
      >
        {rows.map((row) => (
          <Row key={keyOf(row)} row={row} nowMs={readAtMs ?? 0} />
        ))}
      </HistoryTable>
    </>
  );
}

function Row({ row, nowMs }: { readonly row: DenialRow; readonly nowMs: number }) {
  const { at, holder, feature, seats, code, member } = row;
  return (
    <tr data-denied={code}>
      <td class="when">
        <time dateTime={at}>{instantWords(Date.parse(at), nowMs)}</time>
      </td>
      <th scope="row">{holder.user === "" ? "not kept" : holder.user}</th>
      <td>
        {holder.host}
        {holder.process !== undefined && <small> {holder.process}</small>}
      </td>
      <td>
        {feature}
        {seats > 1 && <b> × {seats}</b>}
      </td>
      <td>
        {denialWords(code)} <small>{code}</small>
      </td>
      <td>{member}</td>
    </tr>
  );
}

function keyOf({ at, member, session, feature }: DenialRow): string {
  return `${at} ${member} ${session} ${feature}`;
}

/** Older rows that were asked for stay below the newest ones. */
function withNewest(before: State, { denials, missing }: DenialsAnswer): State {
  const last = denials.at(-1);
  const fresh = new Set(denials.map(keyOf));
  const kept = before.rows.filter(
    (row) => last !== undefined && row.at <= last.at && !fresh.has(keyOf(row)),
  );
  const isFirst = before.readAtMs === null;
  return {
    rows: [...denials, ...kept],
    olderThan: isFirst ? olderThan(denials) : before.olderThan,
    readAtMs: Date.now(),
    missing,
    failed: null,
  };
}

function withOlder(before: State, { denials, missing }: DenialsAnswer): State {
  const known = new Set(before.rows.map(keyOf));
  const rows = [...before.rows, ...denials.filter((row) => !known.has(keyOf(row)))];
  return { ...before, rows, olderThan: olderThan(denials), missing, failed: null };
}

/** A full page says that there may be more. */
function olderThan(denials: readonly DenialRow[]): string | null {
  return denials.length < PAGE_ROWS ? null : (denials.at(-1)?.at ?? null);
}
