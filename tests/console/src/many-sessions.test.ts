/**
 * 100,000 sessions in the browser: of a real pool, and from the real HTTP layer over a member that makes them up
 * and is the same in every run.
 */
import { hash, randomBytes } from "node:crypto";
import { AUTHORIZATIONS_PATH } from "@quorate/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Page } from "playwright-core";
import type {
  AuthorizationRow,
  AuthorizationsPage,
  PoolAnswer,
  UsageSeriesAnswer,
} from "@quorate/protocol";
import { fakeMember, serverOf } from "../../../packages/server/src/http/fake-member.ts";
import { RowsPage } from "../../../packages/server/src/member/rows-page.ts";
import { waitFor } from "../../e2e/src/wait.ts";
import { LightConnections } from "../../faults/src/light-connections.ts";
import { Browser, picture } from "./browser.ts";
import { buildConsole, CONSOLE_FOLDER } from "./build.ts";
import { ConsolePool, MEMBERS } from "./console-pool.ts";

const ROWS = 100_000;
/** More rows than a tall screen has, and far fewer than there are. */
const ROWS_IN_PAGE_MAX = 80;
/** A key stroke or a turn of the wheel is answered within this, on a machine that does other things, too. */
const ANSWER_MS_MAX = 400;
/** All sessions of the real pool are there until they were looked at. */
const REAL_LIFE_MS = 600_000;
const REAL_WAIT_MS = 60_000;
const CONNECTIONS = 32;
const BUSY_MS = 500;
const INSECURE = "other machines reach this server without TLS (--insecure)";

let server: Awaited<ReturnType<typeof serverOf>>;
let neighbour: typeof server;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  buildConsole();
  const rows = Array.from({ length: ROWS }, (_, index) => row(index));
  const member = fakeMember({
    authorizations: async (query): Promise<AuthorizationsPage> => {
      const found = new RowsPage(query);
      for (const each of rows) found.take(each);
      return { ...found.finish(), found: found.found, total: found.total, missing: [] };
    },
    pool: () => poolSeenBy("a", []),
    usageSeries: async ({ from = "", stepMs = 1 }) => monthOf(from, stepMs),
  });
  server = await serverOf(member, { consoleFolder: CONSOLE_FOLDER });
  neighbour = await serverOf(fakeMember({ pool: () => poolSeenBy("b", [INSECURE]) }));
  browser = await Browser.launch();
  page = await browser.page();
}, 60_000);

afterAll(async () => {
  await browser?.close();
  await server?.close();
  await neighbour?.close();
});

test("100,000 sessions are searched, ordered and scrolled through without lag", async () => {
  await page.goto(`${server.url}/#/sessions`);
  await page.getByText(/100,000 of 100,000 sessions/).waitFor();
  const table = page.getByRole("table", { name: "Sessions" });
  expect(await table.getAttribute("aria-rowcount")).toBe(String(ROWS + 1));
  expect(await page.locator("[data-session]").count()).toBeLessThan(ROWS_IN_PAGE_MAX);
  await watchLongTasks();

  const search = page.getByLabel("Search");
  await search.pressSequentially("user-77777");
  await page.getByText(/^1 of 100,000 sessions/).waitFor();
  await search.fill("");
  await page.getByText(/^100,000 of 100,000 sessions/).waitFor();
  await page.getByRole("button", { name: "User", exact: true }).click();
  await page.locator("[data-session]", { hasText: "user-00000" }).first().waitFor();
  expect(await longestTaskMs()).toBeLessThan(ANSWER_MS_MAX);
  await picture(page, "sessions-100000");

  // By the wheel, and by the keyboard: what comes next is read on the way.
  await table.hover();
  await page.mouse.wheel(0, 6_000);
  await page.locator("[data-session]", { hasText: "user-00200" }).waitFor();
  await table.focus();
  await waitFor("the reader comes far", async () => {
    await page.keyboard.press("End");
    return (await page.locator("[data-session]", { hasText: "user-01000" }).count()) > 0;
  });
  expect(await page.locator("[data-session]").count()).toBeLessThan(ROWS_IN_PAGE_MAX);
  // The other end is the other order.
  await page.getByRole("button", { name: "User", exact: true }).click();
  await page.locator("[data-session]", { hasText: "user-99999" }).first().waitFor();

  expect(await longestTaskMs()).toBeLessThan(ANSWER_MS_MAX);
  expect(browser.complaints).toEqual([]);
});

test("100,000 sessions of a real pool are there, found, ordered and scrolled through", async () => {
  const seats = { cad: ROWS, sim: 8, solver: 4 };
  const pool = await ConsolePool.start([], seats, REAL_LIFE_MS);
  try {
    await takeAll(pool);
    await page.goto(`${pool.url("b")}/#/sessions`);
    await page.getByText(/^100,000 of 100,000 sessions/).waitFor({ timeout: REAL_WAIT_MS });
    await watchLongTasks();
    await page.getByLabel("Search").fill("user-77777");
    await page.getByText(/^1 of 100,000 sessions/).waitFor();
    await page.getByLabel("Search").fill("");
    await page.getByRole("button", { name: "User", exact: true }).click();
    await page.locator("[data-session]", { hasText: "user-00000" }).first().waitFor();
    const table = page.getByRole("table", { name: "Sessions" });
    await table.hover();
    await page.mouse.wheel(0, 6_000);
    await page.locator("[data-session]", { hasText: "user-00200" }).waitFor();
    expect(await page.locator("[data-session]").count()).toBeLessThan(ROWS_IN_PAGE_MAX);
    expect(await longestTaskMs()).toBeLessThan(ANSWER_MS_MAX);
    await picture(page, "sessions-100000-real");
    expect(browser.complaints).toEqual([]);
  } finally {
    await pool.close();
  }
}, 150_000);

/** A third of the sessions at each server; all are held, none says anything more. */
async function takeAll(pool: ConsolePool): Promise<void> {
  const ways = MEMBERS.map(
    (id) => new LightConnections(pool.url(id), Array(CONNECTIONS).fill("127.0.0.1")),
  );
  const take = (index: number): Promise<void> => {
    const secret = randomBytes(32).toString("base64url");
    const user = `user-${String(index).padStart(5, "0")}`;
    const holder = { user, host: `host-${index % 997}`, process: String(index) };
    const session = hash("sha256", secret, "base64url");
    const body = JSON.stringify({ session, feature: "cad", n: 1, waitMs: 20_000, holder });
    return new Promise((resolve, reject) => {
      const ask = (): void =>
        ways[index % ways.length]?.send("POST", AUTHORIZATIONS_PATH, secret, body, (answer) => {
          if (answer?.status === 201) resolve();
          // On a busy machine a server asks everybody to come again.
          else if (answer?.status === 503) setTimeout(ask, BUSY_MS);
          else reject(new Error(answer?.body ?? "no answer"));
        });
      ask();
    });
  };
  await Promise.all(Array.from({ length: ROWS }, (_, index) => take(index)));
  for (const way of ways) way.close();
}

test("the console says that a server is reached without TLS, also if it is another one", async () => {
  await page.goto(`${server.url}/#/pool`);
  await page.getByRole("region", { name: "Alarms" }).getByText(`b: ${INSECURE}`).waitFor();
});

function poolSeenBy(self: string, alarms: readonly string[]): PoolAnswer {
  const pool = fakeMember().pool();
  const [member] = pool.members;
  if (member === undefined) throw new Error("it is a member");
  const members = [
    { ...member, id: "a", url: server?.url ?? "" },
    { ...member, id: "b", url: neighbour?.url ?? "" },
  ];
  return { ...pool, self, members, alarms };
}

test("a month of steps is drawn with its averages, the seats, and where requests were denied", async () => {
  await page.goto(`${server.url}/#/features`);
  await page.getByRole("radio", { name: "Month" }).check();
  await page.getByText(/^Peak 11 of 11 in the last 30 days$/).waitFor();
  await page.getByRole("img", { name: /^cad: 3 of 11 .*, \d+ requests denied$/ }).waitFor();
  await picture(page, "features-month");
});

/** Busy by day, quiet by night and at the weekend. */
function monthOf(from: string, stepMs: number): UsageSeriesAnswer {
  const fromMs = Date.parse(from);
  const toMs = Date.now();
  const steps = Array.from({ length: Math.ceil((toMs - fromMs) / stepMs) }, (_, index) => {
    const at = new Date(fromMs + index * stepMs);
    const isWeekend = at.getDay() % 6 === 0;
    const wanted = [1, 6, 10 + (at.getDate() % 4), 3][Math.floor(at.getHours() / 6)] ?? 0;
    const peakSeats = Math.min(11, isWeekend ? Math.ceil(wanted / 5) : wanted);
    const denied = isWeekend ? 0 : Math.max(0, wanted - 11);
    return { at: at.toISOString(), peakSeats, averageSeats: peakSeats * 0.6, denied };
  });
  const to = new Date(toMs).toISOString();
  return { from, to, stepMs, feature: "cad", steps, missing: [] };
}

async function watchLongTasks(): Promise<void> {
  await page.evaluate(() => {
    window.longTasksMs = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.longTasksMs.push(entry.duration);
    }).observe({ type: "longtask" });
  });
  await waitFor("the observer is there", () =>
    page.evaluate(() => Array.isArray(window.longTasksMs)),
  );
}

/** Since it was asked last. */
function longestTaskMs(): Promise<number> {
  return page.evaluate(() => Math.max(0, ...window.longTasksMs.splice(0)));
}

/** Sessions in order, users in another one. */
function row(index: number): AuthorizationRow {
  const user = (index * 7_919) % ROWS;
  return {
    session: `${String(index).padStart(9, "0")}${"x".repeat(34)}`,
    feature: ["cad", "sim", "solver"][index % 3] ?? "cad",
    version: "2026.1",
    seats: 1 + (index % 2),
    holder: {
      user: `user-${String(user).padStart(5, "0")}`,
      host: `host-${index % 997}`,
      process: `cad.exe ${index}`,
    },
    member: ["a", "b", "c"][index % 3] ?? "a",
    grantedAt: new Date(Date.UTC(2026, 10, 24) - index * 1_000).toISOString(),
    state: "active",
    converted: index % 50 === 0,
  };
}

declare global {
  interface Window {
    longTasksMs: number[];
  }
}
