import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Metric } from "prom-client";
import { afterEach, describe, expect, test } from "vitest";
import type { MemberEvent } from "@quorate/protocol";
import { createLatencies, measuredJournal, measuredStore } from "../measured-ports.ts";
import { MemoryJournal } from "../journal/memory-journal.ts";
import { MemoryStore } from "../store/memory-store.ts";
import { createWebhooks } from "../webhooks/webhooks.ts";
import { ask, fakeMember, keptLog, serverOf } from "./fake-member.ts";
import type { FakeMember } from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";

const DEPLOY = new URL("../../../../deploy/", import.meta.url);
const ALERTS = new URL("prometheus/quorate-alerts.yml", DEPLOY).pathname;
const ALERT_TESTS = new URL("prometheus/quorate-alerts.test.yml", DEPLOY).pathname;
const DASHBOARD = new URL("grafana/quorate.json", DEPLOY).pathname;

let member: FakeMember;
let server: HttpServer;
const latencies = createLatencies();
const webhooks = createWebhooks({
  urls: [],
  key: Buffer.from("k"),
  member: "a",
  pool: () => "acme",
  log: keptLog(),
});

async function serve(overrides: Parameters<typeof fakeMember>[0] = {}): Promise<void> {
  member = fakeMember(overrides);
  const metrics = [latencies.journal, latencies.store, ...webhooks.metrics];
  server = await serverOf(member, { metrics, lagMs: () => 20 });
}

async function metrics(): Promise<string> {
  return (await ask(`${server.url}/metrics`, "GET")).text;
}

function event(type: string, data: MemberEvent["data"]): MemberEvent {
  return { type, at: "2026-11-24T08:00:00Z", data };
}

async function sumAndCount(histogram: Metric): Promise<(number | undefined)[]> {
  const { name, values } = await histogram.get();
  const valueOf = (end: string): number | undefined =>
    values.find((each) => "metricName" in each && each.metricName === `${name}_${end}`)?.value;
  return [valueOf("sum"), valueOf("count")];
}

afterEach(async () => {
  await server?.close();
});

describe("the metrics", () => {
  test("say what the pool and this server have now", async () => {
    await serve();
    const text = await metrics();
    for (const line of [
      'quorate_seats{feature="cad"} 11',
      'quorate_seats_used{feature="cad"} 3',
      'quorate_seats_free{feature="cad"} 8',
      'quorate_member_seats{feature="cad",member="a"} 5',
      'quorate_license_expiry_timestamp_seconds{feature="cad"} 1798761600',
      'quorate_member_alive{member="a"} 1',
      "quorate_mandate 1",
      "quorate_leader 1",
      "quorate_term 4",
      "quorate_sessions 3",
      "quorate_store_suspended 0",
      "quorate_event_loop_delay_seconds 0.02",
    ]) {
      expect(text.split("\n")).toContain(line);
    }
  });

  test("count what happens, with labels that strangers cannot multiply", async () => {
    await serve();
    for (let times = 0; times < 2; times += 1) {
      member.tell(event("denied", { feature: "cad", code: "no-seats" }));
      member.tell(event("denied", { feature: `typed ${times}`, code: "unknown-feature" }));
    }
    member.tell(event("converted", { feature: "cad", from: "b", to: "a" }));
    member.tell(event("member-retired", { member: "b", epoch: 3 }));
    const lines = (await metrics()).split("\n");
    expect(lines).toContain('quorate_requests_denied_total{feature="cad",code="no-seats"} 2');
    expect(lines).toContain('quorate_requests_denied_total{feature="",code="unknown-feature"} 2');
    expect(lines).toContain('quorate_conversions_total{feature="cad"} 1');
    expect(lines).toContain('quorate_retirements_total{member="b"} 1');
  });

  test("count each new leadership as a failover, but not the one that was there", async () => {
    const { pool } = fakeMember();
    let term = 7;
    await serve({ pool: () => ({ ...pool(), term }) });
    expect(await metrics()).toContain("quorate_failovers_total 0\n");
    term = 9;
    expect(await metrics()).toContain("quorate_failovers_total 2\n");
    expect(await metrics()).toContain("quorate_failovers_total 2\n");
  });

  test("show denials of every licensed feature from the start, so that the first one is an increase", async () => {
    await serve();
    expect(await metrics()).toContain(
      'quorate_requests_denied_total{feature="cad",code="no-seats"} 0\n',
    );
  });

  test("measure the journal and the store without changing what they answer", async () => {
    let nowMs = 0;
    const clock = (): number => nowMs;
    const own = createLatencies();
    const inner = new MemoryJournal({ mode: "manual" });
    const journal = measuredJournal(inner, own, clock);
    const appended = journal.append([{ kind: "fact", name: "mark", value: "m" }]);
    nowMs = 30;
    inner.completeSync();
    await appended;
    expect(await sumAndCount(own.journal)).toEqual([0.03, 1]);
    inner.fail();
    await expect(journal.append([{ kind: "fact", name: "mark", value: "m" }])).rejects.toThrow();

    const store = measuredStore(new MemoryStore(), own, clock);
    const ended = store.transact({ compare: [], puts: [], reads: [] }, 500);
    nowMs = 32;
    expect(await ended).toMatchObject({ outcome: "applied" });
    expect(await sumAndCount(own.store)).toEqual([0.002, 1]);
    expect(await sumAndCount(own.journal)).toEqual([0.03, 1]);
  });
});

const whyNoPromtool = ((): string | null => {
  if (spawnSync("which", ["promtool"]).status === 0) return null;
  const reason = "promtool is not installed (on Debian: apt-get install prometheus)";
  if (process.env["CI"] !== undefined) throw new Error(reason);
  console.log(`skipped: ${reason}`);
  return reason;
})();

describe.skipIf(whyNoPromtool !== null)("promtool", () => {
  const promtool = (args: string[], input = ""): string => {
    const { status, stdout, stderr } = spawnSync("promtool", args, { input, encoding: "utf8" });
    return status === 0 ? "good" : `${stdout}${stderr}`;
  };

  test("finds nothing wrong with the metrics", async () => {
    await serve();
    member.tell(event("denied", { feature: "cad", code: "no-seats" }));
    latencies.journal.observe(0.01);
    expect(promtool(["check", "metrics"], await metrics())).toBe("good");
  });

  test("finds nothing wrong with the alerts, and they fire when they should", () => {
    expect(promtool(["check", "rules", ALERTS])).toBe("good");
    expect(promtool(["test", "rules", ALERT_TESTS])).toBe("good");
  }, 60_000);
});

test("alerts and dashboard ask for metrics that there are", async () => {
  await serve();
  const there = new Set(
    [...(await metrics()).matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name = "", type = ""]) =>
      type === "histogram" ? [`${name}_bucket`] : [name],
    ),
  );
  for (const file of [ALERTS, DASHBOARD]) {
    const asked = new Set(readFileSync(file, "utf8").match(/\bquorate_[a-z_]+/g));
    expect(asked.size).toBeGreaterThan(8);
    for (const name of asked) expect(there, file).toContain(name);
  }
});
