import { createHmac, generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { certificateBytes, sessionOf, signedBytes, type TokenClaims } from "@quorate/protocol";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeFileDurably } from "./durable-file.ts";
import { ForPeople } from "./for-people.ts";
import { readPrivateKey, readPublicKey, writePrivateKey, writePublicKey } from "./key-files.ts";
import { createLicenseFiles } from "./license-files.ts";
import { openMemberFolder, storeCertificate } from "./member-folder.ts";
import { createMemberTokens } from "./member-tokens.ts";
import { generatePrivateKey, publicKeyOf, sign, verify } from "./node-keys.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-keys-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("a key file", () => {
  it("is readable by its owner only and gives the same key back", () => {
    const key = generatePrivateKey();
    writePrivateKey(at("a.key"), key);
    expect(statSync(at("a.key")).mode & 0o777).toBe(0o600);
    const { publicKey, privateKey, warning } = readPrivateKey(at("a.key"));
    expect({ publicKey, warning }).toEqual({ publicKey: publicKeyOf(key), warning: null });
    expect(verify(publicKey, Buffer.from("x"), sign(privateKey, Buffer.from("x")))).toBe(true);
    writePublicKey(at("a.pub"), publicKey);
    expect(readPublicKey(at("a.pub"))).toBe(publicKey);
  });

  it("is never overwritten, and the attempt leaves nothing behind", () => {
    writePrivateKey(at("a.key"), generatePrivateKey());
    const before = readFileSync(at("a.key"), "utf8");
    expect(() => writePrivateKey(at("a.key"), generatePrivateKey())).toThrow(/exists already/);
    expect(readFileSync(at("a.key"), "utf8")).toBe(before);
    expect(readdirSync(folder)).toEqual(["a.key"]);
  });

  it("that others may read is used, with a warning that says what to run", () => {
    writePrivateKey(at("a.key"), generatePrivateKey());
    chmodSync(at("a.key"), 0o640);
    expect(readPrivateKey(at("a.key")).warning).toContain("chmod 600");
  });

  it("of the wrong kind is refused in words", () => {
    expect(() => readPrivateKey(at("none"))).toThrow(/there is no key file/);
    writeFileSync(at("text"), "hello");
    expect(() => readPrivateKey(at("text"))).toThrow(/no private key in PEM form/);
    expect(() => readPublicKey(at("text"))).toThrow(/one line "ed25519:/);
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    writePrivateKey(at("ec.key"), privateKey);
    expect(() => readPrivateKey(at("ec.key"))).toThrow(/another kind/);
    expect(() => readPublicKey(at("ec.key"))).toThrow(/is a private key/);
    expect(() => readPublicKey(folder)).toThrow(ForPeople);
  });
});

describe("a durable write", () => {
  it("replaces the whole file, or fails in words and keeps the old one", () => {
    writeFileDurably(at("f"), "old", { mode: 0o644, overwrite: true });
    writeFileDurably(at("f"), "new", { mode: 0o600, overwrite: true });
    expect(readFileSync(at("f"), "utf8")).toBe("new");
    const nowhere = join(folder, "no", "f");
    expect(() => writeFileDurably(nowhere, "x", { mode: 0o600, overwrite: true })).toThrow(
      /no such file or folder/,
    );
    expect(readdirSync(folder)).toEqual(["f"]);
  });
});

describe("verify", () => {
  it("answers false to every key and signature that does not fit", () => {
    const key = generatePrivateKey();
    const signature = sign(key, Buffer.from("x"));
    expect(verify(publicKeyOf(key), Buffer.from("y"), signature)).toBe(false);
    expect(verify(publicKeyOf(generatePrivateKey()), Buffer.from("x"), signature)).toBe(false);
    expect(verify("ed25519:short", Buffer.from("x"), signature)).toBe(false);
    expect(verify(publicKeyOf(key), Buffer.from("x"), "short")).toBe(false);
    for (let byte = 0; byte < 256; byte += 1) {
      const odd = `ed25519:${Buffer.alloc(32, byte).toString("base64url")}`;
      expect(verify(odd, Buffer.from("x"), signature)).toBe(false);
    }
    expect(verify(publicKeyOf(key), Buffer.from("x"), signature)).toBe(true);
  });
});

describe("the tokens of a member", () => {
  const key = generatePrivateKey();
  const keyText = publicKeyOf(key);
  const tokens = createMemberTokens({
    pool: () => "main",
    privateKey: key,
    publicKey: keyText,
    certificate: null,
  });
  const claims: TokenClaims = {
    pool: "main",
    member: "a",
    epoch: 1,
    session: "s",
    feature: "cad",
    version: null,
    seats: 1,
    lifeMs: 60_000,
    issuedAtMs: 1_750_000_000_123,
    licenseSequence: 1,
  };

  it("are read back by whoever knows the member's key", () => {
    const asked: string[] = [];
    const read = tokens.read(tokens.sign(claims), (member) => {
      asked.push(member);
      return keyText;
    });
    expect(read).toEqual(claims);
    expect(asked).toEqual(["a"]);
  });

  it("are refused under another member's key, for another pool, and when changed", () => {
    const token = tokens.sign(claims);
    const other = publicKeyOf(generatePrivateKey());
    expect(tokens.read(token, () => other)).toBeNull();
    expect(tokens.read(token, () => null)).toBeNull();
    expect(tokens.read(tokens.sign({ ...claims, pool: "other" }), () => keyText)).toBeNull();
    const [header, payload] = tokens.sign({ ...claims, seats: 99 }).split(".");
    const signature = token.split(".")[2];
    expect(tokens.read(`${header}.${payload}.${signature}`, () => keyText)).toBeNull();
    const unlicensed = createMemberTokens({
      pool: () => null,
      privateKey: key,
      publicKey: keyText,
      certificate: null,
    });
    expect(unlicensed.read(token, () => keyText)).toBeNull();
  });

  it("are judged the same off the event loop, also when a token comes a second time", async () => {
    const token = tokens.sign(claims);
    const other = publicKeyOf(generatePrivateKey());
    const [header, payload] = tokens.sign({ ...claims, seats: 99 }).split(".");
    const forged = `${header}.${payload}.${token.split(".")[2]}`;
    for (let time = 0; time < 2; time += 1) {
      expect(await tokens.readSoon(forged, () => keyText)).toBeNull();
      expect(await tokens.readSoon(token, () => keyText)).toEqual(claims);
      // A key that was replaced since is not the one that the token was found good by.
      expect(await tokens.readSoon(token, () => other)).toBeNull();
      expect(await tokens.readSoon(token, () => null)).toBeNull();
      expect(tokens.read(token, () => keyText)).toEqual(claims);
    }
  });

  it("of a forger who names its own key in the header are refused", () => {
    const forgerKey = generatePrivateKey();
    const forger = createMemberTokens({
      pool: () => "main",
      privateKey: forgerKey,
      publicKey: publicKeyOf(forgerKey),
      certificate: null,
    });
    expect(tokens.read(forger.sign(claims), () => keyText)).toBeNull();
  });

  it("are refused with another algorithm: none, or the public key used as a secret", () => {
    const [, payload = ""] = tokens.sign(claims).split(".");
    const part = (value: object): string =>
      Buffer.from(JSON.stringify(value)).toString("base64url");
    for (const alg of ["none", "None", "HS256", "EdDSA"]) {
      const head = part({ alg, typ: "JWT" });
      const bytes = `${head}.${payload}`;
      for (const secret of [keyText, keyText.replace("ed25519:", ""), ""]) {
        const mac = createHmac("sha256", secret).update(bytes).digest("base64url");
        for (const signature of [mac, "", "A".repeat(86)]) {
          expect(tokens.read(`${bytes}.${signature}`, () => keyText)).toBeNull();
        }
      }
    }
  });

  it("match a secret to its session", async () => {
    const session = await sessionOf("secret");
    expect(tokens.sessionMatches(session, "secret")).toBe(true);
    expect(tokens.sessionMatches(session, "Secret")).toBe(false);
    expect(tokens.sessionMatches("", "secret")).toBe(false);
    expect(tokens.sessionMatches("ü".repeat(43), "secret")).toBe(false);
  });
});

describe("the license files of a member", () => {
  const vendor = generatePrivateKey();

  it("check the vendor's signature", () => {
    const files = createLicenseFiles({ dataFolder: folder, vendorKey: publicKeyOf(vendor) });
    expect(files.check(license(1))).toMatchObject({ license: { sequence: 1 } });
    expect(files.check(license(1).replace("Acme", "Acne"))).toContain("does not fit the content");
    const others = createLicenseFiles({
      dataFolder: folder,
      vendorKey: publicKeyOf(generatePrivateKey()),
    });
    expect(others.check(license(1))).toContain("not by the vendor's key");
    expect(files.check("{")).toContain("is not JSON");
  });

  it("keep each replaced copy as a backup, also two with one sequence", async () => {
    const files = createLicenseFiles({ dataFolder: folder, vendorKey: publicKeyOf(vendor) });
    expect(await files.readOwn()).toBeNull();
    await files.writeOwn(license(1), true);
    await files.writeOwn(license(2), false);
    await files.writeOwn(license(3), true);
    await files.writeOwn(license(2, "Other"), false);
    await files.writeOwn(license(4), true);
    expect(await files.readOwn()).toBe(license(4));
    expect(readdirSync(folder).sort()).toEqual([
      expect.stringMatching(/^license-2-[0-9a-f]{8}\.backup\.json$/),
      "license-2.backup.json",
      "license.json",
    ]);
    expect(readFileSync(at("license-2.backup.json"), "utf8")).toBe(license(2));
  });

  function license(sequence: number, customer = "Customer"): string {
    const document = {
      quorate: 1,
      id: "L-1",
      vendor: "Acme",
      customer,
      sequence,
      issued: "2026-01-01T00:00:00Z",
      pool: { name: "main", size: 1 },
      features: [{ name: "cad", version: "1", seats: 1 }],
    };
    const value = sign(vendor, signedBytes(document) ?? Buffer.alloc(0));
    return JSON.stringify({ ...document, signature: { key: publicKeyOf(vendor), value } });
  }
});

describe("a member folder", () => {
  it("is made once, for its owner only, and is the same member ever after", () => {
    const data = at("data");
    const made = openMemberFolder(data, null, "a");
    expect(made).toMatchObject({ id: "a", created: true, certificate: null, warnings: [] });
    expect(statSync(data).mode & 0o777).toBe(0o700);
    const again = openMemberFolder(data, null, "other-host");
    expect(again).toMatchObject({ id: "a", publicKey: made.publicKey, created: false });
    expect(() => openMemberFolder(data, "b", "b")).toThrow(/belongs to member a, not b/);
  });

  it("keeps its certificate", () => {
    const made = openMemberFolder(at("data"), "a", "x");
    const pool = generatePrivateKey();
    const content = {
      quorate: 1,
      member: "a",
      key: made.publicKey,
      issued: "2026-01-01T00:00:00Z",
    } as const;
    const value = sign(pool, certificateBytes(content));
    const certificate = { ...content, signature: { key: publicKeyOf(pool), value } };
    storeCertificate(made, certificate);
    expect(openMemberFolder(at("data"), null, "x").certificate).toEqual(certificate);
  });

  it("takes up the key that a crash left without a member", () => {
    const made = openMemberFolder(at("data"), "a", "x");
    rmSync(at("data/member.json"));
    expect(openMemberFolder(at("data"), "a", "x").publicKey).toBe(made.publicKey);
  });

  it("with a foreign key or a broken description is refused, and a bad id makes nothing", () => {
    openMemberFolder(at("data"), "a", "x");
    rmSync(at("data/member.key"));
    writePrivateKey(at("data/member.key"), generatePrivateKey());
    expect(() => openMemberFolder(at("data"), null, "x")).toThrow(/names another key/);
    writeFileSync(at("data/member.json"), "{}");
    expect(() => openMemberFolder(at("data"), null, "x")).toThrow(/does not describe a member/);
    expect(() => openMemberFolder(at("new"), "a/b", "x")).toThrow(/can't be a member id/);
    expect(existsSync(at("new"))).toBe(false);
  });
});

function at(name: string): string {
  return join(folder, name);
}
