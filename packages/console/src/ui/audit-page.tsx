/** Who changed what, from the audit logs of all servers where this page is logged in as an administrator. */
import { useEffect, useState } from "preact/hooks";
import type { AuditAnswer, AuditEntry } from "@quorate/protocol";
import { AUDIT_PATH } from "@quorate/protocol";
import type { Live } from "../live/live.ts";
import { type Deed, deedsOf, newestFirst } from "../model/audit.ts";
import { count, listWords } from "../model/pool-words.ts";
import { clockWords, instantWords } from "../model/time-words.ts";
import { wordsOfFailure } from "./failure-words.ts";
import { HistoryTable } from "./history-table.tsx";
import { useIsAdministrator } from "./hooks.ts";
import { LoginForm } from "./login-form.tsx";

const COLUMNS = ["When", "Who", "Did what", "Outcome", "From", "Server"];
const PAGE_LINES = 100;
const RENEW_MS = 10_000;

/** One server's log as far as it was read. */
interface Log {
  readonly url: string;
  readonly member: string;
  readonly entries: readonly AuditEntry[];
  readonly next: number | null;
}

export function AuditPage({ live }: { readonly live: Live }) {
  const may = useIsAdministrator(live.calls);
  if (may) return <AuditList live={live} />;
  return (
    <section class="login-page" aria-labelledby="login">
      <h2 id="login">Log in as an administrator</h2>
      <p>The audit log is shown to administrators alone.</p>
      <LoginForm live={live} url={live.calls.current} />
    </section>
  );
}

function AuditList({ live }: { readonly live: Live }) {
  const [logs, setLogs] = useState<readonly Log[]>([]);
  const [failed, setFailed] = useState<string | null>(null);
  const [readAtMs, setReadAtMs] = useState<number | null>(null);
  useEffect(() => {
    let timer: number | null = null;
    let over = false;
    const renew = async (): Promise<void> => {
      const found = await readNewest(live);
      if (over) return;
      if (found.logs.length > 0) {
        setLogs((before) => found.logs.map((log) => withOlderOf(before, log)));
        setReadAtMs(Date.now());
      }
      setFailed(found.failed);
      timer = window.setTimeout(() => void renew(), RENEW_MS);
    };
    void renew();
    return () => {
      over = true;
      if (timer !== null) clearTimeout(timer);
    };
  }, [live]);
  const older = async (): Promise<void> => {
    try {
      setLogs(await Promise.all(logs.map((log) => readOlder(live, log))));
    } catch (error) {
      setFailed(wordsOfFailure(error));
    }
  };
  const deeds = newestFirst(logs.map(({ member, entries }) => deedsOf(member, entries)));
  const known = new Set(logs.map((each) => each.member));
  const missing = (live.snapshot.pool?.members ?? [])
    .map((each) => each.id)
    .filter((id) => !known.has(id));
  const hasMore = logs.some((each) => each.next !== null);
  return (
    <>
      <p class="summary" role="status">
        <span>
          {readAtMs === null && failed === null && "Reading the logs …"}
          {readAtMs !== null && (
            <>
              <b>{count(deeds.length)}</b>
              {hasMore ? " or more" : ""} deeds as of {clockWords(readAtMs)}
            </>
          )}
          {readAtMs !== null && missing.length > 0 && (
            <span class="is-warn">
              {" "}
              · without {listWords(missing)}: each server has its own log; log in there
            </span>
          )}
          {failed !== null && <span class="is-bad"> · {failed}</span>}
        </span>
      </p>
      <HistoryTable
        kind="audit"
        label="Audit log"
        columns={COLUMNS}
        empty={readAtMs !== null && deeds.length === 0 ? "Nothing was changed yet." : null}
        onOlder={hasMore ? older : null}
      >
        {deeds.map((deed) => (
          <Row key={deed.key} deed={deed} nowMs={readAtMs ?? 0} />
        ))}
      </HistoryTable>
    </>
  );
}

function Row({ deed, nowMs }: { readonly deed: Deed; readonly nowMs: number }) {
  return (
    <tr>
      <td class="when">
        <time dateTime={new Date(deed.atMs).toISOString()}>{instantWords(deed.atMs, nowMs)}</time>
      </td>
      <th scope="row">
        {deed.who} <small>{deed.role}</small>
      </th>
      <td>{deed.text}</td>
      <td>
        <span class={deed.tone === "plain" ? "tag" : `tag ${deed.tone}`}>{deed.outcome}</span>
      </td>
      <td>{deed.from}</td>
      <td>{deed.member}</td>
    </tr>
  );
}

async function readNewest(live: Live): Promise<{ logs: Log[]; failed: string | null }> {
  const { calls } = live;
  const urls = calls.logins.urls().filter((url) => calls.logins.isAdministrator(url));
  let failed: string | null = null;
  const found = await Promise.all(
    urls.map(async (url): Promise<Log[]> => {
      try {
        return [{ url, ...(await readPage(live, url, null)) }];
      } catch (error) {
        // A server that is down is named as missing; one that answers says why not.
        failed ??= wordsOfFailure(error);
        return [];
      }
    }),
  );
  const logs = found.flat();
  return { logs, failed: logs.length === 0 ? failed : null };
}

async function readOlder(live: Live, log: Log): Promise<Log> {
  if (log.next === null) return log;
  const page = await readPage(live, log.url, log.next);
  return { ...log, entries: [...log.entries, ...page.entries], next: page.next };
}

function readPage(live: Live, url: string, before: number | null): Promise<AuditAnswer> {
  const more = before === null ? "" : `&before=${before}`;
  return live.calls.readFrom<AuditAnswer>(url, `${AUDIT_PATH}?limit=${PAGE_LINES}${more}`);
}

/** What was read below the newest page stays, if the two meet. */
function withOlderOf(before: readonly Log[], log: Log): Log {
  const known = before.find((each) => each.url === log.url);
  const last = log.entries.at(-1)?.number ?? 0;
  const older = known?.entries.filter((each) => each.number < last) ?? [];
  if (known === undefined || older.length === 0 || older[0]?.number !== last - 1) return log;
  return { ...log, entries: [...log.entries, ...older], next: known.next };
}
