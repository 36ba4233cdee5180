/** `quorate serve`: runs one member until a signal or until it must not go on. */
import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import { type Command, InvalidArgumentError } from "commander";
import {
  FolderLockedError,
  JournalFailedError,
  openMember,
  type OpenMember,
  StoreLostError,
} from "@quorate/server";
import { openMemberFolder } from "@quorate/server/keys";
import { EXIT } from "../exit-codes.ts";
import { Failure, tellWarnings } from "../failure.ts";
import { installInFolder } from "../install-in-folder.ts";
import { readLicenseFile, vendorKeyFrom } from "../license-file.ts";
import { whole } from "../option-values.ts";
import { idOfHost } from "./member.ts";
import { type GuardFlags, guardFrom, guardOptions } from "./guard-options.ts";
import { type ObserveFlags, observeFrom, observeOptions } from "./observe-options.ts";
import { type OidcFlags, oidcFrom, oidcOptions } from "./oidc-options.ts";
import { type RunningStore, startStore } from "./managed-store.ts";
import { storeFileToMove, type StoreFlags, storeOptions } from "./store-option.ts";
import { serverLog } from "../server-log.ts";
import { adminTokenFrom } from "../servers.ts";
import { startTracing, type Tracing } from "../tracing.ts";

/** Built by Vite; a server without it serves everything else. */
const CONSOLE_FOLDER = fileURLToPath(new URL("../../../console/dist", import.meta.url));
const LEASE_MS_DEFAULT = 5_000;
const LEASE_MS_MAX = 600_000;
const PRIORITY_MAX = 1_000;

interface ServeFlags extends StoreFlags, GuardFlags, OidcFlags, ObserveFlags {
  readonly listen: { readonly host: string; readonly port: number };
  readonly advertise?: string;
  readonly id?: string;
  readonly vendorKey?: string;
  readonly license?: string;
  readonly priority: number;
  readonly leaseMs: number;
  readonly adminTokenFile?: string;
}

export function serveCommand(program: Command): void {
  const command = program
    .command("serve")
    .description("Run one license server of a pool")
    .requiredOption("--data <DIR>", "this server's own folder; never share or copy it")
    .requiredOption(
      "--listen <HOST:PORT>",
      "address to listen on; port 0 lets the system choose",
      parseListen,
    )
    .option("--advertise <URL>", "what clients and the other servers call, if not the address")
    .option("--id <NAME>", "this server's name in the pool; given once, then kept in the folder")
    .option("--vendor-key <FILE>", "the vendor's public key (or QUORATE_VENDOR_KEY)")
    .option(
      "--license <FILE>",
      "license to bring to the pool; later ones: quorate license install",
    );
  observeOptions(oidcOptions(guardOptions(storeOptions(command))))
    .option(
      "--priority <N>",
      "who leads when a choice is to be made: the highest",
      whole(0, PRIORITY_MAX),
      0,
    )
    .option(
      "--lease-ms <N>",
      "how long a silent server may be taken for alive",
      whole(1, LEASE_MS_MAX),
      LEASE_MS_DEFAULT,
    )
    .option(
      "--admin-token-file <FILE>",
      "file with the administrators' token (or QUORATE_ADMIN_TOKEN_FILE)",
    )
    .action(serve);
}

async function serve(flags: ServeFlags): Promise<void> {
  const { host, port } = flags.listen;
  const guard = guardFrom(flags, host);
  const oidc = oidcFrom(flags);
  const observe = observeFrom(flags);
  const vendorKey = vendorKeyFrom(flags.vendorKey);
  if (vendorKey === null) {
    throw new Failure(
      "the vendor's public key is needed: use --vendor-key or QUORATE_VENDOR_KEY",
      EXIT.usage,
    );
  }
  const adminToken =
    flags.adminTokenFile === undefined && process.env["QUORATE_ADMIN_TOKEN_FILE"] === undefined
      ? null
      : adminTokenFrom(flags.adminTokenFile);
  const tracing = flags.otel === true ? await startTracing() : null;
  const folder = openMemberFolder(flags.data, flags.id ?? null, idOfHost(hostname()));
  tellWarnings(folder.warnings);
  const log = serverLog(folder.id);
  const storeFrom = storeFileToMove(flags);
  const store = await startStore(flags, folder.id, (sentence) => log.warn(sentence));
  let opened: OpenMember;
  try {
    if (flags.license !== undefined) await bring(flags.license, flags.data, vendorKey);
    opened = await openMember({
      folder: flags.data,
      id: folder.id,
      privateKey: folder.privateKey,
      publicKey: folder.publicKey,
      certificate: folder.certificate,
      vendorKey,
      host,
      port,
      advertise: flags.advertise?.replace(/\/+$/, "") ?? null,
      store: store.choice,
      storeFrom,
      priority: flags.priority,
      leaseMs: flags.leaseMs,
      adminToken,
      consoleFolder: CONSOLE_FOLDER,
      ...guard,
      oidc,
      ...observe,
      log,
      onEnd: ({ code, reason }) => {
        console.error(`quorate: ${reason}`);
        void store.stop().then(() => process.exit(code));
      },
    });
  } catch (error) {
    await store.stop();
    throw asFailure(error, `${host}:${port}`);
  }
  await runUntilSignal(opened, store, tracing);
}

function runUntilSignal(
  opened: OpenMember,
  store: RunningStore,
  tracing: Tracing | null,
): Promise<void> {
  return new Promise((done) => {
    let stopping = false;
    const stop = (): void => {
      if (stopping) process.exit(EXIT.failure);
      stopping = true;
      void opened
        .stop()
        .then(() => store.stop())
        .then(() => tracing?.stop())
        .then(() => process.exit(EXIT.ok));
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
    void opened.ready.then((grants) => {
      if (grants) console.log(JSON.stringify({ ready: true, url: opened.url }));
    });
    process.on("exit", () => done());
  });
}

/** The file's license becomes the member's own copy if it is newer; an older one is told and left alone. */
async function bring(file: string, data: string, vendorKey: string): Promise<void> {
  try {
    await installInFolder(file, readLicenseFile(file), data, vendorKey, () => {});
  } catch (error) {
    if (error instanceof Failure && error.code === "license-older") tellWarnings([error.message]);
    else throw error;
  }
}

function asFailure(error: unknown, address: string): unknown {
  if (error instanceof FolderLockedError) return new Failure(error.message, EXIT.memberLives);
  if (error instanceof JournalFailedError || error instanceof StoreLostError) {
    return new Failure(error.message);
  }
  const code = error instanceof Error && "code" in error ? error.code : null;
  if (code === "EADDRINUSE") {
    return new Failure(`${address} is in use by another program; choose another with --listen`);
  }
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND") {
    return new Failure(`${address} is not an address of this machine`);
  }
  if (code === "EACCES") return new Failure(`this user may not use ${address}`);
  return error;
}

function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new InvalidArgumentError(
      "Write it as HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080.",
    );
  }
  return { host, port };
}
