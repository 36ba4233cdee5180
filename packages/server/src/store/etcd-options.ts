/** How a pool's etcd is named and reached: what the command line gives, checked and in one form. */
import { readFileSync } from "node:fs";
import { ChannelCredentials } from "@grpc/grpc-js";
import { EtcdSetupError, etcdAddress } from "./etcd-address.ts";
import type { EtcdUser } from "./etcd-client.ts";

export interface EtcdStoreOptions {
  /** `http://host:port` or `https://host:port`, in the order in which they are tried. */
  readonly endpoints: readonly string[];
  /** The pool's own part of etcd: a name below `/quorate/`, or a whole prefix that begins with `/`. */
  readonly prefix?: string;
  readonly tls?: EtcdTlsFiles;
  readonly user?: string;
  readonly password?: string;
  /** Told while opening of members that are away or set up wrongly; the others are enough. */
  readonly onWarning?: (sentence: string) => void;
}

/** Files in PEM. Without `ca` the authorities that Node knows. */
export interface EtcdTlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

const PREFIX_DEFAULT = "pool";
const PREFIX_CHARACTERS_MAX = 200;
const ENDPOINTS_MAX = 20;

/** Throws EtcdSetupError for what can't be meant or files that can't be used. */
export function checked(options: EtcdStoreOptions): {
  readonly endpoints: readonly string[];
  readonly root: string;
  readonly user: EtcdUser | null;
  readonly credentials: (url: string) => ChannelCredentials;
} {
  const endpoints = options.endpoints.map(etcdAddress);
  if (endpoints.length === 0 || endpoints.length > ENDPOINTS_MAX) {
    throw new EtcdSetupError(`give 1 to ${ENDPOINTS_MAX} addresses of etcd`);
  }
  const insecure = ChannelCredentials.createInsecure();
  const secure = endpoints.some((url) => url.startsWith("https:"))
    ? secureCredentials(options.tls ?? {})
    : insecure;
  return {
    endpoints,
    root: rootOf(options.prefix ?? PREFIX_DEFAULT),
    user: userOf(options),
    credentials: (url) => (url.startsWith("https:") ? secure : insecure),
  };
}

/** Keys of the pool all begin with it. */
function rootOf(prefix: string): string {
  const root = (prefix.startsWith("/") ? prefix : `/quorate/${prefix}`).replace(/\/*$/, "/");
  if (root === "/" || root.length > PREFIX_CHARACTERS_MAX || !/^[\x21-\x7e]+$/.test(root)) {
    throw new EtcdSetupError(
      `"${prefix}" can't be a prefix of keys; use 1 to ${PREFIX_CHARACTERS_MAX} letters, digits, "-", "_" and "/"`,
    );
  }
  return root;
}

function userOf({ user, password }: EtcdStoreOptions): EtcdUser | null {
  if (user === undefined && password === undefined) return null;
  if (user === undefined || password === undefined) {
    throw new EtcdSetupError("give --etcd-user and --etcd-password-file together");
  }
  return { name: user, password };
}

function secureCredentials({ ca, cert, key }: EtcdTlsFiles): ChannelCredentials {
  if ((cert === undefined) !== (key === undefined)) {
    throw new EtcdSetupError("give --etcd-cert and --etcd-key together");
  }
  const files = [ca, key, cert].map((file) => (file === undefined ? null : read(file)));
  try {
    return ChannelCredentials.createSsl(files[0], files[1], files[2]);
  } catch (error) {
    throw new EtcdSetupError(
      `the certificate files for etcd don't go together: ${wordsOf(error)}. Check --etcd-ca, --etcd-cert and --etcd-key`,
      { cause: error },
    );
  }
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new EtcdSetupError(`a certificate file of etcd can't be read: ${wordsOf(error)}`, {
      cause: error,
    });
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
