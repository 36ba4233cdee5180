import type { FeatureRow } from "@quorate/protocol";
import { describe, expect, it } from "vitest";
import type { PoolPicture, ServerPicture } from "./pool-picture.ts";
import { holderLines, statusLines } from "./status-screen.ts";

const PLAIN = { columns: 80, colour: false };

const server = (id: string, more: Partial<ServerPicture> = {}): ServerPicture => ({
  id,
  url: `http://10.0.0.${id.charCodeAt(0)}:7350`,
  state: "up",
  why: null,
  leads: id === "a",
  epoch: 1,
  sessions: 4,
  licenseSequence: 7,
  ...more,
});

const feature = (more: Partial<FeatureRow> = {}): FeatureRow => ({
  name: "cad",
  version: "2026.1",
  seats: 30,
  overdraft: 0,
  inUse: 12,
  free: 18,
  queued: 0,
  denied: 0,
  debt: 0,
  retired: 0,
  starts: null,
  expires: null,
  lifeMs: 60_000,
  members: { a: { seats: 15, inUse: 6 }, b: { seats: 15, inUse: 6 } },
  ...more,
});

const picture = (more: Partial<PoolPicture> = {}): PoolPicture => ({
  pool: "main",
  size: 3,
  leader: { id: "a", url: "http://10.0.0.97:7350" },
  term: 4,
  majority: { needed: 2, alive: 3, reached: true },
  servers: [server("a"), server("b"), server("c")],
  features: [feature()],
  missing: [],
  alarms: [],
  answered: true,
  ...more,
});

const text = (shown: PoolPicture, columns = 80): string =>
  statusLines(shown, { ...PLAIN, columns }).join("\n");

describe("the status screen", () => {
  it("shows retired seats, debt and overdraft only where there are any", () => {
    expect(text(picture())).not.toMatch(/RETIRED|DEBT|OVERDRAFT/);
    const shown = text(picture({ features: [feature({ retired: 5 }), feature({ name: "sim" })] }));
    expect(shown).toMatch(/DENIED {2}RETIRED {2}EXPIRES/);
    expect(shown).toMatch(/^cad .* 5 {2}never$/m);
    expect(shown).toMatch(/^sim .* 0 {2}never$/m);
  });

  it("puts the split beside the features where the terminal is wide enough", () => {
    expect(text(picture(), 64)).toMatch(/never\n {2}by server: a 6\/15, b 6\/15/);
    expect(text(picture(), 120)).toMatch(/never +a 6\/15, b 6\/15$/m);
  });

  it("says in plain words what the majority means", () => {
    const alone = picture({
      majority: { needed: 2, alive: 1, reached: false },
      servers: [
        server("a", { state: "silent", why: "refused", sessions: null }),
        server("b", { state: "waiting", why: "sees no majority" }),
        server("c", { state: "down", sessions: null }),
      ],
      missing: ["a", "c"],
    });
    expect(text(alone)).toMatch(/1 of 3 servers alive, 2 needed: NO seats are granted/);
    expect(text(alone)).toMatch(/without a majority no other can take over/);
    expect(text(alone)).toMatch(/What a, c has in use is not in these numbers/);
    expect(text(picture({ leader: null, servers: [server("b")] }))).toMatch(/No leader/);
    expect(text(picture({ pool: null }))).toMatch(/no license yet: nothing is granted/);
  });

  it("keeps long alarms and splits within the width", () => {
    const members = Object.fromEntries(
      Array.from({ length: 15 }, (_each, index) => [`node-${index}`, { seats: 2, inUse: 1 }]),
    );
    const alarms = [`the store ${"went backwards ".repeat(10)}`];
    const lines = statusLines(picture({ features: [feature({ members })], alarms }), PLAIN);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
    expect(lines.filter((line) => line.startsWith("ALARM"))).toHaveLength(1);
    expect(lines.join(" ")).toContain("node-14 1/2");
  });

  it("paints what is down, and nothing without colours", () => {
    const down = picture({ servers: [server("b", { state: "down" })] });
    expect(statusLines(down, { columns: 80, colour: true }).join("")).toContain("\u001b[31m");
    expect(text(down)).not.toContain("\u001b");
  });

  it("does not pass on control characters", () => {
    const alarms = ["\u001b[2Jgone"];
    expect(text(picture({ alarms }))).toContain("ALARM ?[2Jgone");
  });
});

describe("the list of holders", () => {
  it("says when nobody holds a seat, what is missing and how to go on", () => {
    expect(holderLines([], ["c"], "mark")).toEqual([
      "Nobody holds a seat.",
      "Not in this list: what c granted.",
      "There are more; go on with --after mark",
    ]);
  });
});
