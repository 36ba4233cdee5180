import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RANGE_REQUEST, TXN, TXN_REQUEST, WATCH } from "./etcd-messages.ts";
import type { Operation, TxnRequest } from "./etcd-messages.ts";
import { bool, int64, list, message, nested, text, uint64 } from "./etcd-protobuf.ts";

const INNER = message({ name: text(1), count: int64(2) });
const OUTER = message({
  id: uint64(1),
  signed: int64(2),
  on: bool(3),
  words: text(16),
  inner: nested(64, () => INNER),
  many: list(2047, () => INNER),
});

const safe = fc.maxSafeInteger();
const inner = fc.record({ name: fc.string({ unit: "grapheme" }), count: safe });
const outer = fc.record({
  id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  signed: safe,
  on: fc.boolean(),
  words: fc.string({ unit: "binary" }),
  inner: fc.option(inner),
  many: fc.array(inner),
});

describe("a message", () => {
  test("comes back as it was encoded", () => {
    fc.assert(
      fc.property(outer, (value) => {
        expect(OUTER.decode(OUTER.encode(value))).toEqual(value);
      }),
    );
  });

  test("of fields that only a newer version knows is read past them", () => {
    const newer = message({ id: uint64(1), word: text(5), extra: nested(6, () => INNER) });
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), inner, (id, extra) => {
        const fixed32And64 = Buffer.from("3d01000000410100000000000000", "hex");
        const bytes = Buffer.concat([newer.encode({ id, word: "x", extra }), fixed32And64]);
        expect(OUTER.decode(bytes)).toMatchObject({ id, signed: 0, inner: null, many: [] });
      }),
    );
  });

  test("cut short or made of noise is an error or a message, and ends", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          OUTER.decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
    );
    const bytes = OUTER.encode({ words: "some words", many: [{ name: "a", count: 1 }] });
    expect(() => OUTER.decode(bytes.subarray(0, -1))).toThrow("ends inside");
  });

  test("has the bytes that the documentation of Protocol Buffers gives", () => {
    expect(message({ a: int64(1) }).encode({ a: 150 })).toEqual(Buffer.from("089601", "hex"));
    expect(message({ b: text(2) }).encode({ b: "testing" })).toEqual(
      Buffer.from("120774657374696e67", "hex"),
    );
    expect(message({ a: int64(1) }).encode({ a: -2 })).toEqual(
      Buffer.from("08feffffffffffffffff01", "hex"),
    );
  });

  test("with a number that a double can't hold is refused in both directions", () => {
    const one = message({ a: int64(1) });
    const big = message({ a: uint64(1) }).encode({ a: 2n ** 53n });
    expect(() => one.decode(big)).toThrow("not safe");
    expect(() => one.encode({ a: 2 ** 53 })).toThrow(RangeError);
    expect(() => message({ a: uint64(1) }).encode({ a: -1n })).toThrow(RangeError);
  });
});

describe("etcd's messages", () => {
  test("a request of a transaction comes back, however its transactions are nested", () => {
    const key = fc.string({ unit: "grapheme", minLength: 1 });
    const { request } = fc.letrec<{ request: TxnRequest; operation: Operation }>((tie) => ({
      request: fc.record({
        compare: fc.array(
          fc.record({
            result: fc.nat(3),
            target: fc.nat(4),
            key,
            modRevision: fc.maxSafeNat(),
            rangeEnd: fc.string(),
          }),
          { maxLength: 4 },
        ),
        success: fc.array(tie("operation"), { maxLength: 3 }),
        failure: fc.array(tie("operation"), { maxLength: 3 }),
      }),
      operation: fc.oneof(
        { maxDepth: 3, withCrossShrink: true },
        fc.record({ put: fc.record({ key, value: fc.string() }) }),
        fc.record({ deletion: fc.record({ key }) }),
        fc.record({ txn: tie("request") }),
      ),
    }));
    fc.assert(
      fc.property(request, (value) => {
        const once = TXN_REQUEST.encode(value);
        const decoded = TXN_REQUEST.decode(once) as TxnRequest;
        expect(decoded).toMatchObject(value);
        expect(TXN_REQUEST.encode(decoded)).toEqual(once);
      }),
    );
  });

  test("the numbers of the fields are etcd's", () => {
    const range = RANGE_REQUEST.encode({ key: "a", rangeEnd: "b", limit: 1, revision: 2 });
    expect(range.toString("hex")).toBe("0a016112016218012002");
    const compare = { result: 0, target: 2, key: "a", modRevision: 7 };
    const txn = TXN.request.encode({ compare: [compare], success: [{ put: { key: "a" } }] });
    expect(txn.toString("hex")).toBe("0a0710021a01613007120512030a0161");
    const create = WATCH.request.encode({ create: { key: "a", startRevision: 3, fragment: true } });
    expect(create.toString("hex")).toBe("0a070a016118034001");
  });
});
