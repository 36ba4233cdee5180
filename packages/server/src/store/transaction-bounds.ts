/**
 * What every adapter asks of a transaction before it does anything with it. Breaking a bound is a
 * mistake in the calling code, so it throws instead of being an outcome.
 */
import { KEY_CHARACTERS_MAX, TRANSACTION_KEYS_MAX, VALUE_BYTES_MAX } from "./store.ts";
import type { KeyValue, Transaction } from "./store.ts";

/** Deleted keys whose deletion a watch can still be told; the oldest are forgotten beyond it. */
export const DELETED_KEYS_REMEMBERED_MAX = 10_000;

/**
 * Throws RangeError when a key or value is too long, a key can't be told from a prefix, a key is written
 * twice, or one of the lists (compares; puts and deletes together; reads) is longer than
 * TRANSACTION_KEYS_MAX.
 */
export function checkTransaction(transaction: Transaction): void {
  const { compare, puts, deletes = [], reads } = transaction;
  const longest = Math.max(compare.length, puts.length + deletes.length, reads.length);
  if (longest > TRANSACTION_KEYS_MAX) {
    throw new RangeError(
      `a transaction names ${longest} keys, the most is ${TRANSACTION_KEYS_MAX}`,
    );
  }
  for (const { key, revision } of compare) {
    checkKey(key);
    if (!Number.isSafeInteger(revision) || revision < 0) {
      throw new RangeError(`a compare of ${key} with the revision ${revision}`);
    }
  }
  const written = new Set<string>();
  for (const key of [...puts.map((put) => put.key), ...deletes]) {
    checkKey(key);
    if (written.has(key)) throw new RangeError(`a transaction writes ${key} twice`);
    written.add(key);
  }
  for (const { key, value } of puts) {
    const bytes = Buffer.byteLength(value);
    if (bytes > VALUE_BYTES_MAX) {
      throw new RangeError(
        `the value of ${key} has ${bytes} bytes, the most is ${VALUE_BYTES_MAX}`,
      );
    }
  }
  for (const read of reads) checkKey(isPrefix(read) ? read.slice(0, -1) : read);
}

/** Whether a read means all keys under it. */
export function isPrefix(read: string): boolean {
  return read.endsWith("/");
}

/** Each key once, by code units: every adapter answers in this order, whatever its own collation is. */
export function orderedByKey(found: Iterable<KeyValue>): KeyValue[] {
  const byKey = new Map<string, KeyValue>();
  for (const entry of found) byKey.set(entry.key, entry);
  return [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

function checkKey(key: string): void {
  if (key === "" || key.length > KEY_CHARACTERS_MAX) {
    throw new RangeError(
      `a key of ${key.length} characters; 1 to ${KEY_CHARACTERS_MAX} are allowed`,
    );
  }
  if (isPrefix(key)) throw new RangeError(`the key ${key} ends like a prefix`);
  // SQLite and etcd keep UTF-8: half a surrogate pair would come back as another key.
  if (/\p{Surrogate}/u.test(key) || key.includes("\0")) {
    throw new RangeError(`the key ${JSON.stringify(key)} is not plain text`);
  }
}
