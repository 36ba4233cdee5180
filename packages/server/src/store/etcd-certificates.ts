/**
 * The certificate files for the way to etcd. They are looked at regularly, so that a renewed certificate needs no
 * restart; connections that stand keep the one they began with.
 *
 * Files that don't go together are never taken: those in use stay, and a warning says so.
 */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { ChannelCredentials } from "@grpc/grpc-js";
import { EtcdSetupError } from "./etcd-address.ts";

/** Files in PEM. Without `ca` the authorities that Node knows. */
export interface EtcdTlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** What the files held when they were read. */
export interface EtcdCertificates {
  readonly files: EtcdTlsFiles;
  readonly texts: readonly (Buffer | null)[];
  readonly credentials: ChannelCredentials;
}

export interface EtcdCertificatesListener {
  onRenewed(credentials: ChannelCredentials): void;
  onWarning(sentence: string): void;
}

const LOOK_MS = 2_000;

/** Throws EtcdSetupError with what is wrong. */
export function readCertificates(files: EtcdTlsFiles): EtcdCertificates {
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new EtcdSetupError("give --etcd-cert and --etcd-key together");
  }
  const texts = namesOf(files).map((file) => {
    try {
      return file === null ? null : readFileSync(file);
    } catch (error) {
      throw unreadable(error);
    }
  });
  return { files, texts, credentials: credentialsOf(texts) };
}

export function watchCertificates(
  first: EtcdCertificates,
  listener: EtcdCertificatesListener,
  lookMs = LOOK_MS,
): { close(): void } {
  let { texts } = first;
  let lastTrouble = "";
  let told = "";
  let closed = false;
  let timer: NodeJS.Timeout | null = null;

  const look = async (): Promise<void> => {
    let trouble = "";
    try {
      const now = await readAnew(first.files);
      if (closed) return;
      if (now.some((text, i) => !isSame(text, texts[i] ?? null))) {
        const credentials = credentialsOf(now);
        texts = now;
        listener.onRenewed(credentials);
      }
    } catch (error) {
      if (!(error instanceof EtcdSetupError)) throw error;
      trouble = error.message;
    }
    // Two files are not replaced in one moment: what does not fit at one look may fit at the next.
    if (trouble !== "" && trouble === lastTrouble && trouble !== told) {
      told = trouble;
      listener.onWarning(`the new certificate is not taken, the old one stays in use: ${trouble}`);
    }
    if (trouble === "") told = "";
    lastTrouble = trouble;
    plan();
  };
  const plan = (): void => {
    if (closed) return;
    timer = setTimeout(() => void look(), lookMs);
    timer.unref();
  };

  plan();
  return {
    close: () => {
      closed = true;
      if (timer !== null) clearTimeout(timer);
    },
  };
}

function namesOf({ ca, key, cert }: EtcdTlsFiles): (string | null)[] {
  return [ca ?? null, key ?? null, cert ?? null];
}

function readAnew(files: EtcdTlsFiles): Promise<(Buffer | null)[]> {
  return Promise.all(
    namesOf(files).map(async (file) => {
      try {
        return file === null ? null : await readFile(file);
      } catch (error) {
        throw unreadable(error);
      }
    }),
  );
}

function credentialsOf([ca, key, cert]: readonly (Buffer | null)[]): ChannelCredentials {
  try {
    return ChannelCredentials.createSsl(ca, key, cert);
  } catch (error) {
    throw new EtcdSetupError(
      `the certificate files for etcd don't go together: ${wordsOf(error)}. Check --etcd-ca, --etcd-cert and --etcd-key`,
      { cause: error },
    );
  }
}

function isSame(one: Buffer | null, other: Buffer | null): boolean {
  return one === null || other === null ? one === other : one.equals(other);
}

function unreadable(error: unknown): EtcdSetupError {
  return new EtcdSetupError(`a certificate file of etcd can't be read: ${wordsOf(error)}`, {
    cause: error,
  });
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
