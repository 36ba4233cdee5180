/**
 * One member with its real parts: data folder, SQLite journal, store, HTTP. The command line only reads flags,
 * calls this and waits.
 *
 *   <data>/member.json, member.key   who this member is
 *   <data>/license.json              its own copy of the license
 *   <data>/audit.log, audit.head     who changed what
 *   <data>/journal.db                authorizations and usage history
 */
import type { KeyObject } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { MemberCertificate } from "@quorate/protocol";
import { shortestLeaseMs } from "@quorate/core";
import { openAuditLog } from "./audit/audit-log.ts";
import type { ClientsDoor, Door } from "./http/access.ts";
import { createHttpServer } from "./http/http-server.ts";
import type { OidcOptions } from "./http/oidc-issuer.ts";
import { createPeers } from "./http/peer-client.ts";
import { readTls, type TlsFiles, watchTls } from "./http/tls.ts";
import { openSqliteJournal } from "./journal/sqlite-journal.ts";
import type { HistoryUsers } from "./journal/sqlite-journal-messages.ts";
import { ForPeople } from "./keys/for-people.ts";
import { createLicenseFiles } from "./keys/license-files.ts";
import { createMemberTokens } from "./keys/member-tokens.ts";
import { sign } from "./keys/node-keys.ts";
import { Member } from "./member/member.ts";
import type { Log } from "./member/ports.ts";
import { moveStore } from "./member/store-move.ts";
import { createLatencies, measuredJournal, measuredStore } from "./measured-ports.ts";
import { createRuntime } from "./runtime.ts";
import { type StoreChoice, openStore } from "./store/open-store.ts";
import { openSqliteStore } from "./store/sqlite-store.ts";
import type { Store } from "./store/store.ts";
import {
  headersOfSpan,
  tracedJournal,
  tracedMember,
  tracedPeers,
  tracedStore,
  tracerIfOn,
} from "./tracing/tracing.ts";
import { watchPool } from "./webhooks/pool-watch.ts";
import { createWebhooks, type WebhookTarget } from "./webhooks/webhooks.ts";

export interface OpenMemberOptions {
  readonly folder: string;
  readonly id: string;
  readonly privateKey: KeyObject;
  readonly publicKey: string;
  readonly certificate: MemberCertificate | null;
  /** `ed25519:…` of the vendor whose licenses count. */
  readonly vendorKey: string;
  readonly host: string;
  /** 0: the system chooses. */
  readonly port: number;
  /** What others call; null: the address it listens on. */
  readonly advertise: string | null;
  readonly store: StoreChoice;
  /** The SQLite file that the pool's store is moved from, once; null or missing: it is where it was. */
  readonly storeFrom?: string | null;
  readonly priority: number;
  readonly leaseMs: number;
  readonly adminToken: string | null;
  /** Who may check out, and who may read; missing: whoever reaches this server. */
  readonly clients?: ClientsDoor;
  readonly readers?: Door;
  /** Who logs people in beside the pool's tokens; null or missing: nobody. */
  readonly oidc?: OidcOptions | null;
  /** Where the built web console is; null: none is served. */
  readonly consoleFolder?: string | null;
  /** Null or missing: what travels can be read and changed on its way. */
  readonly tls?: TlsFiles | null;
  /** A standing alarm that says that other machines reach this member without TLS. */
  readonly insecure?: boolean;
  /** Who is told what happens, and the key that signs it; null or missing: nobody. */
  readonly webhooks?: WebhookTarget | null;
  /** How long the usage history is kept; missing: 400 days. */
  readonly historyDays?: number;
  /** What the usage history keeps of users' names; missing: all. */
  readonly historyUsers?: HistoryUsers;
  readonly log: Log;
  /** The member has ended by itself; everything is closed already. */
  readonly onEnd: (exit: { readonly code: number; readonly reason: string }) => void;
}

export interface OpenMember {
  readonly url: string;
  readonly member: Member;
  /** Resolves true when it grants, false when it ended before. */
  readonly ready: Promise<boolean>;
  /** Stops on purpose and closes everything. */
  stop(): Promise<void>;
}

/** How long a member that stops may take to give its seats back before it just ends. */
const STOP_MS_MAX = 8_000;

const DAY_MS = 24 * 3_600_000;

const INSECURE =
  "other machines reach this server without TLS (--insecure): tokens and secrets can be read on their way; use --tls-cert and --tls-key";

/** Throws `ForPeople`, `FolderLockedError`, `JournalFailedError` or `StoreLostError`, each with words for people. */
export async function openMember(options: OpenMemberOptions): Promise<OpenMember> {
  const tlsFiles = options.tls ?? null;
  const tls = tlsFiles === null ? null : readTls(tlsFiles);
  const latencies = createLatencies();
  const { historyDays, historyUsers } = options;
  const opened = await openSqliteJournal(options.folder, {
    ...(historyDays === undefined ? {} : { retentionMs: historyDays * DAY_MS }),
    ...(historyUsers === undefined ? {} : { historyUsers }),
  });
  const tracer = tracerIfOn();
  const measured = measuredJournal(opened, latencies);
  const journal = tracer === null ? measured : tracedJournal(measured, tracer);
  const warn = (sentence: string): void => options.log.warn(sentence);
  const plainStore = await openStore(options.store, warn).catch(async (error: unknown) => {
    await journal.close();
    throw error;
  });
  const storeFrom = options.storeFrom ?? null;
  if (storeFrom !== null) {
    await movedFrom(storeFrom, plainStore).catch(async (error: unknown) => {
      await Promise.all([journal.close(), plainStore.close()]);
      throw error;
    });
  }
  const measuredOne = measuredStore(plainStore, latencies);
  const store = tracer === null ? measuredOne : tracedStore(measuredOne, tracer);
  const least = shortestLeaseMs(options.leaseMs, store.failoverGapMs);
  if (least !== null) {
    await Promise.all([journal.close(), store.close()]);
    throw new ForPeople(
      `a lease of ${options.leaseMs} ms leaves no room for a renewal, two calls and the store's own recovery; use at least --lease-ms ${least}`,
    );
  }
  const audit = await openAuditLog(options.folder).catch(async (error: unknown) => {
    await Promise.all([journal.close(), store.close()]);
    throw error;
  });
  const peers = createPeers({
    id: options.id,
    sign: (bytes) => sign(options.privateKey, bytes),
    ...(tracer === null ? {} : { headers: headersOfSpan }),
    onUntrusted: (url, code) =>
      options.log.warn(
        `no TLS with ${url} (${code}); look at --tls-ca and the certificate's names`,
      ),
  });
  if (tls !== null) peers.useTls(tls);
  let pool: string | null = null;
  const memberOptions = {
    id: options.id,
    url: options.advertise ?? "",
    key: options.publicKey,
    certifiedBy: options.certificate?.signature.key ?? null,
    journalFile: identityOf(join(options.folder, "journal.db")),
    priority: options.priority,
    leaseMs: options.leaseMs,
    onExit: (exit: { code: number; reason: string }): void => {
      void close().then(() => options.onEnd(exit));
    },
  };
  const member = new Member(memberOptions, {
    runtime: createRuntime(),
    store,
    journal,
    peers: tracer === null ? peers : tracedPeers(peers, tracer),
    tokens: createMemberTokens({
      pool: () => (pool ??= member.pool().pool),
      privateKey: options.privateKey,
      publicKey: options.publicKey,
      certificate: options.certificate,
    }),
    licenses: createLicenseFiles({ dataFolder: options.folder, vendorKey: options.vendorKey }),
    log: options.log,
  });
  const webhooks =
    options.webhooks == null
      ? null
      : createWebhooks({
          ...options.webhooks,
          member: options.id,
          pool: () => member.pool().pool,
          log: options.log,
        });
  const http = await createHttpServer({
    member: tracer === null ? member : tracedMember(member, tracer),
    tracer,
    adminToken: options.adminToken,
    audit,
    tokens: member.tokens,
    clients: options.clients ?? "open",
    readers: options.readers ?? "open",
    oidc: options.oidc ?? null,
    log: options.log,
    host: options.host,
    port: options.port,
    consoleFolder: options.consoleFolder ?? null,
    tls,
    metrics: [latencies.journal, latencies.store, ...(webhooks?.metrics ?? [])],
  }).catch(async (error: unknown) => {
    await Promise.all([journal.close(), store.close(), audit.close()]);
    throw error;
  });
  memberOptions.url = options.advertise ?? http.url;
  const watch = watchPool(member);
  if (webhooks !== null) member.subscribe((event) => webhooks.hear(event));
  if (options.insecure === true) member.setAlarm("insecure", INSECURE);
  const tlsWatch =
    tlsFiles === null || tls === null
      ? null
      : watchTls(tlsFiles, tls, {
          onRenewed: (material) => {
            http.renewTls(material);
            peers.useTls(material);
            options.log.info("the certificate was renewed");
          },
          // Of another name than the alarm about the certificate by the pool's key: neither must clear the other.
          onTrouble: (sentence) => member.setAlarm("tls-certificate", sentence),
        });

  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      tlsWatch?.close();
      watch.close();
      webhooks?.close();
      await http.close();
      peers.close();
      await audit.close();
      await journal.close();
      await store.close();
    })();
    return closing;
  };
  const ready = member.start().then(() => member.readiness() === null);
  return {
    url: memberOptions.url,
    member,
    ready,
    async stop() {
      const bound = new Promise<void>((resolve) => {
        setTimeout(resolve, STOP_MS_MAX).unref();
      });
      await Promise.race([member.stop(), bound]);
      await close();
    },
  };
}

async function movedFrom(file: string, to: Store): Promise<void> {
  // Opening makes a file that is missing.
  if (!existsSync(file)) throw new ForPeople(`there is no ${file}; leave --store-from out`);
  const from = await openSqliteStore(file);
  try {
    const runtime = createRuntime();
    await moveStore(from, to, () => runtime.nonce());
  } finally {
    await from.close();
  }
}

/** A copy of a file has another inode than the file, wherever it was copied to. */
function identityOf(file: string): string {
  const { dev, ino } = statSync(file, { bigint: true });
  return `${dev}:${ino}`;
}
