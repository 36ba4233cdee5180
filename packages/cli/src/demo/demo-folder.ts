/** Everything on disk that a pool of three needs, made anew: keys, two licenses, a token, three data folders. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { LIFE_IN_LEASES_MIN } from "@quorate/core";
import { openMemberFolder, readPublicKey } from "@quorate/server/keys";
import { certify } from "../commands/member.ts";
import { signedLicense } from "../commands/vendor.ts";
import { Failure } from "../failure.ts";
import { makeKeyPair } from "../key-pair.ts";

export interface DemoServer {
  readonly id: string;
  readonly url: string;
  /** The words after `quorate` that start it; at the first time, the license is added. */
  readonly words: readonly string[];
  readonly logFile: string;
}

export interface DemoFolder {
  readonly path: string;
  readonly vendorKeyFile: string;
  readonly tokenFile: string;
  readonly licenseFile: string;
  /** The next license, with more seats, to be installed by whoever tries the demo. */
  readonly biggerLicenseFile: string;
  readonly servers: readonly DemoServer[];
}

const HOST = "127.0.0.1";
const IDS = ["a", "b", "c"] as const;
const PORT_MAX = 65_535;
/** Short, so that a demo shows what happens after a life; the protocol's usual one is a minute. */
const LIFE_MS_LEAST = 15_000;
const DAY_MS = 24 * 3_600_000;

export async function makeDemoFolder(
  path: string,
  portBase: number,
  leaseMs: number,
): Promise<DemoFolder> {
  const at = (name: string): string => join(path, name);
  if (existsSync(at("vendor.key"))) {
    throw new Failure(`${path} holds a demo already; name another folder or remove it`);
  }
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const { publicFile: vendorKeyFile } = makeKeyPair(path, "vendor");
  makeKeyPair(path, "pool");
  const lifeMs = Math.max(LIFE_MS_LEAST, LIFE_IN_LEASES_MIN * leaseMs);
  const licenseFile = writeLicense(path, 1, { cad: 30, sim: 8, solver: 3 }, lifeMs);
  const biggerLicenseFile = writeLicense(path, 2, { cad: 40, sim: 12, solver: 5 }, lifeMs);
  const tokenFile = at("admin.token");
  writeFileSync(tokenFile, `${randomBytes(24).toString("base64url")}\n`, { mode: 0o600 });
  const ports = await freePorts(portBase, IDS.length);
  const servers = IDS.map((id, index): DemoServer => {
    const port = ports[index] ?? 0;
    certify(openMemberFolder(at(id), id, id), at("pool.key"));
    const flags = {
      data: at(id),
      listen: `${HOST}:${port}`,
      "vendor-key": vendorKeyFile,
      store: `sqlite:${at("store.db")}`,
      "admin-token-file": tokenFile,
      "lease-ms": String(leaseMs),
    };
    const words = [
      "serve",
      ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]),
    ];
    return { id, url: `http://${HOST}:${port}`, words, logFile: at(`${id}.log`) };
  });
  return { path, vendorKeyFile, tokenFile, licenseFile, biggerLicenseFile, servers };
}

function writeLicense(
  folder: string,
  sequence: number,
  seats: Readonly<Record<string, number>>,
  lifeMs: number,
): string {
  const inDays = (days: number): string => new Date(Date.now() + days * DAY_MS).toISOString();
  const document = {
    quorate: 1,
    id: "DEMO",
    vendor: "Example Vendor",
    customer: "Example Customer",
    sequence,
    pool: { name: "demo", size: IDS.length, key: readPublicKey(join(folder, "pool.pub")) },
    features: Object.entries(seats).map(([name, count]) => ({
      name,
      version: "2026.1",
      seats: count,
      lifeMs,
      ...(name === "sim" ? { expires: inDays(90) } : {}),
    })),
  };
  const file = join(folder, `license-${sequence}.json`);
  const { text } = signedLicense(file, JSON.stringify(document), join(folder, "vendor.key"));
  writeFileSync(file, text);
  return file;
}

/** From `base` on, leaving out what is in use; 0 lets the system choose. */
async function freePorts(base: number, count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  for (let port = base; ports.length < count; port = base === 0 ? 0 : port + 1) {
    if (port > PORT_MAX) throw new Failure(`there are no free ports from ${base} on`);
    const free = await tryPort(port);
    if (free !== null && !ports.includes(free)) ports.push(free);
  }
  return ports;
}

function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(null));
    probe.listen(port, HOST, () => {
      const address = probe.address();
      const found = typeof address === "object" && address !== null ? address.port : null;
      probe.close(() => resolve(found));
    });
  });
}
