/** A real issuer on this machine, for tests: `oidc-provider`, with one person at its page at a time. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  exportJWK,
  generateKeyPair,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
} from "jose";
import { Provider } from "oidc-provider";

export interface TestIssuer {
  readonly url: string;
  /** Who sits at the issuer's page, and what the issuer says of them. */
  person: { readonly id: string; readonly claims: Readonly<Record<string, unknown>> };
  /** Whether the claims are in the ID token, or to be asked for. */
  isGenerous: boolean;
  /** What the issuer was asked, in order. */
  readonly paths: string[];
  /** A token with the issuer's own key. */
  sign(claims: JWTPayload, header?: Partial<JWTHeaderParameters>): Promise<string>;
  /** Goes where a browser is sent, and back to the address that `redirects` sends it to. */
  visit(location: string): Promise<string>;
  close(): Promise<void>;
}

export const CLIENT_ID = "quorate";
export const CLIENT_SECRET = "the-clients-secret-at-the-issuer";

interface Context {
  readonly oidc: {
    readonly session: { readonly accountId: string };
    readonly client: { readonly clientId: string };
  };
}

/** `way`: how the client proves itself, which is the only one that this issuer takes. */
export async function startIssuer(
  redirects: () => readonly string[],
  way: "client_secret_basic" | "client_secret_post" = "client_secret_basic",
): Promise<TestIssuer> {
  const keys = await generateKeyPair("RS256", { extractable: true });
  const jwk = { ...(await exportJWK(keys.privateKey)), kid: "k1", alg: "RS256", use: "sig" };
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  let provider: Provider | null = null;
  const made = (): Provider =>
    (provider ??= new Provider(url, {
      clients: [
        {
          client_id: CLIENT_ID,
          client_secret: CLIENT_SECRET,
          redirect_uris: redirects(),
          token_endpoint_auth_method: way,
        },
      ],
      clientAuthMethods: [way],
      jwks: { keys: [jwk] },
      ttl: { AccessToken: 60, Grant: 60, IdToken: 60, Interaction: 60, Session: 60 },
      cookies: { keys: ["for tests"] },
      claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
      conformIdTokenClaims: false,
      features: { devInteractions: { enabled: false } },
      interactions: { url: () => "/page" },
      findAccount: (_context: unknown, accountId: string) => ({
        accountId,
        claims: (use: string) =>
          use === "id_token" && !issuer.isGenerous
            ? { sub: accountId }
            : { sub: accountId, ...issuer.person.claims },
      }),
      // Nobody is asked whether they allow it.
      loadExistingGrant: async ({ oidc }: Context) => {
        const { accountId } = oidc.session;
        const grant = new (made().Grant)({ accountId, clientId: oidc.client.clientId });
        grant.addOIDCScope("openid profile email");
        await grant.save();
        return grant;
      },
    }));
  const issuer: TestIssuer = {
    url,
    person: { id: "u1", claims: {} },
    isGenerous: true,
    paths: [],
    sign: (claims, header = {}) =>
      new SignJWT({ iss: url, aud: CLIENT_ID, ...claims })
        .setProtectedHeader({ alg: "RS256", kid: "k1", ...header })
        .sign(keys.privateKey),
    visit: (location) => visit(url, location),
    close: () => closed(server),
  };
  server.on("request", (request, response) => {
    issuer.paths.push(request.url?.split("?", 1)[0] ?? "");
    if (request.url !== "/page") return made().callback()(request, response);
    const login = { accountId: issuer.person.id };
    return void made().interactionFinished(request, response, { login });
  });
  return issuer;
}

async function visit(issuer: string, location: string): Promise<string> {
  const jar = new Map<string, string>();
  let next = location;
  while (next.startsWith(issuer)) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(next, { redirect: "manual", headers: { cookie } });
    for (const each of response.headers.getSetCookie()) {
      const [name = "", value = ""] = each.split(";", 1)[0]?.split("=") ?? [];
      jar.set(name, value);
    }
    const onwards = response.headers.get("location");
    if (onwards === null) throw new Error(`${next}: ${response.status} ${await response.text()}`);
    next = new URL(onwards, next).href;
  }
  return next;
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
}
