/**
 * The etcd cluster of a pool whose servers look after it themselves, as people write it:
 * `etcd+managed:a=https://h1:2380,b=https://h2:2380,c=https://h3:2380`, the same value on every machine. A name
 * is the id of the license server on that machine; the URL is where its etcd hears the other etcd members, and
 * one port below it hears its clients (2380 and 2379 are etcd's own).
 */
import { EtcdSetupError } from "./etcd-address.ts";

export interface ManagedCluster {
  readonly members: readonly ManagedMember[];
}

export interface ManagedMember {
  readonly name: string;
  readonly peerUrl: string;
  readonly clientUrl: string;
}

const MEMBERS_MAX = 7;

/** Null when it is another kind of store. Throws EtcdSetupError for what can't be meant. */
export function parseManagedEtcd(text: string): ManagedCluster | null {
  const match = /^etcd\+managed:(.*)$/.exec(text);
  if (match === null) return null;
  const members = match[1]!.split(",").map(memberFrom);
  if (members.length > MEMBERS_MAX) {
    throw new EtcdSetupError(`etcd with more than ${MEMBERS_MAX} members only gets slower`);
  }
  for (const field of ["name", "peerUrl"] as const) {
    const all = members.map((member) => member[field]);
    const twice = all.find((each, index) => all.indexOf(each) !== index);
    if (twice !== undefined) throw new EtcdSetupError(`"${twice}" stands twice in ${text}`);
  }
  if (new Set(members.map(({ peerUrl }) => new URL(peerUrl).protocol)).size > 1) {
    throw new EtcdSetupError("the etcd members are either all http or all https");
  }
  return { members };
}

function memberFrom(text: string): ManagedMember {
  const match =
    /^([A-Za-z0-9._-]+)=((https?):\/\/([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):(\d{2,5}))\/?$/.exec(
      text.trim(),
    );
  const [, name, peerUrl, scheme, host, port] = match ?? [];
  if (name === undefined || peerUrl === undefined || Number(port) > 65_535) {
    throw new EtcdSetupError(
      `"${text}" is no etcd member; write it as NAME=https://HOST:2380, where NAME is the server's id`,
    );
  }
  return { name, peerUrl, clientUrl: `${scheme}://${host}:${Number(port) - 1}` };
}
