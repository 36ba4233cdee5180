import { useEffect, useState } from "preact/hooks";
import type { LicenseHistoryAnswer } from "@quorate/protocol";
import type { PoolCalls } from "../live/pool-calls.ts";
import { count } from "../model/pool-words.ts";
import { dayWords, instantWords } from "../model/time-words.ts";
import { wordsOfFailure } from "./failure-words.ts";

export interface LicenseHistoryProps {
  readonly calls: PoolCalls;
  /** Of the license in force: another one is another history. */
  readonly sequence: number;
}

/** Which licenses were installed, when, where and by whom. */
export function LicenseHistory({ calls, sequence }: LicenseHistoryProps) {
  const [answer, setAnswer] = useState<LicenseHistoryAnswer | null>(null);
  const [failed, setFailed] = useState<string | null>(null);
  useEffect(() => {
    let over = false;
    calls.read<LicenseHistoryAnswer>("/v1/license/history").then(
      ({ value }) => {
        if (!over) setAnswer(value);
      },
      (error: unknown) => {
        if (!over) setFailed(wordsOfFailure(error));
      },
    );
    return () => {
      over = true;
    };
  }, [calls, sequence]);
  const history = answer?.history ?? [];
  return (
    <section class="license-history" aria-labelledby="history">
      <header class="section">
        <h2 id="history">Installed so far</h2>
        <p>the last 20, the newest first</p>
      </header>
      {failed !== null && <p class="is-bad">{failed}</p>}
      <div class="table-wrap" role="region" aria-label="Installed licenses" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Number</th>
              <th scope="col">Installed</th>
              <th scope="col">By</th>
              <th scope="col">License</th>
              <th scope="col" class="number">
                Features
              </th>
              <th scope="col" class="number">
                Seats
              </th>
            </tr>
          </thead>
          <tbody>
            {answer !== null && history.length === 0 && (
              <tr>
                <td colSpan={6}>It was installed before the pool kept a history.</td>
              </tr>
            )}
            {history.map((row) => (
              <tr key={row.sequence}>
                <th scope="row">
                  {row.sequence}
                  {row.sequence === sequence && <span class="tag good">in force</span>}
                </th>
                <td>
                  <time dateTime={row.installedAt}>
                    {instantWords(Date.parse(row.installedAt), Date.now())}
                  </time>
                  <small> at {row.member}</small>
                </td>
                <td>
                  {row.by ?? <span class="quiet">brought by {row.member} at its start</span>}
                  {row.from !== null && <small> from {row.from}</small>}
                </td>
                <td>
                  {row.id}
                  <small> issued {dayWords(row.issued)}</small>
                </td>
                <td class="number">{count(row.features)}</td>
                <td class="number strong">{count(row.seats)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
