/**
 * Protocol Buffers for the few messages of etcd's that the store needs: a message is a table of fields, and the
 * table gives its type, its encoder and its decoder.
 *
 * There is deliberately no code generator and no loader of .proto files: a loader turns a name it does not know
 * into 0, and 0 means EQUAL in a compare. A 64-bit number that a double can't hold is an error, never rounded.
 */

/** `Out` is what decoding gives, `In` what encoding takes. Methods, so that a table can hold any of them. */
export interface Field<Out, In = Out> {
  readonly number: number;
  /** What an absent field means. */
  none(): Out;
  write(writer: Writer, value: In): void;
  /** Adds one occurrence to what earlier ones gave; a field of text or bytes answers with its own kind. */
  read(before: Out, reader: Reader, wire: number): Out;
}

export interface Message<Out, In> {
  encode(value: In): Buffer;
  /** Throws an Error for bytes that are no such message. */
  decode(bytes: Uint8Array): Out;
}

type Table = Readonly<Record<string, Field<unknown>>>;
type OutOf<T extends Table> = { readonly [K in keyof T]: ReturnType<T[K]["none"]> };
type InOf<T extends Table> = { readonly [K in keyof T]?: Parameters<T[K]["write"]>[1] };

export function message<T extends Table>(table: T): Message<OutOf<T>, InOf<T>> {
  const fields = Object.entries(table);
  const byNumber = new Map(fields.map(([name, field]) => [field.number, { name, field }]));
  return {
    encode(value) {
      const writer = new Writer();
      for (const [name, field] of fields) {
        const given = value[name];
        if (given !== undefined) field.write(writer, given);
      }
      return writer.finish();
    },
    decode(bytes) {
      const value: Record<string, unknown> = {};
      for (const [name, field] of fields) value[name] = field.none();
      const reader = new Reader(bytes);
      while (!reader.atEnd()) {
        const tag = Number(reader.varint());
        const wire = tag & 7;
        const known = byNumber.get(tag >>> 3);
        if (known === undefined) reader.skip(wire);
        else value[known.name] = known.field.read(value[known.name], reader, wire);
      }
      return value as OutOf<T>;
    },
  };
}

/** int64 as a number; throws beyond what a double holds exactly. */
export function int64(number: number): Field<number> {
  return {
    number,
    none: () => 0,
    write(writer, value) {
      if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no safe int64`);
      if (value !== 0) writer.tag(number, VARINT).varint(BigInt.asUintN(64, BigInt(value)));
    },
    read(_before, reader, wire) {
      const value = Number(BigInt.asIntN(64, reader.varintField(wire)));
      if (!Number.isSafeInteger(value)) throw new Error(`the int64 ${value} is not safe`);
      return value;
    },
  };
}

/** uint64 as a bigint: ids of etcd's clusters and members use all bits. */
export function uint64(number: number): Field<bigint> {
  return {
    number,
    none: () => 0n,
    write(writer, value) {
      if (value !== BigInt.asUintN(64, value)) throw new RangeError(`${value} is no uint64`);
      if (value !== 0n) writer.tag(number, VARINT).varint(value);
    },
    read: (_before, reader, wire) => BigInt.asUintN(64, reader.varintField(wire)),
  };
}

export function bool(number: number): Field<boolean> {
  return {
    number,
    none: () => false,
    write(writer, value) {
      if (value) writer.tag(number, VARINT).varint(1n);
    },
    read: (_before, reader, wire) => reader.varintField(wire) !== 0n,
  };
}

/** A field of type string, or of type bytes that holds UTF-8, as all of the store's keys and values do. */
export function text(number: number): Field<string> {
  return {
    number,
    none: () => "",
    write(writer, value) {
      if (value !== "") writer.tag(number, LENGTH).bytes(Buffer.from(value));
    },
    read: (_before, reader, wire) => reader.bytesField(wire).toString("utf8"),
  };
}

/** A message inside a message; null is absent. Named through a function, so that tables may be recursive. */
export function nested<Out, In>(
  number: number,
  of: () => Message<Out, In>,
): Field<Out | null, In | null> {
  return {
    number,
    none: () => null,
    write(writer, value) {
      if (value !== null) writer.tag(number, LENGTH).bytes(of().encode(value));
    },
    read: (_before, reader, wire) => of().decode(reader.bytesField(wire)),
  };
}

export function list<Out, In>(
  number: number,
  of: () => Message<Out, In>,
): Field<readonly Out[], readonly In[]> {
  return {
    number,
    none: () => [],
    write(writer, values) {
      for (const value of values) writer.tag(number, LENGTH).bytes(of().encode(value));
    },
    read(before, reader, wire) {
      const next = of().decode(reader.bytesField(wire));
      // The list was made by `none` or here for this message alone; copying it would take quadratic time.
      if (before.length === 0) return [next];
      (before as Out[]).push(next);
      return before;
    },
  };
}

const VARINT = 0;
const LENGTH = 2;
const VARINT_BYTES_MAX = 10;

class Writer {
  readonly #parts: Uint8Array[] = [];

  tag(number: number, wire: number): this {
    return this.varint(BigInt((number << 3) | wire));
  }

  varint(value: bigint): this {
    const bytes: number[] = [];
    for (; value > 127n; value >>= 7n) bytes.push(Number(value & 127n) | 128);
    bytes.push(Number(value));
    this.#parts.push(Uint8Array.from(bytes));
    return this;
  }

  bytes(bytes: Uint8Array): this {
    this.varint(BigInt(bytes.length));
    this.#parts.push(bytes);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let i = 0n; i < VARINT_BYTES_MAX; i += 1n) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw new Error("a protobuf message ends inside a number");
      this.#at += 1;
      value |= BigInt(byte & 127) << (7n * i);
      if (byte < 128) return value;
    }
    throw new Error(`a number in a protobuf message is longer than ${VARINT_BYTES_MAX} bytes`);
  }

  varintField(wire: number): bigint {
    if (wire !== VARINT) throw new Error(`a protobuf field of wire type ${wire} is no number`);
    return this.varint();
  }

  bytesField(wire: number): Buffer {
    if (wire !== LENGTH) throw new Error(`a protobuf field of wire type ${wire} has no length`);
    return this.#take(Number(this.varint()));
  }

  skip(wire: number): void {
    if (wire === VARINT) this.varint();
    else if (wire === LENGTH) this.bytesField(wire);
    else if (wire === 1) this.#take(8);
    else if (wire === 5) this.#take(4);
    else throw new Error(`a protobuf message has a field of wire type ${wire}`);
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new Error("a protobuf message ends inside a field");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
