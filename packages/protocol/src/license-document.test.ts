import { createPrivateKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import * as fc from "fast-check";
import { LICENSE_BYTES_MAX } from "@quorate/core";
import { describe, expect, it } from "vitest";
import { formatPublicKey } from "./keys.ts";
import {
  parseLicense,
  parseUnsignedLicense,
  signedBytes,
  verifyLicense,
} from "./license-document.ts";

const vendor = keyPair();
const other = keyPair();

describe("a signed license", () => {
  it("is valid under the vendor's key, with the pool's size filled in", async () => {
    const verified = await verifyLicense(signedText(document()), vendor.text);
    expect(verified).toMatchObject({ license: { sequence: 7, pool: { size: 1 } }, warnings: [] });
  });

  it("stays valid in any formatting and order of names", async () => {
    const text = signedText(document());
    const { canonical } = valid(text);
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.nat()), fc.nat(8), async (stream, indent) => {
        const value: unknown = JSON.parse(text);
        const again = JSON.stringify(shuffled(value, stream), null, indent).replaceAll(
          "\n",
          "\r\n",
        );
        const verified = await verifyLicense(`\uFEFF${again}\n`, vendor.text);
        expect(verified).toMatchObject({ canonical });
      }),
      { numRuns: 100 },
    );
  });

  it("breaks when anything in it is changed", async () => {
    const text = signedText(document());
    const places = leavesOf(JSON.parse(text));
    expect(places.length).toBeGreaterThan(15);
    for (const path of places) {
      const changed = changedAt(JSON.parse(text), path);
      const verified = await verifyLicense(JSON.stringify(changed), vendor.text);
      expect(verified, path.join(".")).toHaveProperty("invalid");
    }
  });

  it("breaks when any one byte of its canonical text is another letter", async () => {
    const { canonical } = valid(signedText(document()));
    await fc.assert(
      fc.asyncProperty(fc.nat(canonical.length - 1), fc.nat(94), async (at, letter) => {
        const changed = String.fromCharCode(32 + letter);
        fc.pre(canonical[at] !== changed);
        const text = canonical.slice(0, at) + changed + canonical.slice(at + 1);
        expect(await verifyLicense(text, vendor.text)).toHaveProperty("invalid");
      }),
      { numRuns: 400 },
    );
  });

  it("is refused wherever the file was cut off", async () => {
    const text = signedText(document()).trim();
    for (let length = 0; length < text.length; length += 7) {
      expect(parseLicense(text.slice(0, length))).toHaveProperty("invalid");
    }
  });

  it("is refused under another vendor's key, and when it is signed by one", async () => {
    const text = signedText(document());
    expect(await verifyLicense(text, other.text)).toMatchObject({
      invalid: expect.stringContaining("not by the vendor's key"),
    });
    const forged = { ...JSON.parse(signedText(document(), other.key)) };
    forged.signature.key = vendor.text;
    expect(await verifyLicense(JSON.stringify(forged), vendor.text)).toMatchObject({
      invalid: expect.stringContaining("does not fit the content"),
    });
  });

  it("keeps names that this version does not know, verifies over them and tells of them", async () => {
    const text = signedText({ ...document(), region: "EU" });
    const verified = await verifyLicense(text, vendor.text);
    expect(verified).toMatchObject({
      license: { region: "EU" },
      warnings: ["region is unknown to this version and has no effect"],
    });
    expect(await verifyLicense(text.replace("EU", "US"), vendor.text)).toHaveProperty("invalid");
  });

  it("with __proto__ as a name neither escapes the signature nor changes an object", async () => {
    const text = signedText(document()).replace("{", '{"__proto__":{"sequence":99},');
    expect(await verifyLicense(text, vendor.text)).toHaveProperty("invalid");
    const signed = signedText(JSON.parse(text));
    expect(await verifyLicense(signed, vendor.text)).toMatchObject({ license: { sequence: 7 } });
  });
});

describe("text that is no license", () => {
  it("never throws, whatever it is", () => {
    fc.assert(fc.property(fc.string(), (text) => void parseLicense(text)));
    fc.assert(fc.property(fc.json(), (text) => "invalid" in parseLicense(text)));
    const places = leavesOf(document());
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.jsonValue(), (path, value) => {
        void parseLicense(signedText(objectOf(withAt(document(), path, value))));
      }),
    );
    const nasty = withAt(document(), ["features", 0, "spread"], { a: { valueOf: 1, toString: 2 } });
    expect(parseLicense(JSON.stringify(nasty))).toHaveProperty("invalid");
  });

  it("may nest deeply, repeat names, or be huge: it is refused in words", () => {
    expect(invalid("[".repeat(200_000))).toContain("nested deeper");
    expect(invalid('{"a":'.repeat(80_000) + "1" + "}".repeat(80_000))).toContain("nested deeper");
    expect(invalid("x".repeat(LICENSE_BYTES_MAX + 1))).toContain("larger than");
    expect(invalid(JSON.stringify("ü".repeat(LICENSE_BYTES_MAX / 2)))).toContain("larger than");
    const text = signedText(document());
    expect(invalid(text.replace("{", '{"sequence":8,'))).toContain('the name "sequence" twice');
    expect(invalid(text.replace("{", '{"\\u0073equence":8,'))).toContain("twice");
    expect(invalid(text.replace("{", '{"x":"\\ud800",'))).toContain("canonical form");
    expect(invalid(text.replace("{", '{"x":1e999,'))).toContain("canonical form");
  });

  it.each<[string, (string | number)[], unknown, string]>([
    ["no version of the format", ["quorate"], 2, "quorate must be 1"],
    ["a sequence of zero", ["sequence"], 0, "sequence must be a whole number from 1"],
    ["a sequence beyond exact numbers", ["sequence"], 2 ** 53, "sequence must be"],
    ["a pool name with a slash", ["pool", "name"], "a/b", "pool.name must be a name"],
    ["a name of 129 characters", ["pool", "name"], "a".repeat(129), "at most 128"],
    ["16 members", ["pool", "size"], 16, "pool.size must be a whole number from 1 to 15"],
    ["a pool key of another kind", ["pool", "key"], "rsa:x", "pool.key must be a public key"],
    ["negative seats", ["features", 0, "seats"], -1, "features[0].seats must be a whole number"],
    ["half a seat", ["features", 0, "seats"], 1.5, "not 1.5"],
    ["a feature twice", ["features", 1, "name"], "cad", 'features[1].name "cad" is there twice'],
    ["a date without zone", ["features", 0, "expires"], "2026-12-31T00:00:00", "(RFC 3339)"],
    ["a day that does not exist", ["features", 0, "expires"], "2026-02-30T00:00:00Z", "RFC 3339"],
    ["an end before the start", ["features", 0, "expires"], "2020-01-01T00:00:00Z", "later than"],
    ["a life under a second", ["features", 0, "lifeMs"], 999, "lifeMs must be"],
    ["a negative overdraft", ["features", 0, "overdraft"], -1, "overdraft must be"],
    ["a spread of too many seats", ["features", 0, "spread"], { a: 9, b: 2 }, "adds up to 11"],
    ["no features", ["features"], [], "features must be a list of 1 to 500"],
    ["a line break in a name", ["customer"], "a\nb", "customer must be a text"],
  ])("with %s names the field and what is wrong", (_title, path, value, sentence) => {
    const wrong = withAt(document(), path, value);
    expect(invalid(signedText(objectOf(wrong)))).toContain(sentence);
  });
});

describe("a document that waits for its signature", () => {
  it("gets a size and an instant of issue, and loses an old signature", () => {
    const { issued: _issued, ...rest } = document();
    const parsed = parseUnsignedLicense(
      JSON.stringify({ ...rest, signature: "old" }),
      "2026-11-01T00:00:00Z",
    );
    expect(parsed).toMatchObject({
      document: { issued: "2026-11-01T00:00:00Z", pool: { name: "main", size: 1 } },
      warnings: [],
    });
    expect(parsed).not.toHaveProperty("document.signature");
  });
});

function document(): Record<string, unknown> {
  return {
    quorate: 1,
    id: "L-1",
    vendor: "Acme",
    customer: "Müller & Söhne",
    sequence: 7,
    issued: "2026-01-01T00:00:00Z",
    pool: { name: "main", key: other.text },
    features: [
      {
        name: "cad",
        version: "2026.1",
        seats: 10,
        starts: "2026-01-01T00:00:00Z",
        expires: "2027-01-01T00:00:00+01:00",
        lifeMs: 60_000,
        overdraft: 2,
        borrow: { seats: 3, maxMs: 86_400_000 },
        spread: { a: 4, b: 6 },
      },
      { name: "render", version: "1", seats: 1 },
    ],
  };
}

function keyPair(): { key: KeyObject; text: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  return { key: privateKey, text: formatPublicKey(Buffer.from(x, "base64url")) };
}

function signedText(content: object, key: KeyObject = vendor.key): string {
  const bytes = signedBytes(content) ?? new Uint8Array();
  const value = sign(null, bytes, createPrivateKey(key.export({ type: "pkcs8", format: "pem" })));
  const signature = { key: vendor.text, value: value.toString("base64url") };
  return JSON.stringify({ ...content, signature }, null, 2);
}

function valid(text: string): { canonical: string } {
  const parsed = parseLicense(text);
  if ("invalid" in parsed) throw new Error(parsed.invalid);
  return parsed;
}

function invalid(text: string): string {
  const parsed = parseLicense(text);
  return "invalid" in parsed ? parsed.invalid : "it is valid";
}

type Path = (string | number)[];

function leavesOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return keys.flatMap((key) => leavesOf(Reflect.get(value, key), [...path, key]));
}

function changedAt(value: unknown, path: Path): unknown {
  let leaf = value;
  for (const key of path) leaf = Reflect.get(objectOf(leaf), key);
  return withAt(value, path, typeof leaf === "number" ? leaf + 1 : `${String(leaf)}x`);
}

function withAt(value: unknown, path: Path, leaf: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return leaf;
  const copy = Array.isArray(value) ? [...value] : { ...objectOf(value) };
  Reflect.set(copy, key, withAt(Reflect.get(copy, key), rest, leaf));
  return copy;
}

function objectOf(value: unknown): object {
  if (typeof value === "object" && value !== null) return value;
  throw new TypeError("the path leads into something that is no object");
}

function shuffled(value: unknown, stream: fc.Stream<number>): unknown {
  if (Array.isArray(value)) return value.map((item) => shuffled(item, stream));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, item]) => ({ key, item, rank: stream.next().value ?? 0 }))
      .sort((left, right) => left.rank - right.rank)
      .map(({ key, item }) => [key, shuffled(item, stream)]),
  );
}
