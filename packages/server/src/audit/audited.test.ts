import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { refuse } from "@quorate/core";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  ADMIN_HEADERS,
  ask,
  fakeMember,
  SESSION,
  SESSION_HEADERS,
  serverOf,
} from "../http/fake-member.ts";
import type { HttpServer } from "../http/http-server.ts";
import type { AuditAnswer, AuditEntry } from "@quorate/protocol";
import { checkAudit } from "./audit-check.ts";
import { type AuditLog, openAuditLog } from "./audit-log.ts";

const BEARER = { Authorization: ADMIN_HEADERS.Authorization };

let folder = "";
let audit: AuditLog;
let server: HttpServer;
const member = fakeMember({
  remove: async () => refuse("bad-request", "b is alive"),
  rebuild: async () => {
    throw new Error("a bug");
  },
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "quorate-audited-"));
  audit = await openAuditLog(folder);
  server = await serverOf(member, { audit });
});
afterEach(async () => {
  await server.close();
  await audit.close();
  rmSync(folder, { recursive: true, force: true });
});

async function entries(): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  const { problem } = await checkAudit(folder, null, (entry) => found.push(entry));
  expect(problem).toBeNull();
  return found;
}

it("an administrator reads the log, the newest first, page by page, and nobody else does", async () => {
  for (const member of ["b", "c"]) {
    await ask(`${server.url}/v1/pool/lead`, "POST", ADMIN_HEADERS, { member });
  }
  const page = async (query: string) => {
    const { status, body } = await ask(`${server.url}/v1/audit${query}`, "GET", BEARER);
    return status === 200 ? (body as AuditAnswer) : status;
  };
  const first = await page("?limit=3");
  expect(first).toMatchObject({
    member: "a",
    entries: [
      { number: 4, what: "pool-lead", details: { member: "c" }, outcome: "done" },
      { number: 3, outcome: "begun" },
      { number: 2, details: { member: "b" } },
    ],
    next: 2,
  });
  expect(await page("?limit=3&before=2")).toMatchObject({ entries: [{ number: 1 }], next: null });
  expect(await page("?before=1")).toMatchObject({ entries: [], next: null });
  for (const query of ["?limit=0", "?limit=1001", "?before=0", "?before=x", "?after=1"]) {
    expect([query, await page(query)]).toEqual([query, 400]);
  }
  expect((await ask(`${server.url}/v1/audit`, "GET")).status).toBe(401);
  const made = await ask(`${server.url}/v1/tokens`, "POST", ADMIN_HEADERS, {
    name: "board",
    role: "viewer",
  });
  const { token } = made.body as { token: string };
  const viewer = { Authorization: `Bearer ${token}` };
  expect((await ask(`${server.url}/v1/audit`, "GET", viewer)).status).toBe(403);
});

it("every change has a line before and one after: who, what, from where and how it ended", async () => {
  await ask(`${server.url}/v1/pool/lead`, "POST", ADMIN_HEADERS, { member: "b" });
  await ask(`${server.url}/v1/pool/remove`, "POST", ADMIN_HEADERS, { member: "b" });
  await ask(`${server.url}/v1/pool/rebuild`, "POST", BEARER);
  await ask(`${server.url}/v1/license`, "PUT", ADMIN_HEADERS, { quorate: 1, sequence: 9 });
  await ask(`${server.url}/v1/authorizations/${SESSION}?reason=left`, "DELETE", BEARER);
  const made = await ask(`${server.url}/v1/tokens`, "POST", ADMIN_HEADERS, {
    name: "ana",
    role: "administrator",
  });
  const { token } = made.body as { token: string };
  const anas = { Authorization: `Bearer ${token}` };
  await ask(`${server.url}/v1/tokens/nobody`, "DELETE", anas);

  const found = await entries();
  expect(found.map(({ what, outcome }) => `${what} ${outcome}`)).toEqual([
    "pool-lead begun",
    "pool-lead done",
    "pool-remove begun",
    "pool-remove bad-request",
    "pool-rebuild begun",
    "pool-rebuild failed",
    "license-install begun",
    "license-install done",
    "session-revoke begun",
    "session-revoke done",
    "token-create begun",
    "token-create done",
    "token-revoke begun",
    "token-revoke not-found",
  ]);
  expect(found[0]).toMatchObject({
    who: "admin-token-file",
    role: "administrator",
    from: "127.0.0.1",
    details: { member: "b" },
  });
  expect(found.find(({ what }) => what === "session-revoke")?.details).toEqual({
    session: SESSION,
    reason: "left",
  });
  expect(found.at(-1)?.who).toBe("ana");
  expect(readFileSync(join(folder, "audit.log"), "utf8")).not.toContain(token);
});

it("what is refused at the door, and what sessions do, leaves no line", async () => {
  await ask(`${server.url}/v1/pool/rebuild`, "POST", { Authorization: "Bearer wrong" });
  await ask(`${server.url}/v1/authorizations/${SESSION}`, "DELETE", SESSION_HEADERS);
  expect(readFileSync(join(folder, "audit.log"), "utf8")).toBe("");
});

it("nothing is changed when the line cannot be written", async () => {
  await audit.close();
  const before = member.asked.length;
  const answer = await ask(`${server.url}/v1/pool/lead`, "POST", ADMIN_HEADERS, { member: "b" });
  expect(answer).toMatchObject({ status: 500, body: { code: "internal-error" } });
  expect(answer.text).toMatch(/audit log/);
  expect(member.asked).toHaveLength(before);
  audit = await openAuditLog(folder);
});
