/** Use over time of one feature: since the page was opened, or of an hour, a day, a month from the history. */
import { useEffect, useState } from "preact/hooks";
import type { FeatureRow, UsageSeriesAnswer } from "@quorate/protocol";
import type { PoolCalls } from "../live/pool-calls.ts";
import { listWords, seatsOf } from "../model/pool-words.ts";
import {
  beginOf,
  type Drawing,
  drawingOfSeries,
  drawingOfUsage,
  seriesWords,
  SHAPES,
  type Stretch,
} from "../model/series.ts";
import { clockWords, instantWords } from "../model/time-words.ts";
import type { Usage } from "../model/usage.ts";
import { Choice } from "./choice.tsx";
import { UsageChart } from "./usage-chart.tsx";

type View = "now" | Stretch;

const VIEWS: readonly (readonly [View, string])[] = [
  ["now", "Now"],
  ["hour", "Hour"],
  ["day", "Day"],
  ["month", "Month"],
];

const STRETCH_WORDS: Readonly<Record<View, string>> = {
  now: "since you opened this page",
  hour: "in the last hour",
  day: "in the last 24 hours",
  month: "in the last 30 days",
};

export interface UsagePanelProps {
  readonly calls: PoolCalls;
  readonly feature: FeatureRow;
  readonly usage: Usage | undefined;
  readonly openedAtMs: number;
}

export function UsagePanel({ calls, feature, usage, openedAtMs }: UsagePanelProps) {
  const [view, setView] = useState<View>("day");
  const history = useHistory(calls, feature.name, view);
  const seats = seatsOf(feature);
  const drawing = drawingFor(view, usage, history.answer, seats);
  const { missing } = history.answer ?? { missing: [] };
  return (
    <div class="usage">
      <div class="usage-head">
        <p class="peak-words">
          {drawing !== null && (
            <>
              Peak <b>{drawing.peak}</b> of {seats}{" "}
              {view === "now" ? `since ${clockWords(openedAtMs)}` : STRETCH_WORDS[view]}
            </>
          )}
          {history.failed !== null && view !== "now" && (
            <span class="is-bad">{history.failed}</span>
          )}
          {missing.length > 0 && view !== "now" && (
            <span class="is-warn"> · without the history of {listWords(missing)}</span>
          )}
        </p>
        <Choice label="Time shown" values={VIEWS} chosen={view} onChoose={setView} />
      </div>
      {drawing === null ? (
        <div class="chart" aria-busy="true" />
      ) : (
        <UsageChart
          drawing={drawing}
          kind={`${feature.name} ${view}`}
          words={`${feature.name}: ${seriesWords(drawing, { inUse: feature.inUse, seats }, STRETCH_WORDS[view])}`}
        />
      )}
      <Legend hasAverage={drawing?.averages != null} />
      <SeriesTable drawing={drawing} view={view} />
    </div>
  );
}

function drawingFor(
  view: View,
  usage: Usage | undefined,
  answer: UsageSeriesAnswer | null,
  seats: number,
): Drawing | null {
  if (view !== "now") return answer === null ? null : drawingOfSeries(answer, seats);
  return usage === undefined ? null : drawingOfUsage(usage);
}

function Legend({ hasAverage }: { readonly hasAverage: boolean }) {
  return (
    <p class="legend" aria-hidden="true">
      <span>
        <span class="swatch use" /> {hasAverage ? "most in use at once" : "in use"}
      </span>
      <span class={hasAverage ? "" : "off"}>
        <span class="swatch average" /> average
      </span>
      <span>
        <span class="swatch seats" /> seats
      </span>
      <span>
        <span class="swatch peak" /> peak
      </span>
      <span class={hasAverage ? "" : "off"}>
        <span class="swatch denied" /> denied
      </span>
    </p>
  );
}

const TABLE_ROWS_MAX = 200;

/** The same in numbers. */
function SeriesTable({ drawing, view }: { readonly drawing: Drawing | null; readonly view: View }) {
  const [open, setOpen] = useState(false);
  const rows =
    drawing === null || !open
      ? []
      : drawing.times.map((_, index) => drawing.times.length - 1 - index).slice(0, TABLE_ROWS_MAX);
  return (
    <details class="numbers" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>As a table</summary>
      {drawing !== null && open && (
        <div class="table-wrap" role="region" aria-label="Use over time" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">{view === "now" ? "At" : "From"}</th>
                <th scope="col" class="number">
                  {view === "now" ? "In use" : "Most in use"}
                </th>
                {drawing.averages !== null && (
                  <th scope="col" class="number">
                    Average
                  </th>
                )}
                <th scope="col" class="number">
                  Seats
                </th>
                {drawing.denied !== null && (
                  <th scope="col" class="number">
                    Denied
                  </th>
                )}
              </tr>
            </thead>
            <tbody>
              {rows.map((index) => (
                <tr key={drawing.times[index]}>
                  <th scope="row">{instantWords(drawing.times[index] ?? 0, drawing.untilMs)}</th>
                  <td class="number">{drawing.peaks[index]}</td>
                  {drawing.averages !== null && (
                    <td class="number">{drawing.averages[index]?.toFixed(1)}</td>
                  )}
                  <td class="number">{drawing.seats[index]}</td>
                  {drawing.denied !== null && <td class="number">{drawing.denied[index]}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

interface History {
  readonly answer: UsageSeriesAnswer | null;
  readonly failed: string | null;
}

const NO_HISTORY: History = { answer: null, failed: null };

/** Asked anew from time to time; what was asked before is shown until the answer is there, if it is of the same. */
function useHistory(calls: PoolCalls, feature: string, view: View): History {
  const [history, setHistory] = useState(NO_HISTORY);
  useEffect(() => {
    setHistory(NO_HISTORY);
    if (view === "now") return;
    const { stepMs, renewMs } = SHAPES[view];
    let timer: number | null = null;
    let over = false;
    const ask = async (): Promise<void> => {
      const from = new Date(beginOf(view, Date.now())).toISOString();
      const query = new URLSearchParams({ feature, from, stepMs: String(stepMs) });
      try {
        const { value } = await calls.readReport<UsageSeriesAnswer>(`/v1/usage/series?${query}`);
        if (!over) setHistory({ answer: value, failed: null });
      } catch (error) {
        const failed = error instanceof Error ? error.message : String(error);
        if (!over) setHistory((before) => ({ ...before, failed }));
      }
      if (!over) timer = window.setTimeout(() => void ask(), renewMs);
    };
    void ask();
    return () => {
      over = true;
      if (timer !== null) clearTimeout(timer);
    };
  }, [calls, feature, view]);
  return history;
}
