/**
 * The store's options of `quorate serve`: a SQLite file on one machine, or etcd for several, with a member of it
 * on each machine that the server itself looks after, or one that exists anyway.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { parseEtcdStore, type StoreChoice } from "@quorate/server";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";

export interface StoreFlags {
  readonly data: string;
  readonly store?: string;
  readonly storeFrom?: string;
  readonly etcdCa?: string;
  readonly etcdCert?: string;
  readonly etcdKey?: string;
  readonly etcdUser?: string;
  readonly etcdPasswordFile?: string;
  readonly etcdPrefix?: string;
  readonly etcdData?: string;
  readonly etcdReplaces?: string;
}

export function storeOptions(command: Command): Command {
  return command
    .option(
      "--store <KIND:WHERE>",
      "what the pool's servers share: sqlite:FILE on one machine; on several etcd:URL,URL,… or, with an etcd member that the server starts itself, etcd+managed:ID=https://HOST:2380,… (default: sqlite, <data>/store.db)",
    )
    .option(
      "--store-from <sqlite:FILE>",
      "move the pool's store from that file into --store etcd…, with every session; all its servers must be stopped. Does nothing once that is done",
    )
    .option("--etcd-ca <FILE>", "certificate of the authority that signed etcd's, in PEM")
    .option("--etcd-cert <FILE>", "certificate to show to etcd, in PEM")
    .option("--etcd-key <FILE>", "private key of that certificate, in PEM")
    .option("--etcd-user <NAME>", "user to etcd")
    .option("--etcd-password-file <FILE>", "file with that user's password")
    .option(
      "--etcd-prefix <NAME>",
      "this pool's own part of etcd, if several pools share it (default: pool)",
    )
    .option(
      "--etcd-data <DIR>",
      "etcd+managed: folder of this machine's etcd (default: <data>/etcd)",
    )
    .option(
      "--etcd-replaces <ID>",
      "etcd+managed: the dead server in whose place among the etcd members this one comes",
    );
}

export function storeFrom(flags: StoreFlags): StoreChoice {
  const { store = "" } = flags;
  const endpoints = parseEtcdStore(store);
  if (endpoints !== null) return { kind: "etcd", etcd: { endpoints, ...etcdOptions(flags) } };
  const given = Object.keys(flags).find((name) => name.startsWith("etcd"));
  if (given !== undefined) {
    throw new Failure("the options --etcd-… need --store etcd:URL,URL,…", EXIT.usage);
  }
  if (flags.store === undefined) return { kind: "sqlite", file: join(flags.data, "store.db") };
  const match = /^sqlite:(.+)$/.exec(store);
  if (match?.[1] === undefined) {
    throw new Failure(
      `"${store}" is no store; write it as sqlite:FILE or etcd:URL,URL,…`,
      EXIT.usage,
    );
  }
  return { kind: "sqlite", file: resolve(match[1]) };
}

/** The file that the store is moved from; null: it is not moved. */
export function storeFileToMove({ store = "", storeFrom }: StoreFlags): string | null {
  if (storeFrom === undefined) return null;
  const match = /^sqlite:(.+)$/.exec(storeFrom);
  if (match?.[1] === undefined || !store.startsWith("etcd")) {
    throw new Failure(
      "--store-from sqlite:FILE needs --store etcd:… or etcd+managed:…",
      EXIT.usage,
    );
  }
  return resolve(match[1]);
}

function etcdOptions(flags: StoreFlags) {
  const { etcdCa: ca, etcdCert: cert, etcdKey: key } = flags;
  const { etcdUser: user, etcdPasswordFile: file, etcdPrefix: prefix } = flags;
  return {
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    },
    ...(user === undefined ? {} : { user }),
    ...(file === undefined ? {} : { password: passwordFrom(file) }),
    ...(prefix === undefined ? {} : { prefix }),
  };
}

function passwordFrom(file: string): string {
  let text: string;
  try {
    // Editors end the file with a line end, which is no part of the password.
    text = readFileSync(file, "utf8").replace(/\r?\n$/, "");
  } catch {
    throw new Failure(`cannot read etcd's password from ${file}`);
  }
  if (text === "") throw new Failure(`${file} holds no password`);
  return text;
}
