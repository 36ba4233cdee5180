/**
 * `GET /metrics`: Prometheus text of the process, the pool, the features and the answers. Names end in their
 * unit, labels are bounded by what the license and the pool hold. What is pool-wide is told by every member:
 * take the `max` over them.
 *
 * Nothing is looked up when a session is answered; what can be read is read when Prometheus asks.
 */
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { Metric } from "prom-client";
import type { MemberEvent } from "@quorate/protocol";
import type { MemberApi } from "../member/api.ts";
import type { EventStreams } from "./events.ts";
import type { Tally } from "./tally.ts";

export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
  close(): void;
}

export interface MetricsOptions {
  readonly member: MemberApi;
  readonly tally: Tally;
  readonly streams: EventStreams;
  readonly lagMs: () => number;
  /** Measured elsewhere. */
  readonly more: readonly Metric[];
}

/** Codes and names of features that were seen, over all licenses of this process. */
const LABEL_SETS_MAX = 2_000;
/** Gauges that end in `_total`, which tools rightly complain about; others say the same. */
const MISNAMED = [
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  "nodejs_active_resources_total",
];

export function createMetrics(options: MetricsOptions): Metrics {
  const { member, tally, streams, lagMs, more } = options;
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  for (const metric of more) registry.registerMetric(metric);
  const { counters, denied, unsubscribe } = countersOf(registry, member, tally);
  const readings = readingsOf(registry, member, denied);
  const { events, lag } = processOf(registry);
  return {
    contentType: registry.contentType,
    text: async () => {
      await readings();
      counters();
      events.set(streams.count());
      lag.set(lagMs() / 1_000);
      return registry.metrics();
    },
    close: unsubscribe,
  };
}

/** What the member says of the pool, the features and itself at this moment. */
function readingsOf(
  registry: Registry,
  member: MemberApi,
  denied: Counter<"feature" | "code">,
): () => Promise<void> {
  const gauges: Gauge[] = [];
  const gauge = <Label extends string>(name: string, help: string, labelNames: Label[]) => {
    const made = new Gauge({ name: `quorate_${name}`, help, labelNames, registers: [registry] });
    gauges.push(made);
    return made;
  };
  const feature: "feature"[] = ["feature"];
  const seats = gauge("seats", "Licensed seats, with overdraft", feature);
  const used = gauge("seats_used", "Seats in use in the pool", feature);
  const free = gauge("seats_free", "Seats that nobody uses and that can be granted", feature);
  const retired = gauge(
    "seats_retired",
    "Seats of servers that are gone, until their wait is over",
    feature,
  );
  const debt = gauge("seats_debt", "Seats in use above a smaller license", feature);
  const queued = gauge("requests_queued", "Requests that wait for a seat, at the leader", feature);
  const expiry = gauge(
    "license_expiry_timestamp_seconds",
    "When the license of a feature ends, Unix time",
    feature,
  );
  const ofMember: ("feature" | "member")[] = ["feature", "member"];
  const memberSeats = gauge("member_seats", "Seats that a server may grant on its own", ofMember);
  const memberUsed = gauge("member_seats_used", "Seats in use at a server", ofMember);
  const alive = gauge("member_alive", "1: this server sees that server alive", ["member"]);
  const leads = gauge("member_leads", "1: leader, as this server sees it", ["member"]);
  const mandate = gauge("mandate", "1: this server may grant", []);
  const leader = gauge("leader", "1: this server leads the pool", []);
  const term = gauge("term", "Number of the leadership that this server knows of", []);
  const majority = gauge("majority_reached", "1: this server sees a majority of the pool", []);
  const members = gauge(
    "members_alive",
    "Servers that this server sees alive, itself included",
    [],
  );
  const needed = gauge("members_needed", "Servers that a majority takes", []);
  const sessions = gauge("sessions", "Authorizations that this server holds", []);
  const sequence = gauge("license_sequence", "Sequence number of the license in force", []);
  const suspended = gauge(
    "store_suspended",
    "1: the store is not the one it was, nothing is granted",
    [],
  );
  const alarms = gauge("alarms", "Sentences that an administrator should read", []);

  return async () => {
    const { features } = await member.features();
    // A feature or member that is gone must not keep its last value.
    for (const one of gauges) one.reset();
    for (const row of features) {
      const labels = { feature: row.name };
      seats.set(labels, row.seats + row.overdraft);
      used.set(labels, row.inUse);
      free.set(labels, row.free);
      retired.set(labels, row.retired);
      debt.set(labels, row.debt);
      queued.set(labels, row.queued);
      // There from the start, so that the first denial is an increase.
      denied.inc({ ...labels, code: "no-seats" }, 0);
      if (row.expires !== null) expiry.set(labels, Date.parse(row.expires) / 1_000);
      for (const [id, share] of Object.entries(row.members)) {
        memberSeats.set({ ...labels, member: id }, share.seats);
        memberUsed.set({ ...labels, member: id }, share.inUse);
      }
    }
    const pool = member.pool();
    for (const { id, alive: isAlive } of pool.members) {
      alive.set({ member: id }, isAlive ? 1 : 0);
      leads.set({ member: id }, pool.leader?.id === id ? 1 : 0);
    }
    const own = pool.members.find((each) => each.id === member.id);
    mandate.set(member.readiness() === null ? 1 : 0);
    leader.set(pool.leader?.id === member.id ? 1 : 0);
    term.set(pool.term);
    majority.set(pool.majority.reached ? 1 : 0);
    members.set(pool.majority.alive);
    needed.set(pool.majority.needed);
    sessions.set(own?.sessions ?? 0);
    sequence.set(own?.licenseSequence ?? 0);
    suspended.set(pool.store.state === "ok" ? 0 : 1);
    alarms.set(pool.alarms.length);
  };
}

/** What is counted since the start of the process. */
function countersOf(
  registry: Registry,
  member: MemberApi,
  tally: Tally,
): { counters: () => void; denied: Counter<"feature" | "code">; unsubscribe: () => void } {
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
    new Counter({ name: `quorate_${name}_total`, help, labelNames, registers: [registry] });
  const denied = counter("requests_denied", "Requests that this server denied", [
    "feature",
    "code",
  ]);
  const conversions = counter("conversions", "Sessions of other servers that this one took over", [
    "feature",
  ]);
  const retirements = counter("retirements", "Silent servers whose retirement this server saw", [
    "member",
  ]);
  const failovers = counter("failovers", "Changes of the leadership that this server saw", []);
  const answered = counter("calls_answered", "Calls about sessions that went well", []);
  const refused = counter("refusals", "Calls that were refused, by code", ["code"]);
  const limited = counter(
    "requests_limited",
    "Calls that were refused because their address or their client had asked too much, by which",
    ["by"],
  );
  const seen = new Set<string>();
  let term = 0;

  const isBounded = (label: string): boolean => {
    if (seen.size < LABEL_SETS_MAX) seen.add(label);
    return seen.has(label);
  };
  const hear = ({ type, data }: MemberEvent): void => {
    const { feature, code, member: id } = data;
    if (type === "denied" && typeof feature === "string" && typeof code === "string") {
      // The name of a feature that the license does not have is whatever somebody typed.
      const name = code === "unknown-feature" ? "" : feature;
      if (isBounded(`${code} ${name}`)) denied.inc({ feature: name, code });
    } else if (type === "converted" && typeof feature === "string") {
      conversions.inc({ feature });
    } else if (type === "member-retired" && typeof id === "string") {
      retirements.inc({ member: id });
    }
  };
  return {
    denied,
    unsubscribe: member.subscribe(hear),
    counters: () => {
      const pool = member.pool();
      // Terms only grow, and by one with each leadership: none is missed between two readings.
      if (term > 0) failovers.inc(Math.max(0, pool.term - term));
      term = Math.max(term, pool.term);
      answered.reset();
      answered.inc(tally.answered);
      refused.reset();
      for (const [code, count] of tally.refusals()) refused.inc({ code }, count);
      limited.reset();
      for (const [by, count] of Object.entries(tally.limited)) limited.inc({ by }, count);
    },
  };
}

function processOf(registry: Registry): { events: Gauge; lag: Gauge } {
  const registers = [registry];
  return {
    events: new Gauge({ name: "quorate_event_streams", help: "Open event streams", registers }),
    lag: new Gauge({
      name: "quorate_event_loop_delay_seconds",
      help: "How late the event loop is: past 0.05 new requests are told to come back later",
      registers,
    }),
  };
}
