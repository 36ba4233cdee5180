/** `quorate serve --oidc-…`: what it takes, and a login through a real server and a real issuer. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  CLIENT_ID,
  CLIENT_SECRET,
  startIssuer,
  type TestIssuer,
} from "../../server/src/http/test-issuer.ts";
import { type OidcFlags, oidcFrom, oidcOptions } from "./commands/oidc-options.ts";
import { makeDemoFolder } from "./demo/demo-folder.ts";
import { TestCommand, until } from "./test-command.ts";
import { newTestFolder } from "./test-pool.ts";

const LONG_MS = 60_000;

const { root, remove } = newTestFolder("oidc");
const secretFile = join(root, "client.secret");
let issuer: TestIssuer;
let server: TestCommand;
let url = "";

beforeAll(async () => {
  writeFileSync(secretFile, `${CLIENT_SECRET}\n`);
  issuer = await startIssuer(() => [`${url}/v1/login/oidc/callback`]);
  const { servers } = await makeDemoFolder(join(root, "pool"), 0, 2_000);
  const [first] = servers;
  if (first === undefined) throw new Error("a demo has servers");
  url = first.url;
  const roles = ["--oidc-role", "viewer=everybody", "--oidc-role", "administrator=admins"];
  const client = ["--oidc-client-id", CLIENT_ID, "--oidc-client-secret-file", secretFile];
  server = new TestCommand([...first.words, "--oidc-issuer", issuer.url, ...client, ...roles]);
}, LONG_MS);

afterAll(async () => {
  server.child.kill("SIGKILL");
  await server.done;
  await issuer.close();
  remove();
});

const flagsOf = (...words: readonly string[]): OidcFlags =>
  oidcOptions(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .parse([...words], { from: "user" })
    .opts<OidcFlags>();

describe("the options", () => {
  const whole = ["--oidc-client-id", "q", "--oidc-role", "administrator=admins"];

  it("name nobody unless an issuer is named", () => {
    expect(oidcFrom(flagsOf())).toBeNull();
    expect(() => oidcFrom(flagsOf(...whole))).toThrow(/without --oidc-issuer/);
  });

  it("are whole or refused", () => {
    const issuerAt = "https://login.example.com/realms/x";
    expect(oidcFrom(flagsOf("--oidc-issuer", issuerAt, ...whole))).toEqual({
      issuer: issuerAt,
      clientId: "q",
      clientSecret: null,
      scope: "openid profile email",
      roleClaim: "groups",
      roles: [{ role: "administrator", value: "admins" }],
      audience: null,
    });
    const named = ["--oidc-issuer", issuerAt];
    expect(() => oidcFrom(flagsOf(...named, "--oidc-client-id", "q"))).toThrow(/nobody would have/);
    expect(() => oidcFrom(flagsOf(...named, "--oidc-role", "viewer=x"))).toThrow(
      /--oidc-client-id/,
    );
    expect(() => oidcFrom(flagsOf("--oidc-issuer", "login", ...whole))).toThrow(/https:/);
    for (const role of ["root=admins", "viewer", "viewer=", "=admins"]) {
      expect(() => flagsOf("--oidc-role", role)).toThrow(/administrator=GROUP/);
    }
    const missing = ["--oidc-client-secret-file", join(root, "none")];
    expect(() => oidcFrom(flagsOf(...named, ...whole, ...missing))).toThrow(/cannot read/);
  });

  it("let an issuer without TLS be on this machine, and elsewhere only when told to", () => {
    const at = (issuerAt: string, ...more: readonly string[]) =>
      oidcFrom(flagsOf("--oidc-issuer", issuerAt, ...whole, ...more));
    for (const local of ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"]) {
      expect(at(local)).toMatchObject({ issuer: local });
    }
    for (const far of ["http://login.example.com", "http://127.0.0.1.example.com"]) {
      expect(() => at(far)).toThrow(/not encrypted/);
      expect(at(far, "--oidc-insecure")).toMatchObject({ issuer: far });
    }
  });
});

it(
  "a real server lets in who the issuer names, with the role of its groups",
  async () => {
    await until(
      () =>
        fetch(`${url}/livez`).then(
          () => true,
          () => null,
        ),
      () => `a server at ${url}: ${server.stderr}`,
    );
    issuer.person = { id: "u1", claims: { preferred_username: "ana", groups: ["admins"] } };
    const page = { accept: "text/html" };
    const begun = await fetch(`${url}/v1/login/oidc`, { redirect: "manual", headers: page });
    const cookie = begun.headers.getSetCookie()[0]?.split(";", 1)[0] ?? "";
    const back = await issuer.visit(begun.headers.get("location") ?? "");
    const headers = { ...page, cookie };
    const ended = await fetch(back, { redirect: "manual", headers });
    expect([ended.status, ended.headers.get("location")]).toEqual([303, "/"]);
    const login = ended.headers.getSetCookie().find((each) => each.startsWith("quorate_login"));
    const state = await fetch(`${url}/v1/login`, {
      headers: { cookie: login?.split(";", 1)[0] ?? "" },
    });
    expect(await state.json()).toMatchObject({ name: "ana", role: "administrator" });
  },
  LONG_MS,
);
