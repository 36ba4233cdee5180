import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Usage } from "../model/usage.ts";
import { useMedia } from "./hooks.ts";

const HEIGHT_PX = 240;
/** A chart of a few seconds says nothing: it starts out this wide. */
const SPAN_SECONDS_MIN = 120;

export interface UsageChartProps {
  readonly name: string;
  readonly usage: Usage;
  readonly seats: number;
}

/** Seats in use against the seats there are, with the peak, since the page was opened. */
export function UsageChart({ name, usage, seats }: UsageChartProps) {
  const holder = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const dark = useMedia("(prefers-color-scheme: dark)");
  useEffect(() => {
    const element = holder.current;
    if (element === null) return;
    const made = new uPlot(optionsFor(element), [[], [], [], []], element);
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
  }, [name, dark]);
  useEffect(() => {
    const { peak } = usage;
    const samples = drawable(usage.samples);
    chart.current?.setData([
      samples.map((each) => each.atMs / 1_000),
      samples.map((each) => each.inUse),
      samples.map((each) => each.seats),
      samples.map(() => peak),
    ]);
  }, [usage, name, dark]);
  const last = usage.samples.at(-1);
  return (
    <div
      ref={holder}
      class="chart"
      role="img"
      aria-label={`${name}: ${last?.inUse ?? 0} of ${seats} seats in use now, at most ${usage.peak} since you opened this page`}
    />
  );
}

/** One look is a point, which draws nothing: it is shown as a moment. */
function drawable(samples: Usage["samples"]): Usage["samples"] {
  const [only, second] = samples;
  return only === undefined || second !== undefined
    ? samples
    : [only, { ...only, atMs: only.atMs + 1_000 }];
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
  return {
    width: element.clientWidth,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { y: false, points: { show: false } },
    padding: [8, 28, 0, 0],
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
      { ...axis, space: 90, size: 28, values: (_chart, splits) => splits.map(clock) },
      {
        ...axis,
        size: 44,
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000],
      },
    ],
    series: [
      {},
      {
        label: "in use",
        stroke: color("--accent"),
        width: 2,
        fill: color("--accent-soft"),
        points: { show: false },
        ...(stepped === undefined ? {} : { paths: stepped }),
      },
      { label: "seats", stroke: color("--ink"), width: 1.5, points: { show: false } },
      { label: "peak", stroke: color("--accent"), width: 1, dash: [4, 4], points: { show: false } },
    ],
  };
}

function clock(seconds: number): string {
  return new Date(seconds * 1_000).toLocaleTimeString("en", { hourCycle: "h23" });
}
