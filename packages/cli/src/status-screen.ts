/**
 * The picture of a pool as lines of text: one screen that whoever knows lmstat understands. Pure, so that the
 * demo, `status` and its tests draw the same.
 */
import { styleText } from "node:util";
import type { AuthorizationRow, FeatureRow } from "@quorate/protocol";
import type { PoolPicture, ServerPicture } from "./pool-picture.ts";
import { tableLines } from "./print.ts";

export interface ScreenStyle {
  readonly columns: number;
  readonly colour: boolean;
}

/** Enough to recognise a session and to name it to `quorate release`. */
const SESSION_CHARACTERS_SHOWN = 12;
/** Narrower than this nothing fits anyway. */
const COLUMNS_MIN = 40;

export function statusLines(picture: PoolPicture, style: ScreenStyle): readonly string[] {
  const width = Math.max(COLUMNS_MIN, style.columns);
  if (!picture.answered) {
    return [
      paint("red", "No license server answered.", style),
      "",
      ...serverLines(picture.servers, style),
    ];
  }
  return [
    ...headLines(picture, style),
    "",
    ...serverLines(picture.servers, style),
    "",
    ...featureLines(picture.features, width),
    ...(picture.missing.length === 0
      ? []
      : wrapped(`What ${picture.missing.join(", ")} has in use is not in these numbers.`, width)),
    ...alarmLines(picture.alarms, width, style),
  ];
}

/** Who holds what. `more` is the mark of the next page. */
export function holderLines(
  rows: readonly AuthorizationRow[],
  missing: readonly string[],
  more: string | null,
): readonly string[] {
  const table = tableLines(
    ["USER", "HOST", "PROCESS", "FEATURE", "SEATS", "SERVER", "SINCE", "SESSION"],
    rows.map((row) => [
      safe(row.holder.user),
      safe(row.holder.host),
      safe(row.holder.process ?? "–"),
      row.feature,
      row.seats,
      row.member + (row.state === "revoked" ? " (revoked)" : ""),
      shortInstant(row.grantedAt),
      row.session.slice(0, SESSION_CHARACTERS_SHOWN),
    ]),
  );
  return [
    ...(rows.length === 0 ? ["Nobody holds a seat."] : table),
    ...(missing.length === 0 ? [] : [`Not in this list: what ${missing.join(", ")} granted.`]),
    ...(more === null ? [] : [`There are more; go on with --after ${more}`]),
  ];
}

function headLines(picture: PoolPicture, style: ScreenStyle): readonly string[] {
  const { pool, size, majority, leader, term, servers } = picture;
  if (pool === null) {
    return [paint("yellow", "The pool has no license yet: nothing is granted.", style)];
  }
  const { alive, needed } = majority;
  const count = `${alive} of ${size} ${size === 1 ? "server" : "servers"} alive, ${needed} needed`;
  const verdict = majority.reached
    ? paint(alive < size ? "yellow" : "green", `${count}: seats are granted.`, style)
    : paint("red", `${count}: NO seats are granted.`, style);
  const leading = servers.find(({ leads }) => leads);
  const gone = leading?.state === "silent" || leading?.state === "down";
  const next = majority.reached
    ? "another takes over within seconds"
    : "without a majority no other can take over";
  return [
    `Pool ${pool}: ${verdict}`,
    leader === null || leading?.state === "stopped"
      ? `No leader at the moment (last term ${term}): seats are not moved between servers.`
      : gone
        ? `Leader ${leader.id} does not answer (term ${term}): ${next}.`
        : `Leader ${leader.id}, term ${term}.`,
  ];
}

function serverLines(servers: readonly ServerPicture[], style: ScreenStyle): readonly string[] {
  const [head = "", ...lines] = tableLines(
    ["", "SERVER", "URL", "EPOCH", "SESSIONS", "LICENSE", "STATE"],
    servers.map((server) => [
      server.leads ? "*" : " ",
      server.id ?? "?",
      safe(server.url),
      server.epoch,
      server.sessions,
      server.licenseSequence,
      stateWords(server),
    ]),
  );
  const colours = servers.map(({ state }) =>
    state === "up" || state === "seen" ? null : state === "waiting" ? "yellow" : "red",
  );
  return [
    head,
    ...lines.map((line, row) => {
      const colour = colours[row] ?? null;
      return colour === null ? line : paint(colour, line, style);
    }),
  ];
}

function stateWords({ state, why }: ServerPicture): string {
  switch (state) {
    case "up":
    case "seen":
      return "up";
    case "waiting":
      return why ?? "waiting";
    case "silent":
      return `DOWN (${why ?? "no answer"})`;
    case "stopped":
      return why === null ? "stopped" : `stopped (${why})`;
    case "down":
      return "DOWN";
  }
}

function featureLines(features: readonly FeatureRow[], width: number): readonly string[] {
  if (features.length === 0) return ["The license has no features, or nobody told them."];
  const rare = (
    [
      ["OVERDRAFT", "overdraft"],
      ["RETIRED", "retired"],
      ["DEBT", "debt"],
    ] as const
  ).filter(([, name]) => features.some((row) => row[name] > 0));
  const heads = [
    "FEATURE",
    "VERSION",
    "SEATS",
    "IN USE",
    "FREE",
    "QUEUED",
    "DENIED",
    ...rare.map(([head]) => head),
    "EXPIRES",
  ];
  const [head = "", ...lines] = tableLines(
    heads,
    features.map((row) => [
      row.name,
      row.version,
      row.seats,
      row.inUse,
      row.free,
      row.queued,
      row.denied,
      ...rare.map(([, name]) => row[name]),
      expiry(row.expires),
    ]),
  );
  const splits = features.map(splitWords);
  // The split stands beside its feature only where that fits for all of them.
  const left = Math.max(head.length, ...lines.map((line) => line.length)) + 2;
  if (left + Math.max("IN USE/SEATS".length, ...splits.map((split) => split.length)) <= width) {
    return [
      `${head.padEnd(left)}BY SERVER`,
      ...lines.map((line, row) => line.padEnd(left) + (splits[row] ?? "")),
    ];
  }
  return [
    head,
    ...lines.flatMap((line, row) => [line, ...wrapped(`  by server: ${splits[row] ?? ""}`, width)]),
  ];
}

/** In use of seats, for each server that has any. */
function splitWords(row: FeatureRow): string {
  const parts = Object.entries(row.members).map(
    ([id, { seats, inUse }]) => `${id} ${inUse}/${seats}`,
  );
  return parts.length === 0 ? "–" : parts.join(", ");
}

function alarmLines(
  alarms: readonly string[],
  width: number,
  style: ScreenStyle,
): readonly string[] {
  if (alarms.length === 0) return [];
  return [
    "",
    ...alarms.flatMap((alarm) =>
      wrapped(`ALARM ${safe(alarm)}`, width).map((line) => paint("red", line, style)),
    ),
  ];
}

/** Lines of at most `width`, broken between words, the later ones indented. */
function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/(?<=\S) +/)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (longer.length <= width || line === "") {
      line = longer;
    } else {
      lines.push(line);
      line = `    ${word}`;
    }
  }
  return [...lines, line];
}

/** A day is what a license says; the hour matters only to programs. */
function expiry(expires: string | null): string {
  return expires === null ? "never" : expires.slice(0, "2026-01-01".length);
}

function shortInstant(instant: string): string {
  const at = new Date(instant);
  if (Number.isNaN(at.getTime())) return safe(instant);
  const two = (number: number): string => String(number).padStart(2, "0");
  const day = `${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** A server that is none of ours must not write control sequences to a person's terminal. */
function safe(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, "?");
}

function paint(colour: "red" | "green" | "yellow", text: string, style: ScreenStyle): string {
  return style.colour ? styleText(colour, text, { validateStream: false }) : text;
}
