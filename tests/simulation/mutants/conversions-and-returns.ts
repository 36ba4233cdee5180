/** Conversions, hand-overs, holds, and members that return (design 4.4, 4.5). */
import type { Mutant } from "./catalogue.ts";

const CORE = "packages/core/src";
const MEMBER = "packages/server/src/member";

export const CONVERSIONS_AND_RETURNS: readonly Mutant[] = [
  {
    name: "convert-without-confirm",
    rule: "4.4.3: a retired seat moves only for a client that confirmed with a nonce",
    file: `${MEMBER}/conversions.ts`,
    find: `        if (!this.takeNonce(conversion)) return this.askConfirm(conversion);`,
    replace: `        if (this.nonces.size > NONCES_MAX) return this.askConfirm(conversion);`,
  },
  {
    name: "convert-before-retirement",
    rule: "4.4.2: a seat of a silent member moves once it is retired",
    file: `${MEMBER}/conversions.ts`,
    find: `    if (over && (leads || owns)) {`,
    replace: `    if (leads || owns) {`,
    also: [
      {
        file: `${MEMBER}/conversions.ts`,
        find: `        const changed = convert(next, member, from, id, epoch, seats, present);`,
        replace: `        const changed = convert(next, member, from, id, epoch, seats, (present ?? 0) + 1);`,
      },
    ],
  },
  {
    name: "convert-by-stale-token",
    aim: "dies and returns within one life",
    rule: "4.4.3: seats come from the retired entry of the token's own member and epoch, no other",
    file: `${MEMBER}/conversions.ts`,
    find: `    return source === null ? asked : { ...asked, member: source.member, epoch: source.epoch };`,
    replace: `    const own = \`\${asked.member}/\${asked.epoch}\`;
    const other = Object.keys(record.retired).find(
      (key) => key.startsWith(\`\${asked.member}/\`) && key !== own,
    );
    if (other !== undefined) return { ...asked, epoch: Number(other.split("/")[1]) };
    return source === null ? asked : { ...asked, member: source.member, epoch: source.epoch };`,
  },
  {
    name: "converted-seat-handed-on",
    aim: "dies and returns within one life",
    rule: "4.4.3: a seat moved out of a retired entry is held for one wait",
    file: `${MEMBER}/conversions.ts`,
    find: `    const holdMs = serverLifeMs(entryLifeMs);`,
    replace: `    const holdMs = 1;`,
  },
  {
    name: "held-seat-unused",
    aim: "answers lost at conversions",
    rule: "4.4.3: a held seat counts as used in everything",
    file: `${CORE}/ledger.ts`,
    find: `    const { seats, heldUntilMs: untilMs } = session;`,
    replace: `    account.used -= session.seats;
    const { heldUntilMs: untilMs } = session;
    const seats = 0;`,
  },
  {
    name: "ended-older-session-not-held",
    aim: "cut off for most of a life",
    rule: "4.5: a session of an epoch that is over counts for one life after its end",
    file: `${CORE}/ledger.ts`,
    find: `    if (account.epoch < presentEpoch || lateRenewal) {`,
    replace: `    if (account.epoch < presentEpoch - presentEpoch || (lateRenewal && nowMs < 0)) {`,
  },
  {
    name: "ended-unaware-not-held",
    aim: "cut off for most of a life",
    rule: "4.5: a session that ends while the epoch may be over counts until it is known to go on",
    file: `${CORE}/ledger.ts`,
    find: `    if (account.epoch < presentEpoch || lateRenewal) {`,
    replace: `    if (account.epoch < presentEpoch || (lateRenewal && nowMs < 0)) {`,
  },
  {
    name: "hand-over-frees-seat",
    rule: "4.4.5: until a hand-over is settled neither member grants its seat",
    file: `${MEMBER}/conversions.ts`,
    find: `    session.state = "moving";
    const moved = await moveRecord(session, leader.epoch);`,
    replace: `    session.state = "active";
    await this.seats.end(session, "handed-over");
    const moved = await moveRecord(session, leader.epoch);`,
  },
  {
    name: "hand-over-forgotten",
    aim: "clients cut from their living member",
    rule: "4.4.5: an entry remembers for one life where its sessions went",
    file: `${CORE}/allocations.ts`,
    find: `  const handed = { ...entry.handed, [session]: retiredKey(to, toEpoch) };`,
    replace: `  const handed = { ...entry.handed, ...(session === "" ? { [session]: retiredKey(to, toEpoch) } : {}) };`,
  },
  {
    name: "reinstate-everything",
    rule: "4.5: after a conversion a returned member takes back only what its journal proves unused",
    file: `${MEMBER}/seats.ts`,
    find: `      const unused = Math.max(0, retired.of - used);`,
    replace: `      const unused = Math.max(0, retired.of - 0 * used);`,
  },
  {
    name: "entry-split-twice",
    aim: "cut off for most of a life",
    rule: "4.5: an entry is split once; a second return takes nothing of it",
    file: `${CORE}/allocations.ts`,
    find: `  const split = { ...before, retired: { ...before.retired, [key]: { ...entry, of: 0 } } };`,
    replace: `  const split = before;`,
    // What was split is told by the same number where its sessions come back.
    also: [
      {
        file: `${MEMBER}/conversions.ts`,
        find: `    return retired === null ? entry?.epoch === epoch : retired.of > 0;`,
        replace: `    return retired === null ? entry?.epoch === epoch : retired.of === retired.seats;`,
      },
    ],
  },
  {
    name: "reinstated-seats-unused",
    rule: "4.5: while a whole entry comes back its seats are not unused",
    file: `${MEMBER}/seats.ts`,
    find: `    return this.taking.has(feature) ? 0 : this.limit(feature) - this.used(feature);`,
    replace: `    return this.limit(feature) - this.used(feature);`,
  },
  {
    name: "adopts-beyond-limit",
    aim: "dies and returns within one life",
    rule: "4.5: a member never renews beyond its limit",
    file: `${MEMBER}/seats.ts`,
    find: `    accounts.sort((a, b) => Number(b.epoch === epoch) - Number(a.epoch === epoch));`,
    replace: `    accounts.sort((a, b) => a.epoch - b.epoch);`,
  },
  {
    name: "known-session-moved-unsplit",
    aim: "returns to a weak store",
    rule: "4.5: a session counts in its old entry until that was taken back or split",
    file: `${MEMBER}/conversions.ts`,
    find: `    if (known !== null && this.isUnsplit(known)) {`,
    replace: `    if (known !== null && this.isUnsplit(known) && known.state !== "active") {`,
  },
  {
    name: "restored-lives-not-begun-anew",
    aim: "dies and returns within one life",
    rule: "4.6: after a start a server counts a session from the end of its wait",
    file: `${CORE}/ledger.ts`,
    find: `      session.expiresAtMs = nowMs + serverLifeMs(session.lifeMs);
      session.heldUntilMs = holdMs`,
    replace: `      session.expiresAtMs = nowMs + serverLifeMs(session.lifeMs) / 3;
      session.heldUntilMs = holdMs`,
  },
  {
    name: "debt-ignored",
    aim: "licenses with other seats and lives",
    rule: "4.3: while there is debt a member grants nothing new",
    file: `${MEMBER}/seats.ts`,
    find: `    if (known.value.debt > 0) {`,
    replace: `    if (known.value.debt < 0) {`,
    also: [
      {
        file: `${MEMBER}/seats.ts`,
        find: `        if (record.debt > 0) await this.giveBack(`,
        replace: `        if (record.debt < 0) await this.giveBack(`,
      },
    ],
  },
];
