/** What the demo says: where things are, what to try, and what happened. */
import type { PoolPicture } from "../pool-picture.ts";
import type { DemoFolder, DemoServer } from "./demo-folder.ts";
import type { Move, UserCounts } from "./demo-users.ts";

const HAPPENINGS_MAX = 6;

/** How to start a server again, as it can be pasted. */
export function serveCommandOf(server: DemoServer): string {
  return `npx quorate ${server.words.map(quoted).join(" ")}`;
}

export function placesWords(folder: DemoFolder, projectFolder: string): readonly string[] {
  const [first] = folder.servers;
  return [
    `servers:       ${folder.servers.map(({ id, url }) => `${id} ${url}`).join("  ")}`,
    `API:           ${first?.url ?? ""}/openapi.json (OpenAPI 3.1), ${first?.url ?? ""}/v1/pool`,
    `admin token:   ${folder.tokenFile}`,
    `keys, logs:    ${folder.path}`,
    `commands run:  in ${projectFolder}`,
  ];
}

export interface Try {
  readonly title: string;
  readonly command: string;
}

/** Real values only: each line can be pasted into another terminal. */
export function thingsToTry(
  folder: DemoFolder,
  leader: { readonly id: string; readonly pid: number } | null,
): readonly Try[] {
  const servers = folder.servers.map(({ url }) => url).join(",");
  const fallen = folder.servers.find(({ id }) => id === leader?.id) ?? folder.servers[0];
  return [
    {
      title: "See it all, and who holds what",
      command: `npx quorate status -a --servers ${servers}`,
    },
    ...(leader === null
      ? []
      : [{ title: `Kill the leader, ${leader.id}`, command: `kill -9 ${leader.pid}` }]),
    ...(fallen === undefined
      ? []
      : [{ title: `Start server ${fallen.id} again`, command: serveCommandOf(fallen) }]),
    {
      title: "Install a license with more seats (queues get shorter)",
      command: `npx quorate license install ${folder.biggerLicenseFile} --server ${servers} --admin-token-file ${folder.tokenFile}`,
    },
    {
      title: "Hold a seat while a program runs",
      command: `npx quorate run --servers ${servers} --feature cad -- sleep 30`,
    },
    {
      title: "Take a seat for one life",
      command: `npx quorate checkout cad --servers ${servers}`,
    },
  ];
}

export function tryLines(things: readonly Try[]): readonly string[] {
  return things.flatMap(({ title, command }) => [`${title}:`, `  ${command}`]);
}

export function clientsWords({ holding, waiting, lost }: UserCounts): string {
  const queue = waiting === 0 ? "" : `, ${waiting} waiting for a seat`;
  return `clients: ${holding} at work${queue}, ${lost} lost since start`;
}

/** One line for a log. */
export function logLine(picture: PoolPicture, counts: UserCounts): string {
  const up = picture.servers.filter(({ state }) => state === "up").length;
  const down = picture.servers
    .filter(({ state }) => state !== "up")
    .map(({ id, state }) => `, ${id ?? "?"} ${state === "waiting" ? "starting" : "down"}`);
  const features = picture.features.map((row) => {
    const queued = row.queued === 0 ? "" : ` (${row.queued} queued)`;
    return `${row.name} ${row.inUse}/${row.seats}${queued}`;
  });
  return [
    `leader ${picture.leader?.id ?? "none"}`,
    `${up} of ${picture.servers.length} servers up${down.join("")}`,
    features.join(" "),
    clientsWords(counts),
  ].join("; ");
}

/** The last things that happened, with the time. Moves away from one server in one go are one line. */
export class Happenings {
  readonly #lines: { at: string; words: string; from: string | null; moves: Move[] }[] = [];
  readonly #tell: (line: string) => void;

  /** `tell` hears of everything but moves at once; those are counted by whoever draws. */
  constructor(tell: (line: string) => void) {
    this.#tell = tell;
  }

  add(words: string): void {
    const at = clockTime();
    this.#keep({ at, words, from: null, moves: [] });
    this.#tell(`${at} ${words}`);
  }

  moved(move: Move): void {
    const last = this.#lines.at(-1);
    if (last !== undefined && last.from === move.from) last.moves.push(move);
    else this.#keep({ at: clockTime(), words: "", from: move.from, moves: [move] });
    this.#tell(
      `${clockTime()} ${move.user} (${move.feature}) moved from ${move.from} to ${move.to}`,
    );
  }

  get lines(): readonly string[] {
    return this.#lines.map(({ at, words, from, moves }) =>
      from === null ? `${at} ${words}` : `${at} ${movesWords(from, moves)}`,
    );
  }

  #keep(line: { at: string; words: string; from: string | null; moves: Move[] }): void {
    this.#lines.push(line);
    if (this.#lines.length > HAPPENINGS_MAX) this.#lines.shift();
  }
}

function movesWords(from: string, moves: readonly Move[]): string {
  const to = new Map<string, string[]>();
  for (const { user, to: member } of moves) to.set(member, [...(to.get(member) ?? []), user]);
  const parts = [...to].map(([member, users]) => `to ${member}: ${users.join(", ")}`);
  return `moved from ${from} ${parts.join("; ")}`;
}

function clockTime(): string {
  return new Date().toTimeString().slice(0, "12:00:00".length);
}

/** As a shell takes it; temporary folders may have names that need it. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_./:=@,+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
