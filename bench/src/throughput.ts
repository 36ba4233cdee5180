/** Requests a second over HTTP, beside an echo of the same bodies that is measured in turn with it. */
import type { ChildProcess } from "node:child_process";
import { count, type Figure, tell } from "./figures.ts";
import { Echo, LoadGenerator } from "./load.ts";
import { CONNECTIONS } from "./load-generator.ts";
import { type LoopDelay, loopDelayFigure, readLoopDelay } from "./loop-delay.ts";
import { openPool } from "./pool.ts";
import { processorTimeUs } from "./processor-time.ts";
import { alternate, median } from "./statistics.ts";

export interface BenchOptions {
  /** Of one half of a round. */
  readonly seconds: number;
  /** For the Node that runs the server. */
  readonly nodeFlags: readonly string[];
}

interface Target {
  readonly port: number;
  readonly process: ChildProcess;
}

interface Round {
  /** Answers a second. */
  readonly rate: number;
  /** Processor time of an answer; null where it is not counted. */
  readonly us: number | null;
}

const ROUNDS = 5;
const SEATS = 100_000;
/** The compiler of V8 has seen everything after this. */
const WARM_UP_SECONDS = 2;

export async function throughput(
  task: "checkouts" | "heartbeats",
  name: string,
  held: number,
  ratioMin: number,
  { seconds, nodeFlags }: BenchOptions,
): Promise<Figure[]> {
  const pool = await openPool({ members: 1, seats: SEATS, nodeFlags });
  try {
    await using generator = new LoadGenerator();
    await using echo = await Echo.start();
    const [server] = pool.servers;
    let refused = 0;
    const measure = async (target: Target, length: number): Promise<Round> => {
      const before = processorTimeUs(target.process.pid);
      const done = await generator.run({ task, port: target.port, seconds: length });
      const after = processorTimeUs(target.process.pid);
      refused += done.refusals.reduce((sum, [, times]) => sum + times, 0);
      const us = before === null || after === null ? null : (after - before) / done.answers;
      return { rate: done.answers / done.seconds, us };
    };
    if (held > 0) await generator.run({ task: "hold", port: server.port, sessions: held });
    await measure(echo, WARM_UP_SECONDS);
    await measure(server, WARM_UP_SECONDS);
    const echoUs: number[] = [];
    const serverUs: number[] = [];
    const delays: LoopDelay[] = [];
    const measured = await alternate(
      ROUNDS,
      async () => {
        const { rate, us } = await measure(echo, seconds);
        if (us !== null) echoUs.push(us);
        return rate;
      },
      async (round) => {
        await readLoopDelay(server.url);
        const { rate, us } = await measure(server, seconds);
        if (us !== null) serverUs.push(us);
        delays.push(await readLoopDelay(server.url));
        tell(`${task}: round ${round + 1} of ${ROUNDS}, ${count(rate)} a second`);
        return rate;
      },
    );
    return [
      {
        name: `${name}, ${CONNECTIONS} connections`,
        measured:
          `${count(measured.candidate)}/s` + (refused === 0 ? "" : `; ${count(refused)} refused`),
        baseline: `node:http echo ${count(measured.baseline)}/s`,
        ratio: measured.ratio.toFixed(2),
        target: `≥ ${ratioMin}`,
        met: measured.ratio >= ratioMin,
      },
      ...(serverUs.length === 0 ? [] : [processorFigure(name, median(echoUs), median(serverUs))]),
      loopDelayFigure(task, delays),
    ];
  } finally {
    await pool.close();
  }
}

/** What a request costs; the rate follows from it where nothing else runs on the core. */
function processorFigure(name: string, echoUs: number, serverUs: number): Figure {
  return {
    name: `processor time of a request, ${name}`,
    measured: `${serverUs.toFixed(1)} µs`,
    baseline: `echo ${echoUs.toFixed(1)} µs`,
    ratio: (echoUs / serverUs).toFixed(2),
    target: "–",
    met: null,
  };
}
