import { describe, expect, test } from "vitest";
import type { License } from "@quorate/core";
import { formatPublicKey, signedBytes } from "@quorate/protocol";
import { feature } from "./test-values.ts";
import { changesBetween, lookAtOffered, signatureVerdict } from "./license-check.ts";

const NOW_MS = Date.parse("2026-11-24T12:00:00Z");

const IN_FORCE: License = {
  quorate: 1,
  id: "L1",
  vendor: "Vendor",
  customer: "Customer",
  sequence: 4,
  issued: "2026-01-01T00:00:00Z",
  pool: { name: "engineering", size: 3 },
  features: [
    { name: "cad", version: "2026.1", seats: 30, expires: "2027-01-01T00:00:00Z" },
    { name: "sim", version: "2026.1", seats: 8 },
  ],
  signature: { key: "ed25519:x", value: "y" },
};

describe("what changes", () => {
  test("names each feature, with what is better and what is worse", () => {
    const after: License = {
      ...IN_FORCE,
      sequence: 5,
      features: [
        { name: "cad", version: "2027.1", seats: 40, expires: "2028-01-01T00:00:00Z" },
        { name: "solver", version: "1", seats: 2 },
      ],
    };
    const lines = changesBetween(IN_FORCE, after).map(
      ({ feature, field, before, after, tone }) =>
        `${feature} ${field}: ${before} > ${after} ${tone}`,
    );
    expect(lines).toEqual([
      "null sequence: 4 > 5 plain",
      "cad version: 2026.1 > 2027.1 plain",
      "cad seats: 30 > 40 good",
      "cad expires: Jan 1, 2027 > Jan 1, 2028 good",
      "solver version: — > 1 plain",
      "solver seats: — > 2 good",
      "sim feature: 8 seats > not licensed any more bad",
    ]);
  });

  test("an end where there was none, and fewer seats, are worse", () => {
    const after: License = {
      ...IN_FORCE,
      features: [
        { name: "cad", version: "2026.1", seats: 29, expires: "2027-01-01T00:00:00Z" },
        { name: "sim", version: "2026.1", seats: 8, expires: "2027-06-01T00:00:00Z" },
      ],
    };
    expect(changesBetween(IN_FORCE, after).map((each) => each.tone)).toEqual(["bad", "bad"]);
  });

  test("the same license changes nothing", () => {
    expect(changesBetween(IN_FORCE, IN_FORCE)).toEqual([]);
  });
});

describe("an offered file", () => {
  test("that is no license says why", async () => {
    expect(await lookAtOffered("{", null, [], NOW_MS)).toMatchObject({
      invalid: expect.stringContaining("JSON"),
    });
    expect(await lookAtOffered("{}", null, [], NOW_MS)).toMatchObject({
      invalid: expect.any(String),
    });
  });

  test("that is signed, newer and for this pool has nothing against it", async () => {
    const vendor = await newVendor();
    const inForce = JSON.parse(await vendor.sign({})) as License;
    const offered = await lookAtOffered(await vendor.sign({ sequence: 5 }), inForce, [], NOW_MS);
    expect(offered).toMatchObject({ mistakes: [], warnings: [] });
  });

  test("by another vendor, for another pool, older or the same is told so", async () => {
    const vendor = await newVendor();
    const inForce = JSON.parse(await vendor.sign({})) as License;
    const mistakesOf = async (text: string): Promise<string> => {
      const offered = await lookAtOffered(text, inForce, [], NOW_MS);
      return "mistakes" in offered ? offered.mistakes.join(" ") : offered.invalid;
    };
    const stranger = await newVendor();
    expect(await mistakesOf(await stranger.sign({ sequence: 5 }))).toContain("another vendor");
    const elsewhere = { name: "other", size: 3 };
    expect(await mistakesOf(await vendor.sign({ sequence: 5, pool: elsewhere }))).toContain(
      "“other”",
    );
    expect(await mistakesOf(await vendor.sign({ sequence: 3 }))).toContain("It is older: number 3");
    expect(await mistakesOf(await vendor.sign({}))).toContain("It has the number 4");
  });

  test("with less than is held now, or that has ended already, says so before", async () => {
    const vendor = await newVendor();
    const inForce = JSON.parse(await vendor.sign({})) as License;
    const features = [
      { name: "cad", version: "2026.1", seats: 5, overdraft: 1, expires: "2026-11-01T00:00:00Z" },
    ];
    const text = await vendor.sign({ sequence: 5, features });
    const use = [feature({ name: "cad", inUse: 7 }), feature({ name: "sim", inUse: 1 })];
    const offered = await lookAtOffered(text, inForce, use, NOW_MS);
    expect("warnings" in offered && offered.warnings).toEqual([
      expect.stringMatching(/^cad: 7 seats in use now, and only 6 then\. Nobody is/),
      expect.stringMatching(/^sim is not licensed any more: 1 seat in use now/),
      "cad has ended already, on Nov 1, 2026.",
    ]);
    const fits = await lookAtOffered(text, inForce, [feature({ name: "cad", inUse: 6 })], 0);
    expect(fits).toMatchObject({ warnings: [] });
  });

  test("cannot be checked where the browser offers no cryptography", async () => {
    const vendor = await newVendor();
    // Node has no such flag, like a page that came over plain HTTP.
    expect(await signatureVerdict(await vendor.sign({}))).toBe("unchecked");
    expect(await signatureVerdict("{}")).toBe("invalid");
  });
});

async function newVendor() {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  if (!("publicKey" in pair)) throw new Error("a pair of keys");
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const key = formatPublicKey(raw);
  return {
    sign: async (change: Partial<License>): Promise<string> => {
      const { signature: _none, ...content } = { ...IN_FORCE, ...change };
      const bytes = signedBytes(content);
      if (bytes === null) throw new Error("it has a canonical form");
      const signed = await crypto.subtle.sign("Ed25519", pair.privateKey, bytes);
      const value = Buffer.from(signed).toString("base64url");
      return JSON.stringify({ ...content, signature: { key, value } });
    },
  };
}
