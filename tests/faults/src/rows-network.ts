/** Faults of the network: cuts between machines, from the store, from clients; loss and delay. */
import { serverLifeMs, timingOf } from "@quorate/core";
import { nowMs } from "@quorate/e2e/wait";
import type { Machine } from "./machine.ts";
import { LEASE_MS, LIFE_MS } from "./pool.ts";
import type { Row, Stage } from "./row.ts";

/** Long enough that a cut-off server is retired and what it had is reclaimed. */
const CUT_MS = timingOf(LEASE_MS).retireAfterMs + serverLifeMs(LIFE_MS) + 1_000;
const LOSS_MS = 20_000;
const PACKETS_LOST = 0.05;
const ANSWERS_LOST = 0.1;
/** Each way, so that an answer comes 200 ms late. */
const DELAY_EACH_WAY_MS = 100;
const SEATS_MORE = 10;

/** Cuts, waits longer than lease and life, mends; every client is served while it lasts and afterwards. */
function cut(
  name: string,
  title: string,
  make: (stage: Stage, leader: Machine, others: readonly Machine[]) => readonly Machine[],
): Row {
  return {
    name: `cut-${name}`,
    title,
    async fault(stage) {
      const leader = await stage.pool.leader();
      const untilMs = nowMs() + CUT_MS;
      const machines = make(stage, leader, stage.pool.others(leader));
      stage.say(`${machines.map(({ id }) => id).join(", ")}: cut for ${CUT_MS} ms`);
      await stage.everyClientIsServed();
      await stage.lasts(Math.max(0, untilMs - nowMs()));
      stage.say("mended");
      for (const machine of machines) stage.network.mend(machine.place);
      await stage.everyClientIsServed();
      await stage.pool.leader();
    },
  };
}

const CUTS: readonly Row[] = [
  cut("minority", "a minority with the leader cut from the other machines", (stage, leader) => {
    const { pool, network } = stage;
    const minority = [leader, ...pool.others(leader)].slice(
      0,
      Math.ceil(pool.machines.length / 2) - 1,
    );
    const majority = pool.places(pool.others(...minority));
    for (const machine of minority) network.cut(machine.place, majority);
    return minority;
  }),
  cut("follower", "a follower's machine cut from the other machines", (stage, _, others) => {
    const machine = others[0]!;
    stage.network.cut(machine.place, stage.pool.places(stage.pool.others(machine)));
    return [machine];
  }),
  cut("store", "the leader cut from the store only", ({ network }, leader) => {
    network.cutFromStore(leader.place);
    return [leader];
  }),
  cut("peers", "a follower cut from the other servers only", (stage, _, others) => {
    const machine = others[0]!;
    stage.network.cutFromPeers(machine.place, stage.pool.places(stage.pool.others(machine)));
    return [machine];
  }),
  cut("clients", "a follower cut from its clients only", ({ network }, _, others) => {
    const machine = others[0]!;
    network.cut(machine.place, [network.clients]);
    return [machine];
  }),
  cut("deaf", "the leader's machine hears no other machine, they hear it", (stage, leader) => {
    stage.network.deafen(leader.place, stage.pool.places(stage.pool.others(leader)));
    return [leader];
  }),
  cut(
    "mute",
    "the leader's machine is heard by no other machine, it hears them",
    (stage, leader) => {
      stage.network.mute(leader.place, stage.pool.places(stage.pool.others(leader)));
      return [leader];
    },
  ),
];

const PACKET_LOSS: Row = {
  name: "packet-loss",
  title: "5 % of the packets to every machine lost for 20 s",
  async fault(stage) {
    stage.say("5 % packet loss");
    for (const { place } of stage.pool.machines) stage.network.lose(place, PACKETS_LOST);
    await stage.everyClientIsServed();
    await stage.lasts(LOSS_MS);
    for (const { place } of stage.pool.machines) stage.network.mend(place);
    await stage.everyClientIsServed();
  },
};

const LOST_ANSWERS: Row = {
  name: "lost-answers",
  title: "10 % of all answers of servers and store lost with their connections for 20 s",
  through: "everything",
  async fault(stage) {
    stage.say("10 % of the answers lost");
    stage.pool.order({ delayMs: 0, loss: ANSWERS_LOST });
    await stage.lasts(LOSS_MS);
    stage.pool.order({ delayMs: 0, loss: 0 });
    await stage.everyClientIsServed();
  },
};

const DELAY: Row = {
  name: "delay",
  title: "every answer between machines, and to clients, 200 ms later for 20 s",
  through: "other machines",
  async fault(stage) {
    stage.say("200 ms between machines");
    stage.pool.order({ delayMs: DELAY_EACH_WAY_MS, loss: 0 });
    await stage.everyClientIsServed();
    await stage.lasts(LOSS_MS);
    stage.pool.order({ delayMs: 0, loss: 0 });
    await stage.everyClientIsServed();
  },
};

const LICENSE: Row = {
  name: "license-cut-off",
  title: "a license with more seats installed on a machine that is cut off, mended later",
  async fault(stage) {
    const { pool, network } = stage;
    const machine = pool.others(await pool.leader())[0]!;
    network.cut(machine.place, pool.places(pool.others(machine)));
    stage.say(`${machine.id} cut off`);
    const text = pool.license(2, pool.seats + SEATS_MORE);
    stage.clients.recorder.limit(pool.seats + SEATS_MORE, nowMs());
    const reply = await pool.install(machine, text);
    stage.notes.push(`PUT /v1/license while cut off: ${reply?.status} ${reply?.code ?? ""}`);
    if (reply?.status !== 202) throw new Error("the license was not kept");
    await stage.everyClientIsServed();
    network.mend(machine.place);
    stage.say("mended");
    await pool.everywhere(2, CUT_MS);
    await stage.everyClientIsServed();
  },
};

export const NETWORK_ROWS: readonly Row[] = [...CUTS, PACKET_LOSS, LOST_ANSWERS, DELAY, LICENSE];
