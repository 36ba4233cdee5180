/**
 * What somebody is counted by who has proved nothing: the address, or of IPv6 the network that a site hands to one
 * machine. A machine there has 2^64 addresses, and would have as many shares and as many guesses.
 */

const IPV6_GROUPS = 8;
const NETWORK_GROUPS = 4;
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** The IPv4 address, also of one that is written as IPv6; else the first 64 bits, with the link if it has one. */
export function addressKey(address: string | undefined): string {
  if (address === undefined) return "";
  if (!address.includes(":")) return address;
  const mapped = MAPPED.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  // A link's own addresses are the same on every link: `fe80::1%eth0`.
  const [plain = "", link] = address.split("%", 2);
  const [before = "", after] = plain.split("::", 2);
  const first = before === "" ? [] : before.split(":");
  const last = after === undefined || after === "" ? [] : after.split(":");
  const left = after === undefined ? 0 : IPV6_GROUPS - first.length - last.length;
  const groups = [...first, ...Array.from({ length: Math.max(0, left) }, () => "0"), ...last];
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => parseInt(group, 16).toString(16));
  return `${network.join(":")}::/64${link === undefined ? "" : `%${link}`}`;
}

/** Whoever is on this machine: a proxy or a busy build host is one address. */
export function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.") || address.startsWith("::ffff:127.");
}
