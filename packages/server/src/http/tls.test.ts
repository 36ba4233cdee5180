import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { ClientsDoor } from "./access.ts";
import {
  ADMIN_HEADERS,
  ADMIN_TOKEN,
  CHECKOUT,
  fakeMember,
  JSON_HEADERS,
  SESSION,
  SESSION_HEADERS,
  serverOf,
} from "./fake-member.ts";
import type { HttpServer } from "./http-server.ts";
import { type TestAuthority, testAuthority } from "./test-certificates.ts";
import { type ClientAuth, readTls, type TlsFiles, watchTls } from "./tls.ts";

let folder = "";
let authority: TestAuthority;
let stranger: TestAuthority;
let server: HttpServer | null = null;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "quorate-tls-"));
  authority = testAuthority(folder);
  stranger = testAuthority(folder, "stranger");
});
afterEach(async () => {
  await server?.close();
  server = null;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function filesOf(name: string, clientAuth: ClientAuth = "none", days?: number): TlsFiles {
  return { ...authority.issue(name, days), ca: authority.ca, clientAuth };
}

interface Shown {
  readonly status: number;
  readonly certificate: string;
  readonly cookies: readonly string[];
}

type Own = { readonly cert: string; readonly key: string };

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** The status and the name in the server's certificate; the code of the error when there is no TLS. */
function askOver(
  port: number,
  trust: string | null,
  own?: Own,
  what: Asked = {},
): Promise<Shown | string> {
  return new Promise((resolve) => {
    const pem = (file: string): string => readFileSync(file, "utf8");
    const asked = request({
      host: "127.0.0.1",
      port,
      path: what.path ?? "/livez",
      method: what.method ?? "GET",
      headers: what.headers ?? {},
      agent: false,
      ...(trust === null ? {} : { ca: pem(trust) }),
      ...(own === undefined ? {} : { cert: pem(own.cert), key: pem(own.key) }),
    });
    asked.on("response", (response) => {
      const { socket } = response;
      const subject =
        "getPeerCertificate" in socket && typeof socket.getPeerCertificate === "function"
          ? (socket.getPeerCertificate() as { subject: { CN: string } }).subject.CN
          : "";
      response.resume();
      const cookies = response.headers["set-cookie"] ?? [];
      resolve({ status: response.statusCode ?? 0, certificate: subject, cookies });
    });
    asked.on("error", (error) => resolve("code" in error ? String(error.code) : error.message));
    asked.end(what.body);
  });
}

describe("HTTPS", () => {
  it("serves whoever trusts its signer, and nobody is served who does not", async () => {
    server = await serverOf(fakeMember(), { tls: readTls(filesOf("one")) });
    expect(server.url).toMatch(/^https:/);
    expect(await askOver(server.port, authority.ca)).toMatchObject({
      status: 200,
      certificate: "one",
    });
    expect(await askOver(server.port, stranger.ca)).toMatch(/VERIFY|ISSUER|CERT/);
    expect(await askOver(server.port, null)).toMatch(/VERIFY|ISSUER|CERT/);
  });

  it("lives on when somebody talks HTTP or noise to it", async () => {
    const { port } = (server = await serverOf(fakeMember(), { tls: readTls(filesOf("one")) }));
    for (const noise of [
      "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
      "\u0016\u0003\u0001zzzz\r\n\r\n",
    ]) {
      await new Promise<void>((resolve) => {
        const socket = connect(port, "127.0.0.1", () => socket.end(noise));
        socket.on("error", () => resolve());
        socket.on("close", () => resolve());
        socket.resume();
      });
    }
    expect(await askOver(port, authority.ca)).toMatchObject({ status: 200 });
  });

  it("asks for a certificate where it must, and takes only one of its signer", async () => {
    const tls = readTls(filesOf("strict", "require"));
    const { port } = (server = await serverOf(fakeMember(), { tls }));
    expect(await askOver(port, authority.ca)).toMatch(/CERTIFICATE|ECONNRESET|EPIPE/);
    expect(await askOver(port, authority.ca, stranger.issue("foreign"))).toMatch(
      /UNKNOWN_CA|CERTIFICATE|ECONNRESET|EPIPE/,
    );
    expect(await askOver(port, authority.ca, authority.issue("client"))).toMatchObject({
      status: 200,
    });
  });

  it("logs browsers in with a cookie that no page without TLS can set or get", async () => {
    const { port } = (server = await serverOf(fakeMember(), { tls: readTls(filesOf("one")) }));
    const body = JSON.stringify({ token: ADMIN_TOKEN });
    const asked = { method: "POST", path: "/v1/login", headers: JSON_HEADERS, body };
    const { cookies } = (await askOver(port, authority.ca, undefined, asked)) as Shown;
    expect(cookies).toEqual([
      expect.stringMatching(
        /^__Host-quorate_login_\d+=.* HttpOnly; SameSite=Strict; Path=\/; .*; Secure$/,
      ),
    ]);
    const [cookie = ""] = cookies[0]?.split(";", 1) ?? [];
    const reads = { path: "/v1/tokens", headers: { Cookie: cookie } };
    expect(await askOver(port, authority.ca, undefined, reads)).toMatchObject({ status: 200 });
    const bare = { path: "/v1/tokens", headers: { Cookie: cookie.replace("__Host-", "") } };
    expect(await askOver(port, authority.ca, undefined, bare)).toMatchObject({ status: 401 });
  });

  it("shows a renewed certificate to new connections", async () => {
    const { port } = (server = await serverOf(fakeMember(), { tls: readTls(filesOf("old")) }));
    server.renewTls(readTls(filesOf("new")));
    expect(await askOver(port, authority.ca)).toMatchObject({ status: 200, certificate: "new" });
  });
});

describe("clients with certificates", () => {
  const serve = async (more: Partial<TlsFiles> = {}, clients: ClientsDoor = "certificate") => {
    const files = { ...filesOf("server", "request"), clientCa: stranger.ca, ...more };
    server = await serverOf(fakeMember(), { tls: readTls(files), clients, readers: "token" });
    return { files, server };
  };
  const checkout = (port: number, own?: Own, headers: Record<string, string> = {}) =>
    askOver(port, authority.ca, own, {
      method: "POST",
      path: "/v1/authorizations",
      headers: { ...SESSION_HEADERS, ...headers },
      body: JSON.stringify(CHECKOUT),
    });

  it("check out with one of their signer's, and with nothing else", async () => {
    const { server: strict } = await serve();
    const { port } = strict;
    expect(await checkout(port, stranger.issue("ana"))).toMatchObject({ status: 201 });
    expect(await checkout(port)).toMatchObject({ status: 401 });
    expect(await checkout(port, undefined, ADMIN_HEADERS)).toMatchObject({ status: 401 });
    expect(await checkout(port, authority.issue("member"))).toMatchObject({ status: 401 });
    expect(await checkout(port, testAuthority(folder, "third").issue("x"))).toMatchObject({
      status: 401,
    });
    expect(await checkout(port, stranger.issue("old", -1))).toMatchObject({ status: 401 });
    const heartbeat = { method: "POST", path: `/v1/authorizations/${SESSION}/heartbeat` };
    const asked = { ...heartbeat, headers: SESSION_HEADERS, body: "{}" };
    expect(await askOver(port, authority.ca, undefined, asked)).toMatchObject({ status: 401 });
    expect(await askOver(port, authority.ca, stranger.issue("ana"), asked)).toMatchObject({
      status: 200,
    });
  });

  it("read what they need, and not who uses what", async () => {
    const { port } = (await serve()).server;
    const own = stranger.issue("ana");
    const read = (path: string) => askOver(port, authority.ca, own, { path });
    expect(await read("/v1/pool")).toMatchObject({ status: 200 });
    expect(await read("/v1/authorizations")).toMatchObject({ status: 401 });
    expect(await read("/v1/tokens")).toMatchObject({ status: 401 });
  });

  it("may have a token instead where both will do", async () => {
    const { port } = (await serve({}, "token")).server;
    expect(await checkout(port, stranger.issue("ana"))).toMatchObject({ status: 201 });
    expect(await checkout(port, undefined, ADMIN_HEADERS)).toMatchObject({ status: 201 });
    expect(await checkout(port)).toMatchObject({ status: 401 });
  });

  it("are those of the new signer once its file was replaced", async () => {
    const { files, server: strict } = await serve();
    const next = testAuthority(folder, "next-signer");
    strict.renewTls(readTls({ ...files, clientCa: next.ca }));
    expect(await checkout(strict.port, next.issue("ana"))).toMatchObject({ status: 201 });
    expect(await checkout(strict.port, stranger.issue("ana"))).toMatchObject({ status: 401 });
  });
});

describe("the certificate's files", () => {
  it("are refused in words when they do not fit together", () => {
    const files = filesOf("fits");
    const other = authority.issue("other");
    expect(() => readTls({ ...files, key: other.key })).toThrow(
      /is not the key of the certificate/,
    );
    expect(() => readTls({ ...files, cert: files.key })).toThrow(/holds no certificate/);
    expect(() => readTls({ ...files, key: join(folder, "none") })).toThrow(/no such file/);
    expect(() => readTls({ ...files, ca: null, clientAuth: "require" })).toThrow(/--tls-ca/);
  });

  it("are taken in when they change, and never half", async () => {
    const files = filesOf("watched");
    const onRenewed = vi.fn();
    const troubles: (string | null)[] = [];
    const listener = { onRenewed, onTrouble: (words: string | null) => troubles.push(words) };
    const watch = watchTls(files, readTls(files), listener, 5);
    const next = authority.issue("next");
    writeFileSync(files.cert, readFileSync(next.cert));
    await vi.waitFor(() => expect(troubles.at(-1)).toMatch(/old one stays in use.*is not the key/));
    expect(onRenewed).not.toHaveBeenCalled();
    writeFileSync(files.key, readFileSync(next.key));
    await vi.waitFor(() => expect(troubles.at(-1)).toBeNull());
    expect(onRenewed).toHaveBeenCalledOnce();
    watch.close();
  });

  it("raise an alarm some days before the certificate ends", () => {
    const files = filesOf("short", "none", 3);
    const onTrouble = vi.fn();
    watchTls(files, readTls(files), { onRenewed: vi.fn(), onTrouble }).close();
    expect(onTrouble).toHaveBeenCalledWith(expect.stringMatching(/ends at .*renew it/));
  });
});
