/** The order in which a new session asks the servers (design section 4.6): first, random, most free seats. */
import type { Wire } from "./wire.ts";

export type Pick = "first" | "random" | "most-free";

const PICK_TIMEOUT_MS = 1_000;

export async function orderServers(
  pick: Pick,
  servers: readonly string[],
  feature: string,
  wire: Wire,
  random: () => number,
): Promise<readonly string[]> {
  if (servers.length < 2 || pick === "first") return servers;
  const shuffled = shuffle(servers, random);
  return pick === "random" ? shuffled : mostFreeFirst(shuffled, feature, wire);
}

/** Asks one server after another until one knows; if none does, the order stays. */
async function mostFreeFirst(
  servers: readonly string[],
  feature: string,
  wire: Wire,
): Promise<readonly string[]> {
  for (const server of servers) {
    const [pool, answer] = await Promise.all([
      wire.pool(server, PICK_TIMEOUT_MS),
      wire.features(server, PICK_TIMEOUT_MS),
    ]);
    const row = answer?.features.find(({ name }) => name === feature);
    if (pool === null || row === undefined) continue;
    const free = new Map(
      pool.members.map(({ id, url }) => {
        const entry = row.members[id];
        return [url.replace(/\/+$/, ""), entry === undefined ? 0 : entry.seats - entry.inUse];
      }),
    );
    const freeAt = (url: string): number => free.get(url.replace(/\/+$/, "")) ?? 0;
    return [...servers].sort((left, right) => freeAt(right) - freeAt(left));
  }
  return servers;
}

/** Fisher and Yates. */
function shuffle(servers: readonly string[], random: () => number): readonly string[] {
  const shuffled = [...servers];
  for (let index = shuffled.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    const moved = shuffled[index];
    const swapped = shuffled[other];
    if (moved === undefined || swapped === undefined) continue;
    shuffled[index] = swapped;
    shuffled[other] = moved;
  }
  return shuffled;
}
