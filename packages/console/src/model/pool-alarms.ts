/** The alarms of all servers that answer: each tells its own alone, so the console that asks one asks the others, too. */
import type { PoolAnswer } from "@quorate/protocol";

export function withAlarmsOfAll(own: PoolAnswer, others: readonly PoolAnswer[]): PoolAnswer {
  const alive = new Set(own.members.filter((each) => each.alive).map((each) => each.id));
  const answers = [own, ...others.filter(({ self }) => self !== own.self && alive.has(self))];
  const isAlone = own.members.length <= 1;
  const alarms = answers.flatMap(({ self, alarms: sentences }) =>
    sentences.map((sentence) => (isAlone ? sentence : `${self}: ${sentence}`)),
  );
  return { ...own, alarms };
}
