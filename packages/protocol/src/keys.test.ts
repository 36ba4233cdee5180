import * as fc from "fast-check";
import { expect, test } from "vitest";
import { base64urlOf, bytesOfBase64url } from "./keys.ts";

const CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=\n é";

test("base64url: bytes come back as they were", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      const text = base64urlOf(bytes);
      expect(text).toBe(Buffer.from(bytes).toString("base64url"));
      expect(bytesOfBase64url(text)).toEqual(bytes);
    }),
  );
});

test("base64url: of all texts only the canonical one of some bytes is read", () => {
  const characters = fc.constantFrom(...CHARACTERS.split(""));
  fc.assert(
    fc.property(fc.string({ unit: characters, maxLength: 9 }), (text) => {
      const bytes = Buffer.from(text, "base64url");
      const canonical = bytes.toString("base64url") === text;
      expect(bytesOfBase64url(text) !== null).toBe(canonical);
    }),
    { numRuns: 2_000 },
  );
});
