/**
 * The tokens of people and programs, pool-wide: one value in the store, which every member has read. Only
 * hashes are kept; the token itself is shown once, to who created it.
 *
 * Deliberately absent: any look at a token. Who is let in is the HTTP face's business; seats know nobody.
 */
import { type Refusal, refuse } from "@quorate/core";
import type { TokenRow } from "@quorate/protocol";
import type { MemberContext } from "./context.ts";
import { TOKENS_KEY } from "./keys.ts";
import type { Nonced } from "./shared-state.ts";

export interface StoredToken extends TokenRow {
  /** SHA-256 of the whole token, hex. */
  readonly hash: string;
}

export interface TokenBook {
  /** Synchronous: it is asked at each call that brings a token. */
  find(id: string): StoredToken | null;
  list(): readonly StoredToken[];
  add(token: StoredToken): Promise<StoredToken | Refusal>;
  /** By id or by name. */
  remove(idOrName: string): Promise<StoredToken | Refusal>;
}

interface TokensRecord extends Nonced {
  readonly tokens: readonly StoredToken[];
}

/** All of them are one value of the store. */
const TOKENS_MAX = 1_000;

export class TokenKeeper implements TokenBook {
  private readonly context: MemberContext;
  private byId: ReadonlyMap<string, StoredToken> = new Map();
  private byIdOf: TokensRecord | null = null;

  constructor(context: MemberContext) {
    this.context = context;
  }

  find(id: string): StoredToken | null {
    return this.current().get(id) ?? null;
  }

  list(): readonly StoredToken[] {
    return [...this.current().values()];
  }

  async add(token: StoredToken): Promise<StoredToken | Refusal> {
    let refusal: Refusal | null = null;
    const written = await this.change((tokens) => {
      // A repeated write after an unknown outcome finds its own work.
      const others = tokens.filter(({ id }) => id !== token.id);
      refusal =
        others.length >= TOKENS_MAX
          ? refuse("bad-request", `there are ${TOKENS_MAX} tokens; revoke some first`)
          : others.some(({ name }) => name === token.name)
            ? refuse(
                "bad-request",
                `there is a token "${token.name}"; revoke it or choose another name`,
              )
            : null;
      return refusal === null ? [...others, token] : null;
    });
    return refusal ?? written ?? token;
  }

  async remove(idOrName: string): Promise<StoredToken | Refusal> {
    let found: StoredToken | null = null;
    const written = await this.change((tokens) => {
      const named = tokens.find(({ id, name }) => id === idOrName || name === idOrName);
      found = named ?? found;
      return named === undefined ? null : tokens.filter((each) => each !== named);
    });
    return (
      found ?? written ?? refuse("not-found", "there is no such token; see: quorate token list")
    );
  }

  /** Null when it was written or there was nothing to write. */
  private async change(
    build: (tokens: readonly StoredToken[]) => readonly StoredToken[] | null,
  ): Promise<Refusal | null> {
    const { state } = this.context;
    const written = await state.change<TokensRecord>(TOKENS_KEY, (current) => {
      const tokens = build(current?.tokens ?? []);
      if (tokens === null) return NOTHING;
      const value: TokensRecord = { nonces: current?.nonces ?? {}, tokens };
      return { value };
    });
    if (written.applied || written.reason === NOTHING) return null;
    return refuse("busy", written.reason);
  }

  private current(): ReadonlyMap<string, StoredToken> {
    const record = this.context.state.get<TokensRecord>(TOKENS_KEY)?.value ?? null;
    if (record !== this.byIdOf) {
      this.byIdOf = record;
      this.byId = new Map((record?.tokens ?? []).map((token) => [token.id, token]));
    }
    return this.byId;
  }
}

const NOTHING = "nothing to write";
