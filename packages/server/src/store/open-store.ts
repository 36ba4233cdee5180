/** Which store a pool shares, chosen when a member starts. */
import type { EtcdStoreOptions } from "./etcd-options.ts";
import { openSqliteStore } from "./sqlite-store.ts";
import type { Store } from "./store.ts";

export type StoreChoice =
  | { readonly kind: "sqlite"; readonly file: string }
  | { readonly kind: "etcd"; readonly etcd: Omit<EtcdStoreOptions, "onWarning"> };

/** Rejects with StoreLostError, EtcdSetupError or Error, each with words for people. */
export async function openStore(
  choice: StoreChoice,
  onWarning: (sentence: string) => void,
): Promise<Store> {
  if (choice.kind === "sqlite") return openSqliteStore(choice.file);
  // Loaded only now: gRPC takes longer to load than the rest of a member.
  const { openEtcdStore } = await import("./etcd-store.ts");
  return openEtcdStore({ ...choice.etcd, onWarning });
}
