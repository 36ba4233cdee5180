/**
 * The store's transactions as etcd's.
 *
 * etcd allows 128 compares or operations in a transaction (--max-txn-ops), counted along each path into nested
 * transactions. So long lists of operations go into nested transactions, and more compares than COMPARES_MAX
 * are checked by a read first, whose revision one compare then covers: no key of the pool was written since.
 * A deletion leaves no key that such a compare could see, so every deletion writes a mark beside it.
 */
import { RESULT_EQUAL, RESULT_LESS, TARGET_MOD } from "./etcd-messages.ts";
import type {
  Compare,
  EtcdKeyValue,
  Operation,
  OperationResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
} from "./etcd-messages.ts";
import type { KeyValue, Transaction } from "./store.ts";
import { isPrefix } from "./transaction-bounds.ts";

/** Compares of single keys in one transaction; with OPERATIONS_MAX and one mark it stays below 128. */
export const COMPARES_MAX = 80;
/** Operations side by side; longer lists are nested in groups of this many. */
const OPERATIONS_MAX = 40;
/** Keys of a prefix in one answer; the rest follows in pages of the same revision. */
const PAGE_KEYS_MAX = 1_000;

/** A transaction with at most COMPARES_MAX compares. `root` ends in `/` and stands before every key. */
export function toTxn(root: string, transaction: Transaction): TxnRequest {
  const compare = transaction.compare.map(({ key, revision }) => ({
    result: RESULT_EQUAL,
    target: TARGET_MOD,
    key: root + key,
    modRevision: revision,
  }));
  return txn(root, transaction, compare);
}

/** The writes and reads of a transaction whose compares were found to hold at `revision`. */
export function toTxnSince(root: string, transaction: Transaction, revision: number): TxnRequest {
  const untouched = {
    result: RESULT_LESS,
    target: TARGET_MOD,
    key: root,
    rangeEnd: endOfPrefix(root),
    modRevision: revision + 1,
  };
  return txn(root, transaction, [untouched]);
}

/** Reads the revisions of the compared keys, and then what the transaction reads. */
export function toCheck(root: string, transaction: Transaction): TxnRequest {
  const compared = transaction.compare.map(({ key }) => ({
    range: { key: root + key, keysOnly: true },
  }));
  return { success: grouped([...compared, ...readOperations(root, transaction.reads)]) };
}

/** Whether its permission to write is given, without writing: nothing has a revision below 0. */
export function toPermissionProbe(root: string): TxnRequest {
  const never = { result: RESULT_LESS, target: TARGET_MOD, key: root, modRevision: 0 };
  return {
    compare: [never],
    success: [{ put: { key: root, value: "" } }],
    failure: [{ range: rangeOf(root, "") }],
  };
}

/** A key, or all keys under a prefix; "" means all. */
export function rangeOf(root: string, read: string): RangeRequest {
  const key = root + read;
  if (read !== "" && !isPrefix(read)) return { key };
  return { key, rangeEnd: endOfPrefix(key), limit: PAGE_KEYS_MAX };
}

/** The answers to range requests, in the order in which they were asked. */
export function rangesOf(responses: readonly OperationResponse[]): RangeResponse[] {
  return responses.flatMap(({ range, txn }) => {
    if (txn !== null) return rangesOf(txn.responses);
    return range === null ? [] : [range];
  });
}

export function toKeyValue(root: string, { key, value, modRevision }: EtcdKeyValue): KeyValue {
  return { key: key.slice(root.length), value, revision: modRevision };
}

/** Marks of deletions lie among the pool's keys, but no caller's key can hold a NUL. */
export function isMark(root: string, key: string): boolean {
  return key.startsWith(`${root}\0`);
}

/** The first text after all that begin with `prefix`: UTF-8 sorts by code points. "\0" means without end. */
export function endOfPrefix(prefix: string): string {
  const points = Array.from(prefix);
  for (;;) {
    const last = points.pop()?.codePointAt(0);
    if (last === undefined) return "\0";
    if (last === 0x10_ff_ff) continue;
    // Half surrogate pairs, which come next, are no characters.
    const next = last === 0xd7_ff ? 0xe0_00 : last + 1;
    return points.join("") + String.fromCodePoint(next);
  }
}

function txn(root: string, transaction: Transaction, compare: readonly Compare[]): TxnRequest {
  const puts = transaction.puts.map(({ key, value }) => ({ put: { key: root + key, value } }));
  const deletions = chunks(transaction.deletes ?? []).map((keys, i) => deletion(root, keys, i));
  const reads = readOperations(root, transaction.reads);
  const few = puts.length + deletions.length + reads.length <= OPERATIONS_MAX;
  const success = few
    ? [...puts, ...deletions, ...reads]
    : [...nest(puts), ...deletions, ...nest(reads)];
  return { compare, success, failure: grouped(reads) };
}

/** Deletes and leaves the mark if any of the keys is there: a deletion of nothing changes no revision. */
function deletion(root: string, keys: readonly string[], i: number): Operation {
  return {
    txn: {
      compare: keys.map((key) => ({
        result: RESULT_EQUAL,
        target: TARGET_MOD,
        key: root + key,
        modRevision: 0,
      })),
      failure: [
        ...keys.map((key) => ({ deletion: { key: root + key } })),
        { put: { key: `${root}\0deleted/${i}`, value: "" } },
      ],
    },
  };
}

function readOperations(root: string, reads: readonly string[]): Operation[] {
  return reads.map((read) => ({ range: rangeOf(root, read) }));
}

function grouped(operations: readonly Operation[]): Operation[] {
  return operations.length <= OPERATIONS_MAX ? [...operations] : nest(operations);
}

function nest(operations: readonly Operation[]): Operation[] {
  return chunks(operations).map((success) => ({ txn: { success } }));
}

function chunks<T>(all: readonly T[]): T[][] {
  const found: T[][] = [];
  for (let i = 0; i < all.length; i += OPERATIONS_MAX) found.push(all.slice(i, i + OPERATIONS_MAX));
  return found;
}
