/**
 * The messages and methods of etcd's API version 3 that the store uses, with the field numbers of etcd's
 * rpc.proto and kv.proto. Fields that the store does not look at are left out: decoding skips them.
 */
import { type Message, bool, int64, list, message, nested, text, uint64 } from "./etcd-protobuf.ts";

export interface Method<Out, In> {
  readonly path: string;
  readonly request: Message<unknown, In>;
  readonly response: Message<Out, unknown>;
}

type InOf<M> = M extends Message<infer _Out, infer In> ? In : never;
type OutOf<M> = M extends Message<infer Out, infer _In> ? Out : never;

const HEADER = message({ clusterId: uint64(1), memberId: uint64(2), revision: int64(3) });
export type Header = OutOf<typeof HEADER>;

const KEY_VALUE = message({
  key: text(1),
  modRevision: int64(3),
  value: text(5),
});
export type EtcdKeyValue = OutOf<typeof KEY_VALUE>;

/** Values of the enumerations of Compare. */
export const RESULT_EQUAL = 0;
export const RESULT_LESS = 2;
export const TARGET_MOD = 2;

const COMPARE = message({
  result: int64(1),
  target: int64(2),
  key: text(3),
  /** The member of the union that goes with TARGET_MOD; absent means 0 to etcd, too. */
  modRevision: int64(6),
  rangeEnd: text(64),
});
export type Compare = InOf<typeof COMPARE>;

export const RANGE_REQUEST = message({
  key: text(1),
  rangeEnd: text(2),
  limit: int64(3),
  revision: int64(4),
  keysOnly: bool(8),
});
export type RangeRequest = InOf<typeof RANGE_REQUEST>;

const RANGE_RESPONSE = message({
  header: nested(1, () => HEADER),
  kvs: list(2, () => KEY_VALUE),
  more: bool(3),
});
export type RangeResponse = OutOf<typeof RANGE_RESPONSE>;

const PUT_REQUEST = message({ key: text(1), value: text(2) });
const DELETE_REQUEST = message({ key: text(1) });

/** One of the four. */
export interface Operation {
  readonly range?: RangeRequest;
  readonly put?: InOf<typeof PUT_REQUEST>;
  readonly deletion?: InOf<typeof DELETE_REQUEST>;
  readonly txn?: TxnRequest;
}

export interface TxnRequest {
  readonly compare?: readonly Compare[];
  readonly success?: readonly Operation[];
  readonly failure?: readonly Operation[];
}

export interface OperationResponse {
  readonly range: RangeResponse | null;
  readonly txn: TxnResponse | null;
}

export interface TxnResponse {
  readonly header: Header | null;
  readonly succeeded: boolean;
  readonly responses: readonly OperationResponse[];
}

const OPERATION: Message<unknown, Operation> = message({
  range: nested(1, () => RANGE_REQUEST),
  put: nested(2, () => PUT_REQUEST),
  deletion: nested(3, () => DELETE_REQUEST),
  txn: nested(4, () => TXN_REQUEST),
});

export const TXN_REQUEST: Message<unknown, TxnRequest> = message({
  compare: list(1, () => COMPARE),
  success: list(2, () => OPERATION),
  failure: list(3, () => OPERATION),
});

const OPERATION_RESPONSE: Message<OperationResponse, unknown> = message({
  range: nested(1, () => RANGE_RESPONSE),
  txn: nested(4, () => TXN_RESPONSE),
});

const TXN_RESPONSE: Message<TxnResponse, unknown> = message({
  header: nested(1, () => HEADER),
  succeeded: bool(2),
  responses: list(3, () => OPERATION_RESPONSE),
});

const WATCH_CREATE = message({
  key: text(1),
  rangeEnd: text(2),
  startRevision: int64(3),
  fragment: bool(8),
});

const WATCH_REQUEST = message({ create: nested(1, () => WATCH_CREATE) });

/** Values of the enumeration of Event. */
export const EVENT_DELETE = 1;

const EVENT = message({ type: int64(1), kv: nested(2, () => KEY_VALUE) });

const WATCH_RESPONSE = message({
  header: nested(1, () => HEADER),
  created: bool(3),
  canceled: bool(4),
  compactRevision: int64(5),
  cancelReason: text(6),
  fragment: bool(7),
  events: list(11, () => EVENT),
});
export type WatchResponse = OutOf<typeof WATCH_RESPONSE>;

const AUTHENTICATE_REQUEST = message({ name: text(1), password: text(2) });
const AUTHENTICATE_RESPONSE = message({ header: nested(1, () => HEADER), token: text(2) });
const STATUS_RESPONSE = message({
  header: nested(1, () => HEADER),
  leader: uint64(4),
});

export const RANGE: Method<RangeResponse, RangeRequest> = {
  path: "/etcdserverpb.KV/Range",
  request: RANGE_REQUEST,
  response: RANGE_RESPONSE,
};

export const TXN: Method<TxnResponse, TxnRequest> = {
  path: "/etcdserverpb.KV/Txn",
  request: TXN_REQUEST,
  response: TXN_RESPONSE,
};

export const WATCH: Method<WatchResponse, InOf<typeof WATCH_REQUEST>> = {
  path: "/etcdserverpb.Watch/Watch",
  request: WATCH_REQUEST,
  response: WATCH_RESPONSE,
};

export const AUTHENTICATE: Method<
  OutOf<typeof AUTHENTICATE_RESPONSE>,
  InOf<typeof AUTHENTICATE_REQUEST>
> = {
  path: "/etcdserverpb.Auth/Authenticate",
  request: AUTHENTICATE_REQUEST,
  response: AUTHENTICATE_RESPONSE,
};

export const STATUS: Method<OutOf<typeof STATUS_RESPONSE>, object> = {
  path: "/etcdserverpb.Maintenance/Status",
  request: message({}),
  response: STATUS_RESPONSE,
};
