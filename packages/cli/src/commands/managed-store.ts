/** The store of `quorate serve` with what it takes to have one: with etcd+managed, this machine's etcd member. */
import { isIP } from "node:net";
import { join, resolve } from "node:path";
import type { StoreChoice } from "@quorate/server";
import type { ManagedCluster } from "@quorate/server/managed-etcd";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { type StoreFlags, storeFrom } from "./store-option.ts";

export interface RunningStore {
  readonly choice: StoreChoice;
  /** Ends what was started for it; after the server, which needs the store to its last moment. */
  stop(): Promise<void>;
}

/** Waits until a majority of the etcd members is up; SIGTERM and SIGINT end the wait and what was started. */
export async function startStore(
  flags: StoreFlags & { readonly insecure?: boolean },
  id: string,
  warn: (sentence: string) => void,
): Promise<RunningStore> {
  const { etcdData, etcdReplaces, store = "", ...rest } = flags;
  if (!store.startsWith("etcd+managed:")) {
    if (etcdData === undefined && etcdReplaces === undefined) {
      return { choice: storeFrom(flags), stop: async () => undefined };
    }
    throw new Failure("--etcd-data and --etcd-replaces need --store etcd+managed:…", EXIT.usage);
  }
  if (flags.etcdUser !== undefined) {
    throw new Failure(
      "etcd+managed is guarded by certificates, not by users; leave --etcd-user out",
      EXIT.usage,
    );
  }
  // Loaded only now: a pool on one machine does without.
  const { EtcdKeptError, parseManagedEtcd, startManagedEtcd } =
    await import("@quorate/server/managed-etcd");
  const cluster = parseManagedEtcd(store) ?? { members: [] };
  refuseOpenTraffic(cluster, flags.insecure === true);
  const { etcdCa: ca, etcdCert: cert, etcdKey: key } = flags;
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  try {
    const etcd = await startManagedEtcd(
      {
        cluster,
        name: id,
        folder: resolve(etcdData ?? join(flags.data, "etcd")),
        tls: {
          ...(ca === undefined ? {} : { ca }),
          ...(cert === undefined ? {} : { cert }),
          ...(key === undefined ? {} : { key }),
        },
        replaces: etcdReplaces ?? null,
        warn,
        onOutput: (text) => process.stderr.write(text),
      },
      stopping.signal,
    );
    const choice = storeFrom({ ...rest, store: `etcd:${etcd.endpoints.join(",")}` });
    return { choice, stop: () => etcd.stop() };
  } catch (error) {
    if (error instanceof EtcdKeptError) throw new Failure(error.message, EXIT.memberLives);
    throw error;
  } finally {
    process.off("SIGTERM", stop);
    process.off("SIGINT", stop);
  }
}

function refuseOpenTraffic({ members }: ManagedCluster, insecure: boolean): void {
  const open = members.find(({ peerUrl }) => {
    const { protocol, hostname } = new URL(peerUrl);
    const here = hostname === "localhost" || hostname === "[::1]";
    return protocol === "http:" && !here && !(isIP(hostname) === 4 && hostname.startsWith("127."));
  });
  if (open === undefined || insecure) return;
  throw new Failure(
    `${open.peerUrl} is not encrypted and anybody who reaches it may write the pool's store; use https with --etcd-ca, --etcd-cert and --etcd-key, or add --insecure`,
    EXIT.usage,
  );
}
