/** Requests a second over HTTP, beside an echo of the same bodies that is measured in turn with it. */
import { count, type Figure, tell } from "./figures.ts";
import { Echo, LoadGenerator } from "./load.ts";
import { CONNECTIONS, type LoadTask } from "./load-generator.ts";
import { type LoopDelay, loopDelayFigure, readLoopDelay } from "./loop-delay.ts";
import { openPool } from "./pool.ts";
import { alternate } from "./statistics.ts";

export interface BenchOptions {
  /** Of one half of a round. */
  readonly seconds: number;
  /** For the Node that runs the server. */
  readonly nodeFlags: readonly string[];
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
    const rate = (port: number, length: number): Promise<number> =>
      generator.rate({ task, port, seconds: length } satisfies LoadTask);
    if (held > 0) await generator.rate({ task: "hold", port: server.port, sessions: held });
    await rate(echo.port, WARM_UP_SECONDS);
    await rate(server.port, WARM_UP_SECONDS);
    const delays: LoopDelay[] = [];
    const measured = await alternate(
      ROUNDS,
      () => rate(echo.port, seconds),
      async (round) => {
        await readLoopDelay(server.url);
        const one = await rate(server.port, seconds);
        delays.push(await readLoopDelay(server.url));
        tell(`${task}: round ${round + 1} of ${ROUNDS}, ${count(one)} a second`);
        return one;
      },
    );
    return [
      {
        name: `${name}, ${CONNECTIONS} connections`,
        measured: `${count(measured.candidate)}/s`,
        baseline: `node:http echo ${count(measured.baseline)}/s`,
        ratio: measured.ratio.toFixed(2),
        target: `≥ ${ratioMin}`,
        met: measured.ratio >= ratioMin,
      },
      loopDelayFigure(task, delays),
    ];
  } finally {
    await pool.close();
  }
}
