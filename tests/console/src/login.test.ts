/** Who may read and change with a browser, on a pool that shows nothing to who is not logged in. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Page } from "playwright-core";
import { waitFor } from "../../e2e/src/wait.ts";
import { fakeMember, serverOf } from "../../../packages/server/src/http/fake-member.ts";
import {
  CLIENT_ID,
  CLIENT_SECRET,
  startIssuer,
} from "../../../packages/server/src/http/test-issuer.ts";
import { accessibilityMistakes } from "./accessibility.ts";
import { Browser, picture } from "./browser.ts";
import { buildConsole, CONSOLE_FOLDER } from "./build.ts";
import { ADMIN_TOKEN, ConsolePool, MEMBERS } from "./console-pool.ts";

let pool: ConsolePool;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  buildConsole();
  [pool, browser] = await Promise.all([ConsolePool.start(["--readers=token"]), Browser.launch()]);
  page = await browser.page();
}, 60_000);

afterAll(async () => {
  await browser?.close();
  await pool?.close();
});

async function logInWith(token: string): Promise<void> {
  await page.getByLabel("Token").fill(token);
  await page.keyboard.press("Enter");
}

test("a viewer logs in, reads everything, changes nothing, goes on with another server, and logs out", async () => {
  const token = await pool.token("vera", "viewer");
  await page.goto(`${pool.url("a")}/#/pool`);
  await page.getByText("This pool is shown to nobody who is not logged in.").waitFor();
  expect(await accessibilityMistakes(page)).toEqual([]);
  await picture(page, "login");
  await logInWith("qrt_000000000000_wrong");
  await page.getByText(/no token of this pool, nor the administrator's/).waitFor();
  await logInWith(token);
  await page.getByText("All well: 3 of 3 servers up").waitFor();
  await page.getByText("vera viewer").waitFor();
  await page.getByText(/^live from a$/).waitFor();
  // Who hears the page hears where the form went.
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Pool");
  await pool.take("cad", "anna", "design-01");

  // After a reload it is still known, and no script can find out why.
  await page.goto(`${pool.url("a")}/#/sessions`);
  await page.reload();
  await page.getByText(/^1 of 1 sessions/).waitFor();
  const kept = await page.evaluate(
    () => localStorage.length + sessionStorage.length + document.cookie.length,
  );
  expect(kept).toBe(0);
  await page.getByRole("button", { name: "Revoke cad of anna on design-01" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel(/^Reason/).fill("to see whether it may");
  await dialog.getByLabel("Token").fill(token);
  await page.keyboard.press("Enter");
  await dialog.getByText("This takes an administrator's token. (forbidden)").waitFor();
  await page.keyboard.press("Escape");

  // It logged in everywhere while the token was at hand.
  await pool.kill("a");
  await page.getByRole("link", { name: "Pool", exact: true }).click();
  await page.getByText("2 of 3 servers up", { exact: true }).waitFor();
  await page.getByText(/^live from [bc]$/).waitFor();
  await page.getByText("vera viewer").waitFor();
  await pool.up("a");
  await page.getByText("All well: 3 of 3 servers up").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Log in", level: 2 }).waitFor();
}, 60_000);

test("where a login is known to one server alone, the next one asks and names itself", async () => {
  await page.goto(`${pool.url("b")}/#/features`);
  await logInWith(ADMIN_TOKEN);
  await page.getByText("admin-token-file administrator").waitFor();
  await page.locator("[data-feature=cad]").waitFor();
  await pool.kill("b");
  await page.getByText(/^b does not answer any more\. Another one does/).waitFor();
  const link = page.getByRole("link", { name: /its own console at / });
  const others = MEMBERS.filter((id) => id !== "b").map((id) => `${pool.url(id)}/#/features`);
  expect(others).toContain(await link.getAttribute("href"));
  expect(await accessibilityMistakes(page)).toEqual([]);
  await picture(page, "login-elsewhere");
  await logInWith(ADMIN_TOKEN);
  await page.locator("[data-feature=cad]").waitFor();
  // What the browser itself says about refusals and a server that is gone can't be kept from it.
  await waitFor("nothing else is complained about", () =>
    browser.complaints.every((each) => /ERR_|status of 40[13]/.test(each)),
  );
}, 60_000);

test("somebody of the organisation logs in at its issuer, and who has no role is told so", async () => {
  let url = "";
  await using stack = new AsyncDisposableStack();
  const issuer = await startIssuer(() => [`${url}/v1/login/oidc/callback`]);
  stack.defer(() => issuer.close());
  const member = fakeMember();
  const known = member.pool();
  const pool = () => ({ ...known, members: known.members.map((each) => ({ ...each, url })) });
  const server = await serverOf(fakeMember({ pool }), {
    readers: "token",
    consoleFolder: CONSOLE_FOLDER,
    oidc: {
      issuer: issuer.url,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      scope: "openid profile",
      roleClaim: "groups",
      roles: [{ role: "administrator", value: "license-admins" }],
      audience: null,
    },
  });
  stack.defer(() => server.close());
  url = server.url;
  issuer.person = { id: "u1", claims: { preferred_username: "olga", groups: ["cooks"] } };
  await page.goto(`${url}/#/pool`);
  const way = page.getByRole("link", { name: "Log in with your organisation" });
  await way.click();
  await page
    .getByText(/You are not logged in. Your organisation knows you, but gives you no role/)
    .waitFor();
  expect(new URL(page.url()).search).toBe("");
  expect(await accessibilityMistakes(page)).toEqual([]);
  await picture(page, "login-oidc");
  await page.getByRole("button", { name: "Close" }).click();
  issuer.person = { id: "u2", claims: { preferred_username: "ana", groups: ["license-admins"] } };
  // Who sits there is another one: the issuer has to forget the one before.
  await page.context().clearCookies();
  await way.click();
  await page.getByText("ana administrator").waitFor();
  await page.getByText("All well: 3 of 3 servers up").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await way.waitFor();
}, 60_000);
