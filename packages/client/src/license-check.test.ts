import { generateKeyPairSync, sign } from "node:crypto";
import {
  assembleToken,
  certificateBytes,
  formatPublicKey,
  signedBytes,
  tokenHeader,
  tokenSigningInput,
} from "@quorate/protocol";
import { expect, test, vi } from "vitest";
import { type Call, FakeWorld } from "./fake-world.ts";

const vendor = keyPair();
const pool = keyPair();
const member = keyPair();
const stranger = keyPair();

test("a grant that is followed to the vendor's key is believed, and can be verified again", async () => {
  const world = worldOf({ a: pool });
  const client = clientOf(world, vendor.text);
  const authorization = await outcome(world, client.checkout({ feature: "cad" }));
  expect(authorization.member).toBe("a");
  expect(await authorization.verify()).toMatchObject({ valid: true, chain: "vendor" });
});

test("a server whose certificate the pool key did not sign is passed over", async () => {
  const world = worldOf({ a: stranger, b: pool });
  const client = clientOf(world, vendor.text);
  const authorization = await outcome(world, client.checkout({ feature: "cad" }));
  expect(authorization.member).toBe("b");
});

test("with such servers alone the checkout is refused, and says why", async () => {
  const world = worldOf({ a: stranger });
  const checkout = clientOf(world, vendor.text).checkout({ feature: "cad" });
  await expect(outcome(world, checkout)).rejects.toMatchObject({
    code: "license-invalid",
    detail: expect.stringContaining("pool key"),
  });
});

test("a license of another vendor is not believed", async () => {
  const world = worldOf({ a: pool });
  const checkout = clientOf(world, stranger.text).checkout({ feature: "cad" });
  await expect(outcome(world, checkout)).rejects.toMatchObject({ code: "license-invalid" });
});

test("a token for another session is not believed", async () => {
  const world = worldOf({ a: pool }, "another-session");
  const checkout = clientOf(world, vendor.text).checkout({ feature: "cad" });
  await expect(outcome(world, checkout)).rejects.toMatchObject({ code: "license-invalid" });
});

interface Keys {
  readonly key: ReturnType<typeof generateKeyPairSync>["privateKey"];
  readonly text: string;
}

/** Servers that sign their tokens; the value is who certified them. */
function worldOf(certifiers: Readonly<Record<string, Keys>>, session?: string): FakeWorld {
  const world = new FakeWorld(Object.keys(certifiers));
  for (const server of world.servers) {
    const certifier = certifiers[server.id] ?? stranger;
    server.script = (call: Call) => ({
      ...world.granted(call, server, true),
      token: tokenOf(server.id, session ?? call.request.session, certifier),
    });
  }
  return world;
}

function clientOf(world: FakeWorld, vendorKey: string) {
  const license: unknown = JSON.parse(licenseText());
  const wire = { ...world.wire, license: async () => ({ sequence: 7, license }) };
  return world.client({ vendorKey, wire, patienceMs: 60 });
}

/** Signatures take real time, so virtual time passes slowly until the promise is settled. */
async function outcome<T>(world: FakeWorld, promise: Promise<T>): Promise<T> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  await vi.waitUntil(
    async () => {
      await world.pass(5);
      return settled;
    },
    { timeout: 20_000, interval: 20 },
  );
  return promise;
}

function tokenOf(id: string, session: string, certifier: Keys): string {
  const issued = "2026-01-01T00:00:00Z";
  const content = { quorate: 1 as const, pool: "main", member: id, key: member.text, issued };
  const value = sign(null, certificateBytes(content), certifier.key).toString("base64url");
  const certificate = { ...content, signature: { key: pool.text, value } };
  const claims = {
    pool: "main",
    member: id,
    epoch: 1,
    session,
    feature: "cad",
    version: null,
    seats: 1,
    lifeMs: 60_000,
    issuedAtMs: 1_800_000_000_000,
    licenseSequence: 7,
  };
  const input = tokenSigningInput(claims, tokenHeader(member.text, certificate));
  const signature = sign(null, Buffer.from(input), member.key).toString("base64url");
  return assembleToken(input, signature);
}

function licenseText(): string {
  const document = {
    quorate: 1,
    id: "L-1",
    vendor: "Acme",
    customer: "Customer",
    sequence: 7,
    issued: "2026-01-01T00:00:00Z",
    pool: { name: "main", size: 3, key: pool.text },
    features: [{ name: "cad", version: "2026.1", seats: 10 }],
  };
  const bytes = signedBytes(document) ?? new Uint8Array();
  const value = sign(null, bytes, vendor.key).toString("base64url");
  return JSON.stringify({ ...document, signature: { key: vendor.text, value } });
}

function keyPair(): Keys {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  return { key: privateKey, text: formatPublicKey(Buffer.from(x, "base64url")) };
}
