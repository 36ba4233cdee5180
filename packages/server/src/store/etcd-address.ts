/**
 * The addresses of an etcd cluster as people write them. Apart from the rest, so that a pool without etcd does
 * not load gRPC.
 */
import { ForPeople } from "../keys/for-people.ts";

/** The way to etcd is set up wrongly, and waiting does not mend it; the message says what to do. */
export class EtcdSetupError extends ForPeople {}

const PORT_DEFAULT = 2379;

/** Endpoints of `etcd:https://h1:2379,https://h2:2379`. Null when it is another kind of store. */
export function parseEtcdStore(text: string): readonly string[] | null {
  const match = /^etcd:(.*)$/.exec(text);
  return match === null ? null : match[1]!.split(",").map(etcdAddress);
}

/** In one form: scheme, host and port. */
export function etcdAddress(endpoint: string): string {
  const match = /^(https?):\/\/([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?\/?$/.exec(
    endpoint.trim(),
  );
  if (match === null || Number(match[3] ?? 0) > 65_535) {
    // What follows an "@" may be quoted; what stands before it is a password.
    const shown = endpoint.replace(/\/\/.*@/, "//");
    throw new EtcdSetupError(
      `"${shown}" is no address of etcd; write it as https://HOST:${PORT_DEFAULT}, without a user, a path or a query`,
    );
  }
  return `${match[1]}://${match[2]}:${match[3] ?? PORT_DEFAULT}`;
}
