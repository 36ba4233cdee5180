/** The options of `quorate serve` that say who may reach the server, and how. */
import { isIP } from "node:net";
import { type Command, Option } from "commander";
import type { ClientAuth, ClientsDoor, Door, TlsFiles } from "@quorate/server";
import { EXIT } from "../exit-codes.ts";
import { Failure } from "../failure.ts";

export interface GuardFlags {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly tlsClientAuth: ClientAuth;
  readonly clientCa?: string;
  readonly insecure?: boolean;
  readonly clients?: ClientsDoor;
  readonly readers?: Door;
}

export interface Guard {
  readonly tls: TlsFiles | null;
  readonly insecure: boolean;
  readonly clients: ClientsDoor;
  readonly readers: Door;
}

const DOORS: readonly Door[] = ["open", "token"];
const CLIENTS_DOORS: readonly ClientsDoor[] = [...DOORS, "certificate"];

export function guardOptions(command: Command): Command {
  return command
    .option("--tls-cert <FILE>", "this server's certificate and its chain, PEM: serves HTTPS")
    .option("--tls-key <FILE>", "the certificate's private key, PEM")
    .option(
      "--tls-ca <FILE>",
      "who signs the servers' certificates, and clients' without --client-ca, PEM",
    )
    .addOption(
      new Option(
        "--tls-client-auth <WHEN>",
        "whether whoever connects shows a certificate; with --client-ca or --clients certificate it is asked for in any case",
      )
        .choices(["none", "request", "require"])
        .default("none"),
    )
    .addOption(
      new Option(
        "--clients <WHO>",
        "who may check out: everybody, who has a token or certificate, or who has a certificate (default: open on this machine or with --insecure, else token)",
      ).choices(CLIENTS_DOORS),
    )
    .option("--client-ca <FILE>", "who signs clients' certificates, if not --tls-ca, PEM")
    .addOption(
      new Option("--readers <WHO>", "who may see the pool and its users; the same default").choices(
        DOORS,
      ),
    )
    .option(
      "--insecure",
      "allow an address beyond this machine although the traffic is not encrypted",
    );
}

export function guardFrom(flags: GuardFlags, host: string): Guard {
  const tls = tlsFrom(flags);
  const open = !isLoopback(host) && tls === null;
  if (open && flags.insecure !== true) {
    throw new Failure(
      `${host} can be reached from other machines and the traffic is not encrypted; use --tls-cert and --tls-key, or put TLS in front and listen on 127.0.0.1, or add --insecure`,
      EXIT.usage,
    );
  }
  const door: Door = isLoopback(host) || flags.insecure === true ? "open" : "token";
  const { clients = door, readers = door } = flags;
  return { tls, insecure: open, clients, readers };
}

function tlsFrom(flags: GuardFlags): TlsFiles | null {
  const { tlsCert, tlsKey, tlsCa, clientCa, tlsClientAuth } = flags;
  const byCertificate = flags.clients === "certificate";
  if (tlsCert === undefined && tlsKey === undefined) {
    const unused = tlsCa === undefined && clientCa === undefined && !byCertificate;
    if (unused && tlsClientAuth === "none") return null;
    throw new Failure("without --tls-cert and --tls-key there is no TLS", EXIT.usage);
  }
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new Failure("--tls-cert and --tls-key go together", EXIT.usage);
  }
  const asks = tlsClientAuth !== "none" || clientCa !== undefined || byCertificate;
  if (asks && tlsCa === undefined && clientCa === undefined) {
    const option = byCertificate ? "--clients certificate" : "--tls-client-auth";
    throw new Failure(
      `${option} needs --client-ca or --tls-ca: who signs the certificates`,
      EXIT.usage,
    );
  }
  if (tlsClientAuth === "require" && clientCa !== undefined) {
    throw new Failure(
      "with --tls-client-auth require the servers show certificates of --tls-ca to each other, which --client-ca would refuse; use --clients certificate",
      EXIT.usage,
    );
  }
  return {
    cert: tlsCert,
    key: tlsKey,
    ca: tlsCa ?? null,
    clientCa: clientCa ?? null,
    clientAuth: tlsClientAuth === "none" && asks ? "request" : tlsClientAuth,
  };
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
