/** How a pool's etcd is named and reached: what the command line gives, checked and in one form. */
import { ChannelCredentials } from "@grpc/grpc-js";
import { EtcdSetupError, etcdAddress } from "./etcd-address.ts";
import { type EtcdCertificates, type EtcdTlsFiles, readCertificates } from "./etcd-certificates.ts";
import type { EtcdUser } from "./etcd-client.ts";

export interface EtcdStoreOptions {
  /** `http://host:port` or `https://host:port`, in the order in which they are tried. */
  readonly endpoints: readonly string[];
  /** The pool's own part of etcd: a name below `/quorate/`, or a whole prefix that begins with `/`. */
  readonly prefix?: string;
  readonly tls?: EtcdTlsFiles;
  readonly user?: string;
  readonly password?: string;
  /** How often the certificate files are looked at, ms; missing: every 2 s. */
  readonly certificatesLookMs?: number;
  /** Told of certificate files that can't be used, and while opening of members that are away or set up wrongly; the others are enough. */
  readonly onWarning?: (sentence: string) => void;
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
  /** Null: no address has TLS. */
  readonly certificates: EtcdCertificates | null;
} {
  const endpoints = options.endpoints.map(etcdAddress);
  if (endpoints.length === 0 || endpoints.length > ENDPOINTS_MAX) {
    throw new EtcdSetupError(`give 1 to ${ENDPOINTS_MAX} addresses of etcd`);
  }
  const insecure = ChannelCredentials.createInsecure();
  const certificates = endpoints.some((url) => url.startsWith("https:"))
    ? readCertificates(options.tls ?? {})
    : null;
  const secure = certificates?.credentials ?? insecure;
  return {
    endpoints,
    root: rootOf(options.prefix ?? PREFIX_DEFAULT),
    user: userOf(options),
    credentials: (url) => (url.startsWith("https:") ? secure : insecure),
    certificates,
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
