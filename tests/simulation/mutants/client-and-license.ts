/** What clients believe, the numbers of their messages, and licenses (design 4.6, 4.7). */
import type { Mutant } from "./catalogue.ts";

const CORE = "packages/core/src";
const MEMBER = "packages/server/src/member";

export const CLIENT_AND_LICENSE: readonly Mutant[] = [
  {
    name: "client-life-without-drift",
    aim: "sleep and wall clocks",
    rule: "4.6: a client believes for its life less drift and margin",
    file: `${CORE}/timing.ts`,
    find: `  return Math.floor(lifeMs * (1 - CLOCK_DRIFT) - LIFE_MARGIN_MS);`,
    replace: `  return Math.floor(lifeMs * (1 + CLOCK_DRIFT) + LIFE_MARGIN_MS);`,
  },
  {
    name: "client-life-from-answer",
    aim: "cut off for most of a life",
    rule: "4.6: a client's belief counts from its send",
    file: `${CORE}/client-answers.ts`,
    find: `  const authorization = authorizationFrom(grant, asked, previous);`,
    replace: `  const authorization = authorizationFrom(grant, { ...asked, sentAt: now }, previous);`,
  },
  {
    name: "client-deaf-to-sleep",
    aim: "sleep and wall clocks",
    rule: "4: a client counts the longest of its clocks, so that it notices a sleep",
    file: `${CORE}/client-belief.ts`,
    find: `  return clientLifeMs(authorization.lifeMs) - elapsedForHolder(authorization.since, now);`,
    replace: `  return clientLifeMs(authorization.lifeMs) - (now.monotonicMs - authorization.since.monotonicMs);`,
  },
  {
    name: "session-ended-by-wall-clock",
    aim: "sleep and wall clocks",
    rule: "4: who ends a session counts the monotonic clock alone",
    file: `${MEMBER}/seats.ts`,
    find: `  expire(): void {
    const nowMs = this.member.nowMs();`,
    replace: `  private wallAtStartMs: number | null = null;
  expire(): void {
    const { monotonicMs, wallMs } = this.member.ports.runtime.clocks();
    this.wallAtStartMs ??= wallMs - monotonicMs;
    const nowMs = Math.max(monotonicMs, wallMs - this.wallAtStartMs);`,
  },
  {
    name: "server-life-too-short",
    aim: "cut off for most of a life",
    rule: "4.6: a server counts a session for its life with drift and margin",
    file: `${CORE}/timing.ts`,
    find: `  return Math.ceil(lifeMs * (1 + CLOCK_DRIFT) + LIFE_MARGIN_MS);`,
    replace: `  return Math.ceil(lifeMs * (1 - CLOCK_DRIFT) - LIFE_MARGIN_MS);`,
  },
  {
    name: "shorter-life-shortens-belief",
    aim: "licenses with other seats and lives",
    rule: "4.3, 4.6: a shorter life does not end a session before the longer one that its client believes in",
    file: `${CORE}/ledger.ts`,
    find: `    session.expiresAtMs = Math.max(session.expiresAtMs, nowMs + serverLifeMs(session.lifeMs));`,
    replace: `    session.expiresAtMs = nowMs + serverLifeMs(session.lifeMs);`,
  },
  {
    name: "dedup-by-time",
    aim: "answers lost at conversions",
    rule: "4.6: a late message is told by its n, for one life, not by how late it is",
    file: `${CORE}/ledger.ts`,
    find: `      untilMs: nowMs + serverLifeMs(lifeMs),`,
    replace: `      untilMs: nowMs + serverLifeMs(lifeMs) / 100,`,
  },
  {
    name: "late-post-after-delete",
    aim: "answers lost at conversions",
    rule: "4.6: a release leaves a tombstone; a lower n gets released",
    file: `${CORE}/ledger.ts`,
    find: `      return n === undefined || n > tombstone.n ? "newer" : "released";`,
    replace: `      return n === undefined || n > tombstone.n - 1_000_000 ? "newer" : "released";`,
  },
  {
    name: "only-release-ends-moved-session",
    aim: "duplicates dropped late",
    rule: "4.6: a duplicate is dropped only where it is not the seat that the client believes in",
    file: `${MEMBER}/desk.ts`,
    find: `    if (session !== undefined && n !== undefined && n < session.n) return null;`,
    replace: `    if (session !== undefined && n !== undefined && n < -1) return null;`,
  },
  {
    name: "license-older-accepted",
    aim: "licenses with other seats and lives",
    rule: "I7: only a license with a higher sequence replaces the one in force",
    file: `${MEMBER}/license-keeper.ts`,
    find: `    if (verdict === "older") {`,
    replace: `    if (verdict === "older" && theirs.sequence < 0) {`,
  },
  {
    name: "grants-before-resize",
    aim: "licenses with other seats and lives",
    rule: "4.3: a member that reads a newer license grants nothing new until the record is resized",
    file: `${MEMBER}/seats.ts`,
    find: `    if (known === null || known.value.sequence < sequence) {`,
    replace: `    if (known === null || known.value.sequence < sequence - sequence) {`,
  },
];
