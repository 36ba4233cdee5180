import { describe, expect, it } from "vitest";
import { addressKey } from "./client-address.ts";

describe("whoever is counted by an address", () => {
  it("is one of IPv4, however it is written", () => {
    for (const [address, key] of [
      ["10.0.0.1", "10.0.0.1"],
      ["::ffff:10.0.0.1", "10.0.0.1"],
      ["::FFFF:10.0.0.1", "10.0.0.1"],
      ["::ffff:10.0.0.2", "10.0.0.2"],
      [undefined, ""],
    ] as const) {
      expect(addressKey(address)).toBe(key);
    }
  });

  it("is one network of IPv6, however its addresses are written", () => {
    const same = [
      "2001:db8:0:7::1",
      "2001:db8:0:7::",
      "2001:db8::7:1:2:3:4",
      "2001:db8:0:7:ffff:ffff:ffff:ffff",
      "2001:0DB8:0000:0007:0:0:0:9",
    ];
    for (const address of same) expect(addressKey(address)).toBe("2001:db8:0:7::/64");
    const others = ["2001:db8:0:8::1", "2001:db8:1:7::1", "2001:db8::1", "::1", "fe80::1"];
    const keys = new Set(["2001:db8:0:7::/64", ...others.map(addressKey)]);
    expect(keys.size).toBe(others.length + 1);
  });

  it("is one link, where the addresses are the link's own", () => {
    expect(addressKey("fe80::1%eth0")).toBe(addressKey("fe80::2%eth0"));
    expect(addressKey("fe80::1%eth0")).not.toBe(addressKey("fe80::1%eth1"));
  });
});
