/**
 * What can be wrong with etcd or with the way to it, as sentences that say what to do.
 *
 * An etcd that is merely away is no error but an unknown outcome; EtcdSetupError is for what waiting can't mend.
 */
import { status } from "@grpc/grpc-js";
import { EtcdSetupError } from "./etcd-address.ts";

/** A call that got no good answer; `code` is gRPC's status. */
export class EtcdCallError extends Error {
  override readonly name = "EtcdCallError";
  readonly code: status;
  constructor(code: status, details: string) {
    super(details);
    this.code = code;
  }
}

interface Sign {
  readonly pattern: RegExp;
  readonly sentence: (url: string) => string;
}

/** Looked through in order; what none of them fits is an etcd that is away. */
const SETUP_SIGNS: readonly Sign[] = [
  {
    pattern: /certificate has expired|certificate is not yet valid/i,
    sentence: (url) => `the certificate of ${url} is not valid now; renew it or check the clocks`,
  },
  {
    pattern: /altnames|does not match certificate/i,
    sentence: (url) =>
      `the certificate of ${url} is for another name; call etcd by a name that is in its certificate`,
  },
  {
    pattern: /self.signed certificate|unable to (verify|get)|certificate signature failure/i,
    sentence: (url) =>
      `the certificate of ${url} is not signed by a known authority; give the authority's file with --etcd-ca`,
  },
  {
    pattern:
      /alert (bad|unknown|unsupported) (certificate|ca)|certificate.required|alert number (42|48|116)/i,
    sentence: (url) =>
      `${url} refuses this server's certificate or asks for one; give one that its authority signed with --etcd-cert and --etcd-key`,
  },
  {
    pattern: /wrong version number|packet length too long|http request/i,
    sentence: (url) => `${url} does not speak TLS; write it with http:// or turn on TLS in etcd`,
  },
  {
    pattern: /ENOTFOUND|Name resolution failed/i,
    sentence: (url) => `the name in ${url} is not known; correct it or the name service`,
  },
  {
    pattern: /authentication failed, invalid user/i,
    sentence: (url) =>
      `${url} refuses the user or the password; correct --etcd-user and --etcd-password-file`,
  },
  {
    pattern: /user name is empty/i,
    sentence: (url) => `${url} asks for a user; give one with --etcd-user and --etcd-password-file`,
  },
  {
    pattern: /authentication is not enabled/i,
    sentence: (url) =>
      `${url} does not ask for users; turn that on with "etcdctl auth enable" or leave out --etcd-user`,
  },
  {
    pattern: /permission denied/i,
    sentence: (url) =>
      `the user may not read and write the pool's keys at ${url}; grant it with: etcdctl role grant-permission ROLE --prefix=true readwrite PREFIX (the prefix is --etcd-prefix)`,
  },
  {
    pattern: /database space exceeded/i,
    sentence: (url) =>
      `the database of ${url} is full; compact and defragment it, then run "etcdctl alarm disarm", and start etcd with --auto-compaction-retention`,
  },
];

const NO_ETCD = /unimplemented|HTTP status code 4|protocol error|parse error|Expected HTTP/i;
/** An etcd with TLS hangs up on plain text, and so does anything that does not speak HTTP/2. */
const HUNG_UP =
  /ECONNRESET|socket hang up|EPIPE|other side closed|goaway|session closed|Failed to connect/i;

/** Null when waiting may help. */
export function setupSentence(url: string, error: unknown): string | null {
  if (error instanceof EtcdSetupError) return error.message;
  if (!(error instanceof Error)) return null;
  for (const { pattern, sentence } of SETUP_SIGNS) {
    if (pattern.test(error.message)) return sentence(url);
  }
  if (error instanceof EtcdCallError && error.code === status.UNIMPLEMENTED) return noEtcd(url);
  return NO_ETCD.test(error.message) ? noEtcd(url) : null;
}

/** For an `unknown` outcome. */
export function awaySentence(url: string, error: unknown): string {
  const setup = setupSentence(url, error);
  if (setup !== null) return setup;
  const details = error instanceof Error ? error.message : String(error);
  if (/ECONNREFUSED/.test(details)) {
    return `nothing listens at ${url}; is etcd running there, and is that its client URL?`;
  }
  if (HUNG_UP.test(details)) {
    return url.startsWith("http:")
      ? `${url} hung up; if its etcd uses TLS, write it with https://`
      : `${url} hung up; if its etcd asks for client certificates, give one with --etcd-cert and --etcd-key`;
  }
  return `${url}: ${details}`;
}

function noEtcd(url: string): string {
  return `what answers at ${url} is no etcd of version 3.4 or later; give the client URLs of etcd (its port is usually 2379)`;
}

/** etcd refused the token that came with a call; nothing was done. */
export function isStaleToken(error: unknown): boolean {
  return (
    error instanceof EtcdCallError &&
    (error.code === status.UNAUTHENTICATED ||
      /invalid auth token|revision of auth store is old|revision in header is old/.test(
        error.message,
      ))
  );
}

/** etcd's interceptor answers so BEFORE it looks at a request: nothing was done, another member may do it. */
export function isRefusedUndone(error: unknown): boolean {
  return (
    error instanceof EtcdCallError &&
    /etcdserver: (no leader|rpc not supported for learner|server is not capable)|not supported for learner/.test(
      error.message,
    )
  );
}

/** Bounds of etcd's own that a transaction ran into: a mistake of the caller or of etcd's settings. */
export function boundSentence(error: unknown): string | null {
  if (!(error instanceof EtcdCallError)) return null;
  // Our own side's "Received message larger than max" is about an answer: that write may have been applied.
  if (/request is too large|^grpc: received message larger/.test(error.message)) {
    return "a transaction is larger than this etcd allows; start etcd with a larger --max-request-bytes";
  }
  if (/too many operations/.test(error.message)) {
    return "a transaction names more keys than this etcd allows; start etcd with --max-txn-ops=128 (its default) or more";
  }
  return null;
}
