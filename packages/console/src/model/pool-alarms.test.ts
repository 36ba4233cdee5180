import { expect, test } from "vitest";
import { withAlarmsOfAll } from "./pool-alarms.ts";
import { member, pool } from "./test-values.ts";

const THREE = [member({ id: "a" }), member({ id: "b" }), member({ id: "c", alive: false })];

test("each alarm names its server, and one that is down has none any more", () => {
  const own = pool({ self: "a", members: THREE, alarms: ["the disk is slow"] });
  const others = [
    pool({ self: "b", alarms: ["no TLS", "no certificate"] }),
    pool({ self: "c", alarms: ["it was said before it died"] }),
    // Asked before the page went on with another server.
    pool({ self: "a", alarms: ["an older look"] }),
  ];
  expect(withAlarmsOfAll(own, others).alarms).toEqual([
    "a: the disk is slow",
    "b: no TLS",
    "b: no certificate",
  ]);
});

test("a server that is alone needs no name", () => {
  const own = pool({ self: "a", members: [member({ id: "a" })], alarms: ["no TLS"] });
  expect(withAlarmsOfAll(own, []).alarms).toEqual(["no TLS"]);
});
