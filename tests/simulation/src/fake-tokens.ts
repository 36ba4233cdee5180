/**
 * Tokens, secrets and licenses without cryptography: a registry knows what was really signed and made, so
 * inside the simulation nothing can be forged either, and a run costs no signatures.
 */
import type { License } from "@quorate/core";
import type { Licenses, TokenClaims, Tokens } from "./server-parts.ts";
import type { Random } from "./random.ts";
import type { VirtualProcess } from "./virtual-machine.ts";

export class TokenRegistry {
  readonly #signed = new Map<string, { readonly claims: TokenClaims; readonly key: string }>();
  readonly #secrets = new Map<string, string>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  newSession(): { readonly session: string; readonly secret: string } {
    const session = asHash(`session${this.#random.text()}`);
    const secret = asHash(`secret${this.#random.text()}`);
    this.#secrets.set(session, secret);
    return { session, secret };
  }

  secretOf(session: string): string {
    return this.#secrets.get(session) ?? "";
  }

  /** The port of the member whose public key is `key`. */
  tokensOf(key: string): Tokens {
    const read: Tokens["read"] = (token, memberKeyOf) => {
      const found = this.#signed.get(token);
      if (found === undefined || memberKeyOf(found.claims.member) !== found.key) return null;
      return found.claims;
    };
    return {
      sign: (claims) => {
        const token = `token-${this.#signed.size + 1}`;
        this.#signed.set(token, { claims: { ...claims }, key });
        return token;
      },
      read,
      readSoon: (token, memberKeyOf) => Promise.resolve(read(token, memberKeyOf)),
      sessionMatches: (session, secret) => this.#secrets.get(session) === secret,
    };
  }
}

/** The length of a SHA-256 in base64url, because the wire has a pattern for it. */
function asHash(text: string): string {
  return text.padEnd(43, "0").slice(0, 43);
}

/** One machine's copy of the license; it survives its processes. */
export class LicenseFile {
  #text: string | null;
  backups = 0;

  constructor(text: string | null) {
    this.#text = text;
  }

  /** Null: the file is lost. */
  install(text: string | null): void {
    this.#text = text;
  }

  portOf(process: VirtualProcess, random: Random, isDiskFull: () => boolean): Licenses {
    const afterWork = <T>(work: () => T): Promise<T> =>
      new Promise((resolve, reject) => {
        process.deliver(random.between(FILE_MS_MIN, FILE_MS_MAX), () => {
          try {
            resolve(work());
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        });
      });
    return {
      check: checkLicense,
      readOwn: () => afterWork(() => this.#text),
      writeOwn: (text, backup) =>
        afterWork(() => {
          if (isDiskFull()) throw new Error("ENOSPC: no space left on device");
          if (backup) this.backups += 1;
          this.#text = text;
        }),
    };
  }
}

const FILE_MS_MIN = 0.2;
const FILE_MS_MAX = 8;

function checkLicense(text: string): { license: License; canonical: string } {
  const license: License = JSON.parse(text);
  return { license, canonical: text };
}

/** A vendor who signs nothing: documents are believed as they are. */
export function licenseText(options: {
  readonly sequence: number;
  readonly size: number;
  readonly features: readonly { readonly name: string; readonly seats: number }[];
  readonly lifeMs: number;
}): string {
  const license: License = {
    quorate: 1,
    id: "simulated",
    vendor: "Vendor",
    customer: "Customer",
    sequence: options.sequence,
    issued: "2026-01-01T00:00:00Z",
    pool: { name: POOL_NAME, size: options.size },
    features: options.features.map(({ name, seats }) => ({
      name,
      version: "9.0",
      seats,
      lifeMs: options.lifeMs,
    })),
    signature: { key: "ed25519:none", value: "none" },
  };
  return JSON.stringify(license);
}

const POOL_NAME = "pool";
