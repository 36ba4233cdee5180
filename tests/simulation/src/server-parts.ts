/**
 * The parts of a member that the simulation puts together by itself. The entry of the package offers only
 * whole members over real disks and sockets, so these are imported file by file, here alone.
 */
export type * from "../../../packages/server/src/store/store.ts";
export { MemoryStore } from "../../../packages/server/src/store/memory-store.ts";
export { MemoryJournal } from "../../../packages/server/src/journal/memory-journal.ts";
export type * from "../../../packages/server/src/journal/journal.ts";
export type * from "../../../packages/server/src/journal/journal-state.ts";
export type * from "../../../packages/server/src/member/api.ts";
export type * from "../../../packages/server/src/member/ports.ts";
export type { TokenClaims } from "@quorate/protocol";
import { Member } from "../../../packages/server/src/member/member.ts";
import { Seats } from "../../../packages/server/src/member/seats.ts";
export { Member };
export type { PeerAnswer, PeerCall } from "../../../packages/server/src/member/peer-calls.ts";
export { NOT_REACHED } from "../../../packages/server/src/member/peer-calls.ts";
export {
  createReplayWindow,
  type ReplayWindow,
} from "../../../packages/server/src/http/peer-envelope.ts";
export { JournalFailedError } from "../../../packages/server/src/journal/journal.ts";

/** Seats that a member takes for unused at this moment. Only an oracle may look into a member like this. */
export function unusedAt(member: Member, feature: string): number {
  const inside: unknown = Reflect.get(member, "seats");
  if (!(inside instanceof Seats)) throw new Error("a member has no seats any more");
  return inside.unused(feature);
}
