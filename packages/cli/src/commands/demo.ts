/**
 * `quorate demo`: a whole pool on this machine in a few seconds, with people at work, to be broken by whoever
 * watches. Nothing is simulated but the people: the servers are processes of this same executable.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { styleText } from "node:util";
import { readPublicKey } from "@quorate/server/keys";
import type { Command } from "commander";
import { type DemoFolder, makeDemoFolder } from "../demo/demo-folder.ts";
import { answers, DemoServers } from "../demo/demo-servers.ts";
import { DemoUsers } from "../demo/demo-users.ts";
import {
  clientsWords,
  Happenings,
  logLine,
  placesWords,
  serveCommandOf,
  thingsToTry,
  tryLines,
} from "../demo/demo-words.ts";
import { EXIT } from "../exit-codes.ts";
import { LiveScreen, screenStyle } from "../live-screen.ts";
import { whole } from "../option-values.ts";
import { lookAtPool, type PoolPicture } from "../pool-picture.ts";
import { statusLines } from "../status-screen.ts";

const PORT_BASE_DEFAULT = 7_350;
const PORT_MAX = 65_535;
/** Half a default lease: whoever kills a server does not want to wait. */
const LEASE_MS_DEFAULT = 2_000;
const LEASE_MS_MAX = 600_000;
const FIRST_LEADER_MS_MAX = 5_000;
const FIRST_LOOK_MS = 100;
const DRAW_MS = 1_000;
const LOG_MS = 2_000;
/** A terminal's Ctrl-C reaches this process and, through npm, a second time: within this it is one. */
const SAME_SIGNAL_MS = 1_000;
const PROJECT = fileURLToPath(new URL("../../../..", import.meta.url)).replace(/\/$/, "");

interface DemoFlags {
  readonly keep?: boolean;
  readonly portBase: number;
  readonly data?: string;
  readonly leaseMs: number;
}

export function demoCommand(program: Command): void {
  program
    .command("demo")
    .description("run a pool of three servers with people at work on this machine, to try it")
    .option("--keep", "leave the folder when the demo ends")
    .option(
      "--port-base <n>",
      "the first port to try; 0 lets the system choose",
      whole(0, PORT_MAX),
      PORT_BASE_DEFAULT,
    )
    .option(
      "--data <dir>",
      "folder for keys, licenses and servers; it is kept (default: a new one)",
    )
    .option(
      "--lease-ms <n>",
      "how long a silent server may be taken for alive",
      whole(1, LEASE_MS_MAX),
      LEASE_MS_DEFAULT,
    )
    .addHelpText("after", "\nCtrl-C ends everything.\n\nExample:\n  quorate demo --port-base 9000")
    .action(demo);
}

async function demo(flags: DemoFlags): Promise<void> {
  const path =
    flags.data === undefined ? mkdtempSync(join(tmpdir(), "quorate-demo-")) : resolve(flags.data);
  const kept = flags.keep === true || flags.data !== undefined;
  const live = process.stdout.isTTY ? new LiveScreen() : null;
  const happenings = new Happenings((line) => {
    if (live === null) console.log(line);
  });
  const users = new DemoUsers((move) => happenings.moved(move));
  let servers: DemoServers | null = null;
  let folder: DemoFolder | null = null;
  let ending = false;
  const end = once(async (code: number) => {
    ending = true;
    live?.end();
    console.log("\nstopping …");
    await users.stop();
    await servers?.stop();
    await leaveFolder(path, folder, kept);
    process.exit(code);
  });
  let firstSignalMs: number | null = null;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      firstSignalMs ??= performance.now();
      if (performance.now() - firstSignalMs > SAME_SIGNAL_MS) servers?.kill();
      void end(EXIT.ok);
    });
  }
  try {
    console.log("starting three license servers …");
    folder = await makeDemoFolder(path, flags.portBase, flags.leaseMs);
    const { servers: places, vendorKeyFile } = folder;
    const ended = (id: string, how: string): void => {
      if (ending) return;
      const working = users.workingAt(id);
      happenings.add(`server ${id} ended (${how}); ${working} clients have their seats from it`);
      const server = places.find((each) => each.id === id);
      if (live === null && server !== undefined) {
        console.log(`  start it again: ${serveCommandOf(server)}`);
      }
    };
    servers = new DemoServers(folder, ended);
    await servers.ready();
    users.start(
      places.map(({ url }) => url),
      readPublicKey(vendorKeyFile),
    );
    await follow(folder, servers, users, happenings, live, () => ending);
  } catch (error) {
    live?.end();
    await users.stop();
    await servers?.stop();
    // The logs are what tells why, so the folder stays.
    throw error;
  }
}

/** Draws or logs until the demo ends; whoever ends it also ends the process. */
async function follow(
  folder: DemoFolder,
  servers: DemoServers,
  users: DemoUsers,
  happenings: Happenings,
  live: LiveScreen | null,
  isEnding: () => boolean,
): Promise<void> {
  const urls = folder.servers.map(({ url }) => url);
  let before = await firstPicture(urls);
  const places = placesWords(folder, PROJECT);
  const commands = tryLines(thingsToTry(folder, leaderOf(before, servers)));
  console.log(["", ...places, "", "TRY IN ANOTHER TERMINAL", ...commands, ""].join("\n"));
  writeFileSync(join(folder.path, "commands.txt"), [...places, "", ...commands, ""].join("\n"));
  for (;;) {
    const picture = await lookAtPool(urls);
    if (isEnding()) return;
    tellReturns(before, picture, happenings);
    if (picture.answered) before = picture;
    if (live === null) {
      console.log(`${new Date().toTimeString().slice(0, 8)} ${logLine(picture, users.counts)}`);
      await delay(LOG_MS);
    } else {
      live.draw(demoScreen(picture, folder, servers, users, happenings));
      await delay(DRAW_MS);
    }
  }
}

/** With a leader, if one comes soon: its process id belongs to what there is to try. */
async function firstPicture(urls: readonly string[]): Promise<PoolPicture> {
  const untilMs = performance.now() + FIRST_LEADER_MS_MAX;
  for (;;) {
    const picture = await lookAtPool(urls);
    if (picture.leader !== null || performance.now() > untilMs) return picture;
    await delay(FIRST_LOOK_MS);
  }
}

function demoScreen(
  picture: PoolPicture,
  folder: DemoFolder,
  servers: DemoServers,
  users: DemoUsers,
  happenings: Happenings,
): readonly string[] {
  const style = screenStyle();
  const { counts } = users;
  const bold = (text: string): string =>
    style.colour ? styleText("bold", text, { validateStream: false }) : text;
  const dead = folder.servers.filter(({ id }) =>
    picture.servers.some((server) => server.id === id && DEAD_STATES.includes(server.state)),
  );
  return [
    ...statusLines(picture, style),
    "",
    bold(clientsWords(counts)),
    ...happenings.lines,
    "",
    ...dead.flatMap((server) => [
      `Start server ${server.id} again:`,
      `  ${serveCommandOf(server)}`,
    ]),
    `Try in another terminal (all: ${join(folder.path, "commands.txt")}); Ctrl-C ends the demo`,
    ...tryLines(
      thingsToTry(folder, leaderOf(picture, servers)).filter(
        ({ title }) => !title.startsWith("Start server"),
      ),
    ),
  ];
}

const DEAD_STATES: readonly string[] = ["silent", "down", "stopped"];

function leaderOf(
  picture: PoolPicture,
  servers: DemoServers,
): { readonly id: string; readonly pid: number } | null {
  const id = picture.leader?.id;
  const pid = id === undefined ? null : servers.pidOf(id);
  return id === undefined || pid === null ? null : { id, pid };
}

function tellReturns(before: PoolPicture, now: PoolPicture, happenings: Happenings): void {
  if (!now.answered || !before.answered) return;
  for (const { id, state } of now.servers) {
    const was = before.servers.find((server) => server.id === id)?.state;
    if (state === "up" && was !== undefined && was !== "up") {
      happenings.add(`server ${id ?? "?"} is up again`);
    }
  }
  const { leader, term } = now;
  if (leader !== null && term > before.term) {
    happenings.add(`${leader.id} leads from term ${term} on`);
  }
}

/** A server that somebody started again by hand is not ours to end, and needs the folder. */
async function leaveFolder(path: string, folder: DemoFolder | null, kept: boolean): Promise<void> {
  const places = folder?.servers ?? [];
  const alive = await Promise.all(places.map(({ url }) => answers(url)));
  const others = places.filter((_place, index) => alive[index] === true).map(({ id }) => id);
  if (others.length > 0) {
    console.log(`server ${others.join(" and ")} was started by hand and runs on; ${path} stays`);
  } else if (kept) {
    console.log(`the folder ${path} stays`);
  } else {
    rmSync(path, { recursive: true, force: true });
  }
}

function once(action: (code: number) => Promise<void>): (code: number) => Promise<void> {
  let begun: Promise<void> | null = null;
  return (code) => (begun ??= action(code));
}
