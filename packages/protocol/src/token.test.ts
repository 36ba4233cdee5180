import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { certificateBytes, type MemberCertificate, parseCertificate } from "./certificate.ts";
import { formatPublicKey } from "./keys.ts";
import { signedBytes } from "./license-document.ts";
import { newSecret, sessionOf } from "./session-id.ts";
import {
  assembleToken,
  decodeToken,
  type OfflineQuestion,
  type TokenClaims,
  tokenHeader,
  tokenSigningInput,
  verifyTokenOffline,
} from "./token.ts";

const vendor = keyPair();
const pool = keyPair();
const member = keyPair();
const stranger = keyPair();
const ISSUED_MS = Date.parse("2026-06-01T12:00:00.250Z");

const CLAIMS: TokenClaims = {
  pool: "main",
  member: "a",
  epoch: 3,
  session: "s".repeat(43),
  feature: "cad",
  version: "2026.1",
  seats: 2,
  lifeMs: 60_000,
  issuedAtMs: ISSUED_MS,
  licenseSequence: 7,
};

describe("a token", () => {
  it("says what was put in", () => {
    expect(decodeToken(token())).toEqual(CLAIMS);
    const odd = { ...CLAIMS, version: "β – 1" };
    expect(decodeToken(token(odd))).toEqual(odd);
    expect(decodeToken(token({ ...CLAIMS, version: null }))?.version).toBeNull();
  });

  it("expires for third parties after ten minutes, or after a longer life", () => {
    const exp = (lifeMs: number): unknown => payloadOf(token({ ...CLAIMS, lifeMs }))["exp"];
    const iat = Math.floor(ISSUED_MS / 1000);
    expect(exp(60_000)).toBe(iat + 600);
    expect(exp(3_600_000)).toBe(iat + 3600);
  });

  it("is verified offline up to the vendor", async () => {
    expect(await verify({})).toEqual({ valid: true, claims: CLAIMS, chain: "vendor" });
    expect(await verify({ session: CLAIMS.session })).toHaveProperty("valid", true);
  });

  it("ends its chain at the pool when the license names no pool key", async () => {
    const bare = token(CLAIMS, { certificate: null });
    expect(await verify({ token: bare, license: license({ name: "main" }) })).toMatchObject({
      valid: true,
      chain: "pool",
    });
  });
});

describe("a forged token is refused", () => {
  const good = token();
  const [header = "", payload = "", signature = ""] = good.split(".");

  it.each<[string, string]>([
    ["no algorithm", `${part({ alg: "none", typ: "JWT", kid: member.text })}.${payload}.`],
    [
      "no algorithm and a signature",
      `${part({ alg: "none", kid: member.text })}.${payload}.${signature}`,
    ],
    ["HS256 with the public key as secret", hmacToken(payload)],
    [
      "another type",
      `${part({ alg: "EdDSA", typ: "x", kid: member.text })}.${payload}.${signature}`,
    ],
    ["a part too many", `${good}.x`],
    ["an extension that must be understood", part({ alg: "EdDSA", typ: "JWT", crit: ["b64"] })],
    ["an attached key", `${part({ alg: "EdDSA", typ: "JWT", jwk: {} })}.${payload}.${signature}`],
    ["too many characters", `${header}.${payload}${"A".repeat(5_000)}.${signature}`],
  ])("with %s", async (_title, forged) => {
    expect(decodeToken(forged)).toBeNull();
    expect(await verify({ token: forged })).toHaveProperty("valid", false);
  });

  it("when any character is another one", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(good.length - 1),
        fc.constantFrom("A", "B", "z", "0", "9", "-", "_", "."),
        async (at, letter) => {
          fc.pre(good[at] !== letter);
          const changed = good.slice(0, at) + letter + good.slice(at + 1);
          expect(await verify({ token: changed })).toHaveProperty("valid", false);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("whatever the text is", () => {
    fc.assert(fc.property(fc.string(), (text) => decodeToken(text) === null));
  });

  it.each<[string, string, string]>([
    ["signed by a stranger", token(CLAIMS, { signer: stranger.key }), "signature does not fit"],
    [
      "by a stranger who names itself",
      token(CLAIMS, { signer: stranger.key, kid: stranger.text }),
      "another member, key or pool",
    ],
    [
      "by a stranger who certifies itself",
      token(CLAIMS, {
        signer: stranger.key,
        kid: stranger.text,
        certificate: certificate({ key: stranger.text }, stranger.key),
      }),
      "not signed by the license's pool key",
    ],
    [
      "with a certificate for another member",
      token(CLAIMS, { certificate: certificate({ member: "b" }) }),
      "another member, key or pool",
    ],
    [
      "with a certificate for another pool",
      token(CLAIMS, { certificate: certificate({ pool: "elsewhere" }) }),
      "another member, key or pool",
    ],
    ["without certificate", token(CLAIMS, { certificate: null }), "has no certificate"],
    ["for another pool", token({ ...CLAIMS, pool: "elsewhere" }), "another pool"],
    ["for an unlicensed feature", token({ ...CLAIMS, feature: "cam" }), "no feature cam"],
    ["for more seats", token({ ...CLAIMS, seats: 11 }), "more seats"],
    ["for a later version", token({ ...CLAIMS, version: "2027" }), "version-not-covered"],
    ["of a later license", token({ ...CLAIMS, licenseSequence: 8 }), "license 8"],
  ])("%s", async (_title, forged, reason) => {
    expect(await verify({ token: forged })).toEqual({
      valid: false,
      reason: expect.stringContaining(reason),
    });
  });

  it("for another session, after its end, or under another vendor", async () => {
    expect(await verify({ session: "x" })).toHaveProperty("reason", "it is for another session");
    const ended = { nowMs: ISSUED_MS + 600_000 };
    expect(await verify(ended)).toHaveProperty("reason", "it has expired");
    expect(await verify({ vendorKey: stranger.text })).toHaveProperty("valid", false);
    expect(await verify({ license: "{}" })).toHaveProperty("valid", false);
  });
});

describe("a member certificate", () => {
  it("is read back only in its exact shape", () => {
    const made = certificate({});
    expect(parseCertificate(JSON.parse(JSON.stringify(made)))).toEqual(made);
    expect(parseCertificate({ ...made, more: 1 })).toBeNull();
    expect(parseCertificate({ ...made, member: "a/b" })).toBeNull();
    fc.assert(fc.property(fc.jsonValue(), (value) => parseCertificate(value) === null));
  });
});

describe("a session", () => {
  it("is the hash of the secret as text", async () => {
    const secret = newSecret(new Uint8Array(32));
    expect(secret).toBe("A".repeat(43));
    expect(await sessionOf(secret)).toBe("DwBzhbb51LfusnSGBa_hqYSgo7-j8BTQnip4TOnlzRo");
    expect(() => newSecret(new Uint8Array(31))).toThrow(RangeError);
  });
});

function verify(changes: Partial<OfflineQuestion>): ReturnType<typeof verifyTokenOffline> {
  return verifyTokenOffline({
    token: token(),
    license: license({ name: "main", key: pool.text }),
    vendorKey: vendor.text,
    nowMs: ISSUED_MS + 1_000,
    ...changes,
  });
}

function token(
  claims: TokenClaims = CLAIMS,
  by: { signer?: KeyObject; kid?: string; certificate?: MemberCertificate | null } = {},
): string {
  const held = by.certificate === undefined ? certificate({}) : by.certificate;
  const input = tokenSigningInput(claims, tokenHeader(by.kid ?? member.text, held));
  const signature = sign(null, Buffer.from(input), by.signer ?? member.key);
  return assembleToken(input, signature.toString("base64url"));
}

function certificate(
  changes: Partial<MemberCertificate>,
  signer: KeyObject = pool.key,
): MemberCertificate {
  const { signature: _none, ...content }: MemberCertificate = {
    quorate: 1,
    pool: "main",
    member: "a",
    key: member.text,
    issued: "2026-01-01T00:00:00Z",
    signature: { key: "", value: "" },
    ...changes,
  };
  const value = sign(null, certificateBytes(content), signer).toString("base64url");
  return { ...content, signature: { key: pool.text, value } };
}

function license(named: object): string {
  const document = {
    quorate: 1,
    id: "L-1",
    vendor: "Acme",
    customer: "Customer",
    sequence: 7,
    issued: "2026-01-01T00:00:00Z",
    pool: named,
    features: [{ name: "cad", version: "2026.1", seats: 10 }],
  };
  const value = sign(null, signedBytes(document) ?? new Uint8Array(), vendor.key);
  const signature = { key: vendor.text, value: value.toString("base64url") };
  return JSON.stringify({ ...document, signature });
}

function keyPair(): { key: KeyObject; text: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  return { key: privateKey, text: formatPublicKey(Buffer.from(x, "base64url")) };
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function payloadOf(text: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(text.split(".")[1] ?? "", "base64url").toString());
}

function hmacToken(payload: string): string {
  const input = `${part({ alg: "HS256", typ: "JWT", kid: member.text })}.${payload}`;
  return `${input}.${createHmac("sha256", member.text).update(input).digest("base64url")}`;
}
