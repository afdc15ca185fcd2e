/**
 * D-Bus messages as bytes, as far as a caller of systemd needs them: little-endian, no fds.
 * See "Message Protocol" of the D-Bus specification.
 */

/** A value with its type; what `v` of a signature holds. */
export class Variant {
  constructor(
    readonly signature: string,
    readonly value: Value,
  ) {}
}

/** `y b n q i u` number or boolean, `x t` bigint (numbers are taken too), `d` number, `s o g` text, `a` list, `()` list. */
export type Value = number | bigint | boolean | string | Variant | Value[];

export interface Message {
  type: number;
  serial: number;
  replySerial?: number | undefined;
  path?: string | undefined;
  interface?: string | undefined;
  member?: string | undefined;
  errorName?: string | undefined;
  destination?: string | undefined;
  sender?: string | undefined;
  signature: string;
  body: Value[];
}

export const TYPE = { call: 1, reply: 2, error: 3, signal: 4 } as const;

/** Header field codes and their types. */
const FIELDS = {
  path: [1, 'o'],
  interface: [2, 's'],
  member: [3, 's'],
  errorName: [4, 's'],
  replySerial: [5, 'u'],
  destination: [6, 's'],
  sender: [7, 's'],
  signature: [8, 'g'],
} as const;

/** No message of systemd comes near; the specification's own limit is 128 MiB. */
const LONGEST = 16 * 1024 * 1024;

/** The first complete type of a signature, `a(sv)` of `a(sv)u`. */
function firstType(signature: string): string {
  const c = signature[0];
  if (c === 'a') return `a${firstType(signature.slice(1))}`;
  if (c === '(' || c === '{') {
    let depth = 0;
    for (let i = 0; i < signature.length; i++) {
      if (signature[i] === '(' || signature[i] === '{') depth++;
      else if (signature[i] === ')' || signature[i] === '}') depth--;
      if (depth === 0) return signature.slice(0, i + 1);
    }
  }
  if (c === undefined || c === '(' || c === '{')
    throw new RangeError(`D-Bus signature cut off: ${signature}`);
  return c;
}

/** `a(sv)u` → [`a(sv)`, `u`]. */
export function typesOf(signature: string): string[] {
  const out: string[] = [];
  for (let rest = signature; rest; ) {
    const type = firstType(rest);
    out.push(type);
    rest = rest.slice(type.length);
  }
  return out;
}

const ALIGNMENT: Record<string, number> = {
  n: 2,
  q: 2,
  b: 4,
  i: 4,
  u: 4,
  s: 4,
  o: 4,
  a: 4,
  x: 8,
  t: 8,
  d: 8,
  '(': 8,
  '{': 8,
};

const alignmentOf = (type: string): number => ALIGNMENT[type[0] as string] ?? 1;

class Encoder {
  #buffer = Buffer.alloc(512);
  #at = 0;

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  align(to: number): void {
    this.#room(to);
    while (this.#at % to) this.#buffer[this.#at++] = 0;
  }

  put(type: string, value: Value): void {
    this.align(alignmentOf(type));
    this.#room(16);
    const b = this.#buffer;
    switch (type[0]) {
      case 'y':
        this.#at = b.writeUInt8(value as number, this.#at);
        break;
      case 'q':
        this.#at = b.writeUInt16LE(value as number, this.#at);
        break;
      case 'n':
        this.#at = b.writeInt16LE(value as number, this.#at);
        break;
      case 'b':
        this.#at = b.writeUInt32LE(value ? 1 : 0, this.#at);
        break;
      case 'u':
        this.#at = b.writeUInt32LE(value as number, this.#at);
        break;
      case 'i':
        this.#at = b.writeInt32LE(value as number, this.#at);
        break;
      case 't':
        this.#at = b.writeBigUInt64LE(BigInt(value as bigint), this.#at);
        break;
      case 'x':
        this.#at = b.writeBigInt64LE(BigInt(value as bigint), this.#at);
        break;
      case 'd':
        this.#at = b.writeDoubleLE(value as number, this.#at);
        break;
      case 's':
      case 'o':
        this.#text(value as string, 4);
        break;
      case 'g':
        this.#text(value as string, 1);
        break;
      case 'v': {
        const variant = value as Variant;
        this.put('g', variant.signature);
        this.put(variant.signature, variant.value);
        break;
      }
      case 'a':
        this.#array(type.slice(1), value as Value[]);
        break;
      case '(':
      case '{':
        this.all(type.slice(1, -1), value as Value[]);
        break;
      default:
        throw new RangeError(`D-Bus type ${type} is not known`);
    }
  }

  all(signature: string, values: readonly Value[]): void {
    typesOf(signature).forEach((type, n) => {
      this.put(type, values[n] as Value);
    });
  }

  #array(type: string, items: readonly Value[]): void {
    const size = this.#at;
    this.#at += 4;
    this.align(alignmentOf(type));
    const start = this.#at;
    for (const item of items) this.put(type, item);
    this.#buffer.writeUInt32LE(this.#at - start, size);
  }

  #text(text: string, sizeBytes: 1 | 4): void {
    const length = Buffer.byteLength(text);
    this.#room(length + 8);
    this.#at =
      sizeBytes === 4
        ? this.#buffer.writeUInt32LE(length, this.#at)
        : this.#buffer.writeUInt8(length, this.#at);
    this.#at += this.#buffer.write(text, this.#at);
    this.#buffer[this.#at++] = 0;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.#buffer.length * 2, this.#at + bytes));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

class Decoder {
  constructor(
    readonly bytes: Buffer,
    public at = 0,
  ) {}

  align(to: number): void {
    this.at = Math.ceil(this.at / to) * to;
  }

  get(type: string): Value {
    this.align(alignmentOf(type));
    const b = this.bytes;
    const at = this.at;
    switch (type[0]) {
      case 'y':
        this.at += 1;
        return b.readUInt8(at);
      case 'q':
        this.at += 2;
        return b.readUInt16LE(at);
      case 'n':
        this.at += 2;
        return b.readInt16LE(at);
      case 'b':
        this.at += 4;
        return b.readUInt32LE(at) !== 0;
      case 'u':
        this.at += 4;
        return b.readUInt32LE(at);
      case 'i':
        this.at += 4;
        return b.readInt32LE(at);
      case 't':
        this.at += 8;
        return b.readBigUInt64LE(at);
      case 'x':
        this.at += 8;
        return b.readBigInt64LE(at);
      case 'd':
        this.at += 8;
        return b.readDoubleLE(at);
      case 's':
      case 'o':
        this.at += 4;
        return this.#text(b.readUInt32LE(at));
      case 'g':
        this.at += 1;
        return this.#text(b.readUInt8(at));
      case 'v': {
        const signature = this.get('g') as string;
        return new Variant(signature, this.get(signature));
      }
      case 'a': {
        this.at += 4;
        const size = b.readUInt32LE(at);
        const item = type.slice(1);
        this.align(alignmentOf(item));
        const end = this.at + size;
        if (end > b.length) throw new RangeError('D-Bus array runs over the end of its message');
        const out: Value[] = [];
        while (this.at < end) out.push(this.get(item));
        return out;
      }
      case '(':
      case '{':
        return this.all(type.slice(1, -1));
      default:
        throw new RangeError(`D-Bus type ${type} is not known`);
    }
  }

  all(signature: string): Value[] {
    return typesOf(signature).map((type) => this.get(type));
  }

  #text(length: number): string {
    if (this.at + length >= this.bytes.length)
      throw new RangeError('D-Bus text runs over the end of its message');
    const text = this.bytes.toString('utf8', this.at, this.at + length);
    this.at += length + 1;
    return text;
  }
}

/** A message as it goes over the socket. */
export function encodeMessage(message: Message): Buffer {
  const body = new Encoder();
  body.all(message.signature, message.body);
  const content = body.bytes();
  const fields: Value[] = [];
  for (const [name, [code, type]] of Object.entries(FIELDS)) {
    const value = message[name as keyof typeof FIELDS];
    if (value !== undefined && value !== '') fields.push([code, new Variant(type, value)]);
  }
  const head = new Encoder();
  head.all('yyyyuua(yv)', [0x6c, message.type, 0, 1, content.length, message.serial, fields]);
  head.align(8);
  return Buffer.concat([head.bytes(), content]);
}

/**
 * Takes the first message off a stream.
 * @returns the message and how many bytes it has; undefined where it isn't complete
 * @throws RangeError for bytes that are no message
 */
export function decodeMessage(bytes: Buffer): { message: Message; size: number } | undefined {
  if (bytes.length < 16) return undefined;
  if (bytes[0] !== 0x6c || bytes[3] !== 1)
    throw new RangeError('not a little-endian D-Bus message of version 1');
  const bodySize = bytes.readUInt32LE(4);
  const bodyAt = 16 + Math.ceil(bytes.readUInt32LE(12) / 8) * 8;
  const size = bodyAt + bodySize;
  if (size > LONGEST) throw new RangeError(`a D-Bus message of ${size} bytes`);
  if (bytes.length < size) return undefined;
  const fields = new Map<Value, Value>();
  for (const field of new Decoder(bytes.subarray(0, bodyAt), 12).get('a(yv)') as [number, Variant][]) {
    fields.set(field[0], field[1].value);
  }
  const text = (name: keyof typeof FIELDS): string | undefined =>
    fields.get(FIELDS[name][0]) as string | undefined;
  const signature = text('signature') ?? '';
  return {
    size,
    message: {
      type: bytes[1] as number,
      serial: bytes.readUInt32LE(8),
      replySerial: fields.get(FIELDS.replySerial[0]) as number | undefined,
      path: text('path'),
      interface: text('interface'),
      member: text('member'),
      errorName: text('errorName'),
      destination: text('destination'),
      sender: text('sender'),
      signature,
      body: new Decoder(bytes.subarray(bodyAt, size)).all(signature),
    },
  };
}
