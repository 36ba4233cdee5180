import { randomBytes } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { generatePrivateKey, publicKeyOf, sign, verify } from "./node-keys.ts";
import { createVerifier } from "./verifier.ts";

const key = generatePrivateKey();
const publicKey = publicKeyOf(key);

test("says of every changed bit what node:crypto says", async () => {
  const isSigned = createVerifier();
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 2_000 }),
      fc.nat(),
      fc.constantFrom("nothing", "message", "signature"),
      async (content, place, changed) => {
        const message = Buffer.from(content);
        const signature = Buffer.from(sign(key, message), "base64url");
        const bytes = changed === "message" ? message : signature;
        const bit = place % (8 * bytes.length);
        if (changed !== "nothing") bytes[bit >> 3]! ^= 1 << (bit & 7);
        const text = signature.toString("base64url");
        expect(await isSigned(publicKey, message, text)).toBe(changed === "nothing");
        expect(verify(publicKey, message, text)).toBe(changed === "nothing");
      },
    ),
  );
});

test.each([
  ["no key", "ed25519:nonsense", sign(key, Buffer.from("text"))],
  ["another key", publicKeyOf(generatePrivateKey()), sign(key, Buffer.from("text"))],
  ["a signature that is too short", publicKey, "AAAA"],
  ["no signature", publicKey, ""],
])("refuses %s", async (_what, ofKey, signature) => {
  expect(await createVerifier()(ofKey, Buffer.from("text"), signature)).toBe(false);
});

test("answers many at once, and lets others have a turn between them", async () => {
  const isSigned = createVerifier();
  const messages = Array.from({ length: 2_000 }, () => randomBytes(32));
  const answered: number[] = [];
  const work = messages.map(async (message, index) => {
    const signature = sign(index % 7 === 0 ? generatePrivateKey() : key, message);
    expect(await isSigned(publicKey, message, signature)).toBe(index % 7 !== 0);
    answered.push(index);
  });
  let turns = 0;
  while (answered.length < messages.length) {
    await turn();
    turns += 1;
  }
  await Promise.all(work);
  expect(turns).toBeGreaterThan(2);
  expect(new Set(answered).size).toBe(messages.length);
});
