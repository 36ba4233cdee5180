/**
 * TLS of one member: the same certificate serves clients and members, and is shown to members that ask for
 * one. The files are looked at regularly, so that a renewed certificate needs no restart; connections that
 * are open keep the one they began with.
 *
 * Files that do not fit together are never taken: the certificate in use stays, and an alarm says so.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server, ServerOptions } from "node:http";
import { createServer as createSecureServer, Server as SecureServer } from "node:https";
import { createSecureContext } from "node:tls";
import { fileTrouble, ForPeople } from "../keys/for-people.ts";

export type ClientAuth = "none" | "request" | "require";

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** Who signs the certificates of members and clients; null: members' are checked against the system's list. */
  readonly ca: string | null;
  /** Who signs the certificates of clients, if it is somebody else: then a server's certificate is none of a client. */
  readonly clientCa?: string | null;
  readonly clientAuth: ClientAuth;
}

/** The same as PEM texts that were found to fit together. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | null;
  readonly clientCa: string | null;
  readonly clientAuth: ClientAuth;
  readonly expiresAtMs: number;
}

const TLS_LOOK_MS = 2_000;
/** Whoever renews by hand needs some days; machines renew a month before. */
const EXPIRY_WARNING_MS = 14 * 24 * 3_600_000;
const HANDSHAKE_MS = 10_000;

/** Throws `ForPeople` with what is wrong. */
export function readTls(files: TlsFiles): TlsMaterial {
  const read = (path: string): string => {
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      throw fileTrouble("read", path, error);
    }
  };
  const { ca, clientCa = null } = files;
  return checked(files, {
    cert: read(files.cert),
    key: read(files.key),
    ca: ca === null ? null : read(ca),
    clientCa: clientCa === null ? null : read(clientCa),
  });
}

type Texts = Pick<TlsMaterial, "cert" | "key" | "ca" | "clientCa">;

function checked(files: TlsFiles, texts: Texts): TlsMaterial {
  const { cert, key, ca, clientCa } = texts;
  if (files.clientAuth !== "none" && ca === null && clientCa === null) {
    throw new ForPeople(
      "to check the certificates of clients, name who signs them: --client-ca or --tls-ca",
    );
  }
  const parsed = attempt(
    files.cert,
    "holds no certificate in PEM",
    () => new X509Certificate(cert),
  );
  const secret = attempt(files.key, "holds no private key in PEM", () => createPrivateKey(key));
  if (!parsed.checkPrivateKey(secret)) {
    throw new ForPeople(`${files.key} is not the key of the certificate in ${files.cert}`);
  }
  for (const [file, text] of [
    [files.ca, ca],
    [files.clientCa ?? null, clientCa],
  ]) {
    if (file == null || text == null) continue;
    attempt(file, "holds no certificate in PEM", () => new X509Certificate(text));
  }
  attempt(files.cert, "cannot be used for TLS", () =>
    createSecureContext(contextOf({ cert, key, ca })),
  );
  const expiresAtMs = parsed.validToDate.getTime();
  return { ...texts, clientAuth: files.clientAuth, expiresAtMs };
}

function attempt<Value>(file: string, words: string, make: () => Value): Value {
  try {
    return make();
  } catch {
    // OpenSSL's own words speak of its routines.
    throw new ForPeople(`${file} ${words}`);
  }
}

/** What TLS needs of the material; a missing list of signers means the system's. */
export function contextOf(material: Pick<TlsMaterial, "cert" | "key" | "ca">): {
  cert: string;
  key: string;
  ca?: string;
} {
  const { cert, key, ca } = material;
  return { cert, key, ...(ca === null ? {} : { ca }) };
}

/** The same for who is called: whose certificates it believes is not whom it trusts when it calls. */
function serverContextOf(tls: TlsMaterial): ReturnType<typeof contextOf> {
  return contextOf({ ...tls, ca: tls.clientCa ?? tls.ca });
}

/** A server for HTTP, or for HTTPS where there is a certificate. */
export function createWebServer(tls: TlsMaterial | null, options: ServerOptions): Server {
  if (tls === null) return createServer(options);
  return createSecureServer({
    ...options,
    ...serverContextOf(tls),
    handshakeTimeout: HANDSHAKE_MS,
    requestCert: tls.clientAuth !== "none",
    rejectUnauthorized: tls.clientAuth === "require",
  });
}

/** New connections get the new certificate. */
export function renewTls(server: Server, tls: TlsMaterial): void {
  if (server instanceof SecureServer) server.setSecureContext(serverContextOf(tls));
}

export interface TlsWatch {
  close(): void;
}

export interface TlsListener {
  onRenewed(material: TlsMaterial): void;
  /** What an administrator should read; null: all is well. */
  onTrouble(sentence: string | null): void;
}

export function watchTls(
  files: TlsFiles,
  first: TlsMaterial,
  listener: TlsListener,
  lookMs = TLS_LOOK_MS,
): TlsWatch {
  let inUse = first;
  let closed = false;
  let timer: NodeJS.Timeout | null = null;
  let lastTrouble: string | null = null;

  /** Null when the files hold what is in use. */
  const readAnew = async (): Promise<TlsMaterial | null> => {
    const read = (path: string): Promise<string> =>
      readFile(path, "utf8").catch((error: unknown) => {
        throw fileTrouble("read", path, error);
      });
    const readIf = (path: string | null | undefined): Promise<string> | null =>
      path == null ? null : read(path);
    const [cert, key, ca, clientCa] = await Promise.all([
      read(files.cert),
      read(files.key),
      readIf(files.ca),
      readIf(files.clientCa),
    ]);
    const isSame = cert === inUse.cert && key === inUse.key && ca === inUse.ca;
    if (isSame && clientCa === inUse.clientCa) return null;
    return checked(files, { cert, key, ca, clientCa });
  };
  const look = async (): Promise<void> => {
    let trouble: string | null = null;
    try {
      const material = await readAnew();
      if (closed) return;
      if (material !== null) {
        inUse = material;
        listener.onRenewed(material);
      }
    } catch (error) {
      if (!(error instanceof ForPeople)) throw error;
      trouble = `the new certificate is not taken, the old one stays in use: ${error.message}`;
    }
    // Two files are not replaced in one moment: what does not fit at one look may fit at the next.
    if (trouble === null || trouble === lastTrouble) {
      listener.onTrouble(trouble ?? expiryWords(files, inUse, Date.now()));
    }
    lastTrouble = trouble;
    plan();
  };
  const plan = (): void => {
    if (closed) return;
    timer = setTimeout(() => void look(), lookMs);
    timer.unref();
  };

  listener.onTrouble(expiryWords(files, first, Date.now()));
  plan();
  return {
    close: () => {
      closed = true;
      if (timer !== null) clearTimeout(timer);
    },
  };
}

function expiryWords(files: TlsFiles, material: TlsMaterial, nowMs: number): string | null {
  const leftMs = material.expiresAtMs - nowMs;
  if (leftMs > EXPIRY_WARNING_MS) return null;
  const at = new Date(material.expiresAtMs).toISOString();
  return leftMs > 0
    ? `the certificate in ${files.cert} ends at ${at}; renew it, no restart is needed`
    : `the certificate in ${files.cert} ended at ${at}: clients refuse it; renew it, no restart is needed`;
}
