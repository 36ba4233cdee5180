/** What is asked about the past: use over time, denials, licenses, what a server did lately. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { refuse } from "@quorate/core";
import type { MemberEvent } from "@quorate/protocol";
import { ADMIN_HEADERS, ask, type FakeMember, fakeMember, serverOf } from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";

let member: FakeMember;
let server: HttpServer;

beforeEach(async () => {
  member = fakeMember();
  server = await serverOf(member);
});

afterEach(async () => {
  await server.close();
});

test("use over time, denials and licenses are asked for and answered", async () => {
  const series = await ask(
    `${server.url}/v1/usage/series?from=2026-11-24T06:00:00Z&stepMs=3600000&feature=cad`,
    "GET",
  );
  const denials = await ask(`${server.url}/v1/denials?user=Ana%20M%C3%BCller&limit=5`, "GET");
  const history = await ask(`${server.url}/v1/license/history`, "GET");
  expect([series.status, denials.status, history.status]).toEqual([200, 200, 200]);
  expect(series.body).toMatchObject({ feature: "cad", steps: [{ peakSeats: 2 }, { denied: 1 }] });
  expect(denials.body).toMatchObject({ denials: [{ code: "no-seats", holder: { user: "ana" } }] });
  expect(history.body).toEqual(member.licenseHistory());
  expect(member.asked).toEqual([
    {
      call: "usageSeries",
      with: { from: "2026-11-24T06:00:00Z", stepMs: 3_600_000, feature: "cad" },
    },
    { call: "denials", with: { user: "Ana Müller", limit: 5 } },
  ]);
});

test("what is not well-formed is refused before the member hears of it", async () => {
  for (const path of [
    "/v1/usage/series?stepMs=999",
    "/v1/usage/series?stepMs=x",
    "/v1/usage/series?by=user",
    "/v1/denials?limit=1001",
    "/v1/denials?user=%07",
    "/v1/license/history?x=1",
    "/v1/events/recent?x=1",
    "/v1/authorizations?sort=colour",
    "/v1/authorizations?order=up",
    "/v1/authorizations?search=%00",
  ]) {
    expect((await ask(server.url + path, "GET")).status, path).toBe(400);
  }
  expect(member.asked).toEqual([]);
});

test("a list of authorizations is searched and ordered", async () => {
  const query = "search=ana+desk&sort=grantedAt&order=descending&limit=2&after=abc.ZGVm";
  const page = await ask(`${server.url}/v1/authorizations?${query}`, "GET");
  expect(page.body).toMatchObject({ found: 1, total: 3, next: null });
  expect(member.asked).toEqual([
    {
      call: "authorizations",
      with: {
        search: "ana desk",
        sort: "grantedAt",
        order: "descending",
        limit: 2,
        after: "abc.ZGVm",
      },
    },
  ]);
});

test("what a server did lately is told, whatever went on a thousand times a second", async () => {
  const event = (type: string, second: number): MemberEvent => ({
    type,
    at: `2026-11-24T08:00:${String(second % 60).padStart(2, "0")}.000Z`,
    data: { second },
  });
  member.tell(event("leader-changed", 0));
  for (let number = 0; number < 2_000; number += 1) member.tell(event("granted", number));
  for (let number = 0; number < 50; number += 1) member.tell(event("denied", number));
  const { body } = await ask(`${server.url}/v1/events/recent`, "GET");
  const { events, member: id } = body as { events: MemberEvent[]; member: string };
  expect(id).toBe("a");
  expect(events.map((each) => each.type)).toEqual([
    "leader-changed",
    ...Array.from({ length: 20 }, () => "denied"),
  ]);
  expect(events.at(-1)?.data).toEqual({ second: 49 });
});

test("what is refused is told as a problem, and readers may need a token", async () => {
  await server.close();
  const busy = refuse("busy", "too many reports are asked for here at once; try again");
  member = fakeMember({ usageSeries: async () => busy, denials: async () => busy });
  server = await serverOf(member, { readers: "token" });
  for (const path of ["/v1/usage/series", "/v1/denials"]) {
    expect((await ask(server.url + path, "GET")).status).toBe(401);
    const answer = await ask(server.url + path, "GET", ADMIN_HEADERS);
    expect(answer).toMatchObject({ status: 503, body: { code: "busy" } });
  }
  for (const path of ["/v1/license/history", "/v1/events/recent"]) {
    expect((await ask(server.url + path, "GET")).status).toBe(401);
    expect((await ask(server.url + path, "GET", ADMIN_HEADERS)).status).toBe(200);
  }
});
