/**
 * The tokens of one member: signed in the same turn as the grant, with the header made once.
 */
import { hash, type KeyObject } from "node:crypto";
import { TOKEN_CHARACTERS_MAX } from "@quorate/core";
import {
  assembleToken,
  type MemberCertificate,
  type TokenClaims,
  tokenHeader,
  tokenParts,
  tokenPayload,
} from "@quorate/protocol";
import type { Tokens } from "../member/ports.ts";
import { verify } from "./node-keys.ts";
import { signerOf } from "./signer.ts";
import { createVerifier } from "./verifier.ts";

/** A client whose session is taken over brings its token twice within two seconds; a signature is dear to check. */
const VERIFIED_MAX = 4_096;

export interface MemberTokensOptions {
  /** The pool's name; null as long as the member has no license. Asked at each `read`. */
  readonly pool: () => string | null;
  readonly privateKey: KeyObject;
  /** `ed25519:…` */
  readonly publicKey: string;
  /** Goes into every token, so that clients can verify offline. */
  readonly certificate: MemberCertificate | null;
}

export function createMemberTokens(options: MemberTokensOptions): Tokens {
  const header = `${tokenHeader(options.publicKey, options.certificate)}.`;
  const sign = signerOf(options.privateKey);
  /** What is signed, with the header in its place, and what becomes base64url: one for all tokens. */
  const input = Buffer.alloc(TOKEN_CHARACTERS_MAX);
  input.write(header, "latin1");
  const claimsBytes = Buffer.alloc(TOKEN_CHARACTERS_MAX);
  const verifySoon = createVerifier();
  /** By token: what it says, and the key that it was found to be signed by. */
  const verified = new Map<string, { readonly claims: TokenClaims; readonly key: string }>();

  /** The key of the member that a token names; null when it is none of this pool's. */
  function keyFor(claims: TokenClaims, memberKeyOf: (member: string) => string | null) {
    // The key is the one in the member's record. `kid` is the token's own word and decides nothing.
    return claims.pool === options.pool() ? memberKeyOf(claims.member) : null;
  }

  /** What a token says and what is to be verified of it; null when it is none of this pool's. */
  function look(token: string, memberKeyOf: (member: string) => string | null) {
    const known = verified.get(token);
    if (known !== undefined && keyFor(known.claims, memberKeyOf) === known.key) {
      return { claims: known.claims, toVerify: null };
    }
    const parts = tokenParts(token);
    const key = parts === null ? null : keyFor(parts.claims, memberKeyOf);
    if (parts === null || key === null) return null;
    const { claims, signature } = parts;
    return { claims, toVerify: { key, text: parts.signingInput, signature } };
  }

  return {
    sign(claims: TokenClaims): string {
      const text = tokenPayload(claims);
      claimsBytes.write(text, "latin1");
      const payload = claimsBytes.toString("base64url", 0, text.length);
      const length = header.length + input.write(payload, header.length, "latin1");
      return assembleToken(header + payload, sign(input.subarray(0, length)));
    },
    read(token, memberKeyOf): TokenClaims | null {
      const found = look(token, memberKeyOf);
      if (found === null || found.toVerify === null) return found?.claims ?? null;
      const { key, text, signature } = found.toVerify;
      return verify(key, Buffer.from(text, "latin1"), signature) ? found.claims : null;
    },
    async readSoon(token, memberKeyOf): Promise<TokenClaims | null> {
      const found = look(token, memberKeyOf);
      if (found === null || found.toVerify === null) return found?.claims ?? null;
      const { key, text, signature } = found.toVerify;
      if (!(await verifySoon(key, text, signature))) return null;
      if (verified.size >= VERIFIED_MAX) {
        const oldest = verified.keys().next();
        if (oldest.done !== true) verified.delete(oldest.value);
      }
      verified.set(token, { claims: found.claims, key });
      return found.claims;
    },
    sessionMatches,
  };
}

/**
 * A plain comparison is safe here: what is compared is the hash of what the caller sent with a session,
 * which is public. How long it takes tells nothing about anybody's secret.
 */
function sessionMatches(session: string, secret: string): boolean {
  return hash("sha256", secret, "base64url") === session;
}
