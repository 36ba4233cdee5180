/** `GET /metrics`: Prometheus text of the process, the pool, the features and the answers. */
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { MemberApi } from "../member/api.ts";
import type { EventStreams } from "./events.ts";
import type { Tally } from "./tally.ts";

export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
}

export function createMetrics(
  member: MemberApi,
  tally: Tally,
  streams: EventStreams,
  lagMs: () => number,
): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauge = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
    new Gauge({ name, help, labelNames, registers: [registry] });

  const seats = gauge("quorate_feature_seats", "Licensed seats, with overdraft", ["feature"]);
  const inUse = gauge("quorate_feature_seats_in_use", "Seats in use in the pool", ["feature"]);
  const free = gauge("quorate_feature_seats_free", "Seats that can be granted", ["feature"]);
  const retired = gauge("quorate_feature_seats_retired", "Seats whose wait is not over", [
    "feature",
  ]);
  const debt = gauge("quorate_feature_debt", "Seats in use above a smaller license", ["feature"]);
  const queued = gauge("quorate_feature_queued", "Requests that wait for a seat", ["feature"]);
  const denied = gauge("quorate_feature_denied", "Requests denied since the start", ["feature"]);
  const alive = gauge("quorate_member_alive", "1: seen alive by this member", ["member"]);
  const leads = gauge("quorate_member_leads", "1: leader, as this member sees it", ["member"]);
  const majority = gauge("quorate_majority_reached", "1: a majority is reached", []);
  const ready = gauge("quorate_ready", "1: this member may grant", []);
  const alarms = gauge("quorate_alarms", "Sentences that an administrator should read", []);
  const answered = gauge("quorate_sessions_answered", "Calls about sessions that went well", []);
  const refused = gauge("quorate_refusals", "Refusals since the start, by code", ["code"]);
  const events = gauge("quorate_event_streams", "Open event streams", []);
  const lag = gauge("quorate_event_loop_lag_ms", "How late the event loop is, ms", []);

  return {
    contentType: registry.contentType,
    text: async () => {
      const { features } = await member.features();
      // A feature or member that is gone must not keep its last value.
      for (const one of [seats, inUse, free, retired, debt, queued, denied]) one.reset();
      alive.reset();
      leads.reset();
      for (const feature of features) {
        const labels = { feature: feature.name };
        seats.set(labels, feature.seats + feature.overdraft);
        inUse.set(labels, feature.inUse);
        free.set(labels, feature.free);
        retired.set(labels, feature.retired);
        debt.set(labels, feature.debt);
        queued.set(labels, feature.queued);
        denied.set(labels, feature.denied);
      }
      const pool = member.pool();
      for (const { id, alive: isAlive } of pool.members) {
        alive.set({ member: id }, isAlive ? 1 : 0);
        leads.set({ member: id }, pool.leader?.id === id ? 1 : 0);
      }
      majority.set(pool.majority.reached ? 1 : 0);
      ready.set(member.readiness() === null ? 1 : 0);
      alarms.set(pool.alarms.length);
      answered.set(tally.answered);
      for (const [code, count] of tally.refusals()) refused.set({ code }, count);
      events.set(streams.count());
      lag.set(lagMs());
      return registry.metrics();
    },
  };
}
