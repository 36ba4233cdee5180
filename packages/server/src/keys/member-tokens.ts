/**
 * The tokens of one member: signed in the same turn as the grant, with the header made once.
 */
import { hash, type KeyObject } from "node:crypto";
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
  return {
    sign(claims: TokenClaims): string {
      const payload = Buffer.from(tokenPayload(claims), "latin1").toString("base64url");
      const input = header + payload;
      return assembleToken(input, sign(Buffer.from(input, "latin1")));
    },
    read(token, memberKeyOf): TokenClaims | null {
      const parts = tokenParts(token);
      if (parts === null || parts.claims.pool !== options.pool()) return null;
      // The key is the one in the member's record. `kid` is the token's own word and decides nothing.
      const key = memberKeyOf(parts.claims.member);
      if (key === null) return null;
      const signed = Buffer.from(parts.signingInput, "latin1");
      return verify(key, signed, parts.signature) ? parts.claims : null;
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
