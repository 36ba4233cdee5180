import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Drawing } from "../model/series.ts";
import { useMedia } from "./hooks.ts";

const HEIGHT_PX = 240;
/** A chart of a few seconds says nothing: it starts out this wide. */
const SPAN_SECONDS_MIN = 120;
const DAY_SECONDS = 86_400;

export interface UsageChartProps {
  readonly drawing: Drawing;
  /** Another key makes another chart. */
  readonly kind: string;
  /** What it shows, in a sentence. */
  readonly words: string;
}

/** Seats in use against the seats there are, with the peak; where it is known also averages and refusals. */
export function UsageChart({ drawing, kind, words }: UsageChartProps) {
  const holder = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const dark = useMedia("(prefers-color-scheme: dark)");
  useEffect(() => {
    const element = holder.current;
    if (element === null) return;
    const made = new uPlot(optionsFor(element), [[], [], [], [], [], []], element);
    chart.current = made;
    const resize = new ResizeObserver(() => {
      made.setSize({ width: element.clientWidth, height: HEIGHT_PX });
    });
    resize.observe(element);
    return () => {
      resize.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [kind, dark]);
  useEffect(() => chart.current?.setData(dataOf(drawing)), [drawing, kind, dark]);
  return <div ref={holder} class="chart" role="img" aria-label={words} />;
}

/** The last value holds until the end: a step without its end would draw nothing. */
function dataOf(drawing: Drawing): uPlot.AlignedData {
  const { times, peaks, averages, seats, denied, peak, untilMs } = drawing;
  const begun = times.at(-1);
  if (begun === undefined) return [[], [], [], [], [], []];
  const held = (values: readonly number[]): number[] => [...values, values.at(-1) ?? 0];
  const until = Math.max(untilMs, begun + 1_000);
  return [
    [...times, until].map((each) => each / 1_000),
    held(peaks),
    averages === null ? [...times, until].map(() => null) : held(averages),
    held(seats),
    [...times, until].map(() => peak),
    // A mark at the seats that could not be had.
    [...times, until].map((_, index) =>
      (denied?.[index] ?? 0) > 0 ? (seats[index] ?? null) : null,
    ),
  ];
}

function optionsFor(element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const font = `11px ${style.fontFamily}`;
  const axis = {
    stroke: color("--soft"),
    font,
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
  };
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  const paths = stepped === undefined ? {} : { paths: stepped };
  const hidden = { points: { show: false } };
  return {
    width: element.clientWidth,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { y: false, points: { show: false } },
    padding: [10, 28, 0, 0],
    scales: {
      x: {
        // Read from the data: for a single sample uPlot proposes a span of years.
        range: ({ data: [times] }) => {
          const first = times[0] ?? 0;
          return [first, Math.max(times.at(-1) ?? 0, first + SPAN_SECONDS_MIN)];
        },
      },
      y: { range: (_chart, _least, most) => [0, Math.max(1, Math.ceil(most * 1.12))] },
    },
    axes: [
      {
        ...axis,
        space: 90,
        size: 28,
        values: ({ scales }, splits) => {
          const span = (scales["x"]?.max ?? 0) - (scales["x"]?.min ?? 0);
          return splits.map((seconds) => tickWords(seconds, span));
        },
      },
      {
        ...axis,
        size: 44,
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000],
      },
    ],
    series: [
      {},
      { stroke: color("--accent"), width: 2, fill: color("--accent-soft"), ...hidden, ...paths },
      { stroke: color("--average"), width: 1.5, ...hidden, ...paths },
      { stroke: color("--ink"), width: 1.5, ...hidden },
      { stroke: color("--accent"), width: 1, dash: [4, 4], ...hidden },
      {
        stroke: color("--bad"),
        width: 0,
        paths: () => null,
        points: { show: true, size: 7, width: 0, fill: color("--bad") },
      },
    ],
  };
}

function tickWords(seconds: number, spanSeconds: number): string {
  const at = new Date(seconds * 1_000);
  if (spanSeconds > 2 * DAY_SECONDS) {
    return at.toLocaleDateString("en", { month: "short", day: "numeric" });
  }
  const minutes = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
  return spanSeconds > 20 * 60
    ? at.toLocaleTimeString("en", minutes)
    : at.toLocaleTimeString("en", { hourCycle: "h23" });
}
