/**
 * What must come true again when a majority is healed and the rest stays broken (design I4, I5).
 *
 * 1. A member leads, and every client that still runs either releases or dies.
 * 2. Within the bound of I4 every licensed seat is free.
 * 3. As many clients as there are seats ask, at any healed member, and all are served.
 * 4. The leader's list, the clients' beliefs and the journals are the same; so are the records in the store,
 *    the members' ledgers and the leader's numbers, and nobody waits in a queue.
 */
import { PAGE_ROWS_MAX, serverLifeMs, timingOf } from "@quorate/core";
import type { FeatureRow } from "@quorate/protocol";
import type { MemberApi } from "./server-parts.ts";
import { Violation } from "./oracles.ts";
import type { Simulation } from "./simulation.ts";
import type { VirtualMember } from "./virtual-member.ts";

export async function checkLiveness(
  simulation: Simulation,
  broken: ReadonlySet<string>,
): Promise<void> {
  const healthy = simulation.members.filter(({ id }) => !broken.has(id));
  const { leaseMs } = simulation.profile;
  const { administrator } = simulation;
  const { retireAfterMs } = timingOf(leaseMs);
  // Longest chain: a client's or member's machine wakes up, members start (R), the broken are retired (R),
  // and a leader takes the key.
  const leaderMs = 1.5 * administrator.lifeMsMax + 3 * retireAfterMs + LEADER_CHANGE_MS;
  const rebuiltMs = leaderMs + administrator.patienceMs();
  await waitFor(simulation, rebuiltMs, "the pool can't be rebuilt", () =>
    administrator.mustRebuild() ? null : true,
  );
  const lifeMs = administrator.lifeMsMax;
  const leader = await waitFor(simulation, leaderMs, "no leader after the faults", () =>
    leaderOf(healthy),
  );
  simulation.story.tell("phase", `${leader.id} leads`);
  await waitFor(simulation, leaderMs, "a healed member may not grant", () =>
    healthy.every((member) => member.api()?.readiness() === null) ? true : null,
  );

  for (const client of simulation.clients) client.retire();
  // One life for what nobody released, another for seats that were moved and are held (4.4).
  const freeMs = 3 * retireAfterMs + LEADER_CHANGE_MS + 2 * serverLifeMs(lifeMs) + SLACK_MS;
  await allSeatsFree(simulation, healthy, freeMs);

  // Nobody serves a program whose machine sleeps; no sleep is longer than this.
  await waitFor(simulation, 3 * lifeMs, "a machine still sleeps", () =>
    simulation.clients.some(({ machine }) => machine.isStopped()) ? null : true,
  );
  simulation.story.tell("phase", "everybody asks again");
  // The last license may leave some out, but never all.
  const feature = simulation.profile.features.find(
    ({ name }) => simulation.oracles.seatsOf(name) > 0,
  );
  if (feature === undefined) return;
  const seats = simulation.oracles.seatsOf(feature.name);
  const asking = simulation.clients.slice(0, seats);
  const urls = healthy.map(({ url }) => url);
  // A request that the network brought twice may have left a grant that its client was not told of: it ends one
  // life later. Places in the queue of clients that died are kept for a third of one.
  const servedMs = serverLifeMs(lifeMs) + SLACK_MS + SERVED_MS;
  for (const client of asking) client.askOnce(feature.name, urls, servedMs);
  await waitFor(simulation, servedMs, "a client is not served though seats are free", () =>
    asking.every((client) => client.isHolding()) ? true : null,
  );
  // A member that was started lately lists what its journal knows for one life more.
  await sameLists(
    simulation,
    healthy,
    asking.map((client) => client.session()),
    freeMs,
  );
  await recordsAgree(simulation, healthy, freeMs);

  simulation.story.tell("phase", "everybody gives back");
  for (const client of simulation.clients) client.retire();
  await allSeatsFree(simulation, healthy, freeMs);
}

async function allSeatsFree(
  simulation: Simulation,
  healthy: readonly VirtualMember[],
  withinMs: number,
): Promise<void> {
  let last = "";
  let sinceMs: number | null = null;
  await waitFor(
    simulation,
    withinMs + REPORTS_MS,
    () => `I4: seats are not free: ${last}`,
    async () => {
      const leader = leaderOf(healthy);
      if (leader === null) return null;
      const answer = await askInside(simulation, () => leader.features());
      const rows = answer?.features ?? [];
      last = JSON.stringify(rows);
      const all = rows.length > 0 && rows.every((row) => row.free === row.seats + row.overdraft);
      const isFree = all && nothingIsRetired(simulation, healthy);
      const nowMs = simulation.scheduler.nowMs();
      // A leader that has no report of a member yet shows too little in use: it must stay free.
      sinceMs = isFree ? (sinceMs ?? nowMs) : null;
      return sinceMs !== null && nowMs - sinceMs >= REPORTS_MS ? true : null;
    },
  );
}

/** In every record all seats are free or at a healed member, in its present epoch. */
function nothingIsRetired(simulation: Simulation, healthy: readonly VirtualMember[]): boolean {
  const { history } = simulation.oracles;
  return simulation.profile.features.every(({ name }) => {
    const record = history.recordOf(name);
    // A store that was empty hears nothing of a feature that the license does not name any more.
    if (record === null) return simulation.oracles.seatsOf(name) === 0;
    if (record.debt > 0 || Object.keys(record.retired).length > 0) return false;
    return Object.entries(record.allocated).every(
      ([member, { seats, epoch }]) =>
        seats === 0 ||
        (epoch === history.epochOf(member) && healthy.some(({ id }) => id === member)),
    );
  });
}

async function sameLists(
  simulation: Simulation,
  healthy: readonly VirtualMember[],
  believed: readonly string[],
  withinMs: number,
): Promise<void> {
  const wanted = [...believed].sort().join(" ");
  let last = "";
  await waitFor(
    simulation,
    withinMs,
    () => `the leader lists ${last}, clients believe ${wanted}`,
    async () => {
      const leader = leaderOf(healthy);
      if (leader === null) return null;
      const page = await askInside(simulation, () =>
        leader.authorizations({ limit: PAGE_ROWS_MAX }),
      );
      const rows = page?.authorizations ?? [];
      const isJournaled = (session: string, member: string): boolean =>
        healthy.find(({ id }) => id === member)?.disk.isKnown(session) === true;
      last = rows
        .map(({ session, member }) => {
          const stale = isJournaled(session, member) ? "" : " (which does not know it)";
          return `${session} at ${member}${stale}`;
        })
        .join(", ");
      const listed = rows.map(({ session }) => session).sort();
      const journaled = rows.every(({ session, member }) => isJournaled(session, member));
      return listed.join(" ") === wanted && journaled ? true : null;
    },
  );
}

/** Nobody waits, and records, ledgers, journals and the leader's numbers say the same of every feature. */
async function recordsAgree(
  simulation: Simulation,
  healthy: readonly VirtualMember[],
  withinMs: number,
): Promise<void> {
  let last = "";
  await waitFor(
    simulation,
    withinMs,
    () => `agreement: ${last}`,
    async () => {
      const leader = leaderOf(healthy);
      if (leader === null) return null;
      const answer = await askInside(simulation, () => leader.features());
      const rows = answer?.features ?? [];
      last = rows.length === 0 ? "the leader lists no features" : "";
      for (const row of rows) last ||= disagreement(simulation, healthy, row);
      return last === "" ? true : null;
    },
  );
}

/** In words what is not the same for a feature, or "". */
function disagreement(
  simulation: Simulation,
  healthy: readonly VirtualMember[],
  row: FeatureRow,
): string {
  const record = simulation.oracles.history.recordOf(row.name);
  if (record === null) return `${row.name} has no record`;
  if (row.queued > 0) return `${row.queued} requests wait for ${row.name}`;
  for (const member of healthy) {
    const { id } = member;
    const allocated = record.allocated[id]?.seats ?? 0;
    const listed = row.members[id] ?? { seats: 0, inUse: 0 };
    let journaled = 0;
    for (const { feature, seats } of member.disk.sessions().values()) {
      if (feature === row.name) journaled += seats;
    }
    // A journal that was not trusted keeps what its member does not take back.
    const inUse = member.hasDistrustedJournal() ? listed.inUse : journaled;
    if (listed.seats !== allocated || listed.inUse !== inUse) {
      return `${id} has ${allocated} seats of ${row.name} and ${inUse} in its journal, the leader lists ${JSON.stringify(listed)}`;
    }
    const unused = member.unused(row.name);
    if (unused !== allocated - inUse) {
      return `${id} takes ${unused} of ${allocated} seats of ${row.name} for unused, ${inUse} are in use`;
    }
  }
  return "";
}

/** The member that its own pool answer calls the leader. */
function leaderOf(healthy: readonly VirtualMember[]): MemberApi | null {
  for (const member of healthy) {
    const api = member.api();
    if (api === null || api.readiness() !== null) continue;
    if (api.pool().leader?.id === member.id) return api;
  }
  return null;
}

/** Asks from within the simulation, so that the time goes on while the answer is made. */
async function askInside<T>(simulation: Simulation, ask: () => Promise<T>): Promise<T | null> {
  let result: { readonly value: T } | null = null;
  void ask().then((value) => {
    result = { value };
  });
  const untilMs = simulation.scheduler.nowMs() + QUESTION_MS;
  await simulation.runUntil(untilMs, () => result !== null);
  return (result as { readonly value: T } | null)?.value ?? null;
}

/** Looks every so often, for `withinMs` at most. */
async function waitFor<T>(
  simulation: Simulation,
  withinMs: number,
  complaint: string | (() => string),
  look: () => T | null | Promise<T | null>,
): Promise<T> {
  const untilMs = simulation.scheduler.nowMs() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (simulation.scheduler.nowMs() >= untilMs) {
      const what = typeof complaint === "string" ? `liveness: ${complaint}` : complaint();
      throw new Violation(`${what} (within ${Math.round(withinMs)} ms)`);
    }
    await simulation.runFor(LOOK_EVERY_MS);
  }
}

const LOOK_EVERY_MS = 500;
const LEADER_CHANGE_MS = 5_000;
/** Members report every second. */
const REPORTS_MS = 4_000;
const SLACK_MS = 5_000;
const SERVED_MS = 10_000;
const QUESTION_MS = 5_000;
