import { afterAll, beforeAll, describe } from "vitest";
import { openEtcdStore } from "./etcd-store.ts";
import { RealEtcd, whyNoEtcd } from "./real-etcd.ts";
import { storeConformance } from "./store.conformance.ts";

let etcd: RealEtcd;
let pools = 0;

describe.skipIf(whyNoEtcd() !== null)("on one real etcd", () => {
  beforeAll(async () => {
    etcd = await RealEtcd.start({ members: 1 });
  });
  afterAll(() => etcd.stop());

  storeConformance("etcd", async () => {
    const prefix = `conformance-${(pools += 1)}`;
    return {
      handle: () => openEtcdStore({ endpoints: etcd.urls, prefix }),
      remove: async () => {},
    };
  });
});
