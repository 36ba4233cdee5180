import { randomBytes } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { generatePrivateKey, publicKeyOf, sign, verify } from "./node-keys.ts";
import { createVerifier, type Verifier } from "./verifier.ts";

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
        expect(await isSigned(publicKey, message.toString("latin1"), text)).toBe(
          changed === "nothing",
        );
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
  expect(await createVerifier()(ofKey, "text", signature)).toBe(false);
});

/** Every seventh is signed with another key. */
async function verifyCrowd(isSigned: Verifier): Promise<number> {
  const messages = Array.from({ length: 2_000 }, () => randomBytes(32));
  const answered: number[] = [];
  const work = messages.map(async (message, index) => {
    const signature = sign(index % 7 === 0 ? generatePrivateKey() : key, message);
    expect(await isSigned(publicKey, message.toString("latin1"), signature)).toBe(index % 7 !== 0);
    answered.push(index);
  });
  let turns = 0;
  while (answered.length < messages.length) {
    await turn();
    turns += 1;
  }
  await Promise.all(work);
  expect(new Set(answered).size).toBe(messages.length);
  return turns;
}

test("answers many at once, and lets others have a turn between them", async () => {
  const isSigned = createVerifier();
  expect(await verifyCrowd(isSigned)).toBeGreaterThan(2);
  // The thread is there already.
  expect(await verifyCrowd(isSigned)).toBeGreaterThan(2);
});

test.each([
  ["can't start", "data:text/javascript,throw new Error('not today')"],
  [
    "ends when it is asked",
    "data:text/javascript,import{parentPort}from'node:worker_threads';parentPort.on('message',()=>process.exit(0))",
  ],
])("answers all by itself when the thread %s", async (_what, url) => {
  const isSigned = createVerifier(new URL(url));
  expect(await verifyCrowd(isSigned)).toBeGreaterThan(2);
  expect(await verifyCrowd(isSigned)).toBeGreaterThan(2);
});
