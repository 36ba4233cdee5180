import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { generatePrivateKey, publicKeyOf, sign, verify } from "./node-keys.ts";
import { signerOf } from "./signer.ts";

test("signs what node:crypto signs, byte for byte", () => {
  const key = generatePrivateKey();
  const signer = signerOf(key);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => {
      expect(signer(Buffer.from(bytes))).toBe(sign(key, bytes));
    }),
  );
});

test("keeps the signatures of several keys apart", () => {
  const keys = [generatePrivateKey(), generatePrivateKey()];
  const signers = keys.map(signerOf);
  const bytes = randomBytes(64);
  const [first, second] = signers.map((signer) => signer(bytes));
  expect(first).not.toBe(second);
  keys.forEach((key, index) => {
    expect(verify(publicKeyOf(key), bytes, [first, second][index] ?? "")).toBe(true);
  });
});
