import { closeSync, openSync } from 'node:fs';
import { endianness } from 'node:os';
import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    socketIn(netnsFd: number, domain: number, type: number, protocol: number): number;
    netlinkExchange(fd: number, batch: Buffer, expected: number): Buffer;
  }
}

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
const NETLINK_NETFILTER = 12;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_ACK_TLVS = 0x200;
const NLM_F_CAPPED = 0x100;
const NLM_F_DUMP = 0x300;
const NLA_F_NESTED = 0x8000;
const NLMSGERR_ATTR_MSG = 1;

/** Multi-byte fields are of the host's order unless a field says network order. */
const little = endianness() === 'LE';

/** A message before it has a sequence number. */
export interface NetlinkMessage {
  type: number;
  flags: number;
  /** Fixed header of the family, then attributes. */
  body: Buffer;
  /** What it does, for errors: `create the link veth0`. */
  what: string;
  /** Errnos that mean it is already as it should be. */
  tolerate?: readonly string[];
}

/** Builds fixed headers and attributes. */
export class MessageBody {
  #bytes = Buffer.alloc(512);
  #at = 0;

  #room(size: number): number {
    while (this.#at + size > this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length)]);
    }
    const at = this.#at;
    this.#at += size;
    return at;
  }
  u8(value: number): this {
    const at = this.#room(1);
    this.#bytes.writeUInt8(value, at);
    return this;
  }
  u16(value: number): this {
    const at = this.#room(2);
    if (little) this.#bytes.writeUInt16LE(value, at);
    else this.#bytes.writeUInt16BE(value, at);
    return this;
  }
  u32(value: number): this {
    const at = this.#room(4);
    if (little) this.#bytes.writeUInt32LE(value >>> 0, at);
    else this.#bytes.writeUInt32BE(value >>> 0, at);
    return this;
  }
  bytes(value: Uint8Array): this {
    const at = this.#room((value.length + 3) & ~3);
    this.#bytes.set(value, at);
    return this;
  }
  attribute(type: number, fill: (body: this) => void): this {
    const start = this.#at;
    this.u16(0).u16(type);
    fill(this);
    const size = this.#at - start;
    if (little) this.#bytes.writeUInt16LE(size, start);
    else this.#bytes.writeUInt16BE(size, start);
    this.#room((4 - (this.#at % 4)) % 4);
    return this;
  }
  attrBytes(type: number, value: Uint8Array): this {
    const at = this.#room(4 + ((value.length + 3) & ~3));
    if (little) {
      this.#bytes.writeUInt16LE(value.length + 4, at);
      this.#bytes.writeUInt16LE(type, at + 2);
    } else {
      this.#bytes.writeUInt16BE(value.length + 4, at);
      this.#bytes.writeUInt16BE(type, at + 2);
    }
    this.#bytes.set(value, at + 4);
    return this;
  }
  attrString(type: number, value: string): this {
    return this.attrBytes(type, Buffer.from(`${value}\0`));
  }
  attrU8(type: number, value: number): this {
    return this.attribute(type, (b) => b.u8(value));
  }
  attrU16(type: number, value: number): this {
    return this.attribute(type, (b) => b.u16(value));
  }
  attrU32(type: number, value: number): this {
    return this.attribute(type, (b) => b.u32(value));
  }
  nested(type: number, fill: (body: this) => void): this {
    return this.attribute(type | NLA_F_NESTED, fill);
  }
  done(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
}

/** A reply that is neither acknowledgement nor error. */
export interface NetlinkReply {
  type: number;
  body: Buffer;
}

/** An error of the kernel to one message, shaped as the addon's own errors are. */
export class NetlinkError extends Error {
  readonly code: string;
  readonly syscall = 'netlink';
  /** The kernel's own words, where it has some. */
  readonly reason: string | undefined;
  constructor(what: string, code: string, reason: string | undefined) {
    super(`cannot ${what}: ${reason ? `${reason} (${code})` : code}`);
    this.code = code;
    this.reason = reason;
  }
}

/**
 * A netlink socket. It belongs to the network namespace it was opened in and stays usable whatever the process does.
 * Exchanges are synchronous: the kernel does the work within the send.
 * @see netlink(7), rtnetlink(7)
 */
export class Netlink implements Disposable {
  #fd: number;
  #sequence = 1;

  /**
   * @param netns path such as /proc/PID/ns/net; absent: the caller's own namespace
   * @param protocol `route` or `netfilter`
   * @throws the addon's error with code and syscall; EPERM where CAP_SYS_ADMIN over the namespace is missing
   */
  constructor(netns?: string, protocol: 'route' | 'netfilter' = 'route') {
    const number = protocol === 'route' ? NETLINK_ROUTE : NETLINK_NETFILTER;
    const ns = netns === undefined ? -1 : openSync(netns, 'r');
    try {
      this.#fd = addon().socketIn(ns, AF_NETLINK, SOCK_RAW, number);
    } finally {
      if (ns >= 0) closeSync(ns);
    }
  }

  /**
   * Sends messages together, in order, with one system call.
   * @returns what the kernel answered besides acknowledgements
   * @throws NetlinkError of the first message that failed; the others were carried out all the same
   */
  run(messages: readonly NetlinkMessage[]): NetlinkReply[] {
    const first = this.#sequence;
    const parts: Buffer[] = [];
    for (const message of messages) {
      const header = new MessageBody();
      const length = 16 + message.body.length;
      header
        .u32(length)
        .u16(message.type)
        .u16(message.flags | NLM_F_REQUEST | NLM_F_ACK)
        .u32(this.#sequence++)
        .u32(0);
      parts.push(header.done(), message.body);
      if (length % 4) parts.push(Buffer.alloc(4 - (length % 4)));
    }
    const answer = addon().netlinkExchange(this.#fd, Buffer.concat(parts), messages.length);
    return this.#parse(answer, messages, first);
  }

  /** Asks for all of a kind. */
  dump(message: NetlinkMessage): NetlinkReply[] {
    return this.run([{ ...message, flags: message.flags | NLM_F_DUMP }]);
  }

  #parse(answer: Buffer, messages: readonly NetlinkMessage[], first: number): NetlinkReply[] {
    const replies: NetlinkReply[] = [];
    let failure: NetlinkError | undefined;
    for (let at = 0; at + 16 <= answer.length; ) {
      const length = readU32(answer, at);
      if (length < 16) break;
      const type = readU16(answer, at + 4);
      const flags = readU16(answer, at + 6);
      const message = messages[readU32(answer, at + 8) - first];
      const body = answer.subarray(at + 16, at + length);
      at += (length + 3) & ~3;
      if (!message) continue; // an answer to an earlier exchange that timed out
      if (type === NLMSG_ERROR || type === NLMSG_DONE) {
        const errno = body.length >= 4 ? -readI32(body, 0) : 0;
        if (errno === 0) continue;
        const name = errnoName(errno);
        if (message.tolerate?.includes(name)) continue;
        failure ??= new NetlinkError(
          message.what,
          name,
          type === NLMSG_ERROR ? extendedText(body, flags) : undefined,
        );
      } else {
        replies.push({ type, body });
      }
    }
    if (failure) throw failure;
    return replies;
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** The kernel's text in an extended acknowledgement. */
function extendedText(body: Buffer, flags: number): string | undefined {
  if (!(flags & NLM_F_ACK_TLVS) || body.length < 20) return undefined;
  const echoed = flags & NLM_F_CAPPED ? 16 : readU32(body, 4);
  const text = parseAttributes(body.subarray(4 + ((echoed + 3) & ~3))).get(NLMSGERR_ATTR_MSG);
  return text && cString(text);
}

/** Attributes by type, flags of the type taken off. A type that comes twice keeps its first. */
export function parseAttributes(bytes: Buffer): Map<number, Buffer> {
  const out = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = readU16(bytes, at);
    if (length < 4) break;
    const type = readU16(bytes, at + 2) & 0x3fff;
    if (!out.has(type)) out.set(type, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return out;
}

export function readU16(b: Buffer, at: number): number {
  return little ? b.readUInt16LE(at) : b.readUInt16BE(at);
}
export function readU32(b: Buffer, at: number): number {
  return little ? b.readUInt32LE(at) : b.readUInt32BE(at);
}
export function readI32(b: Buffer, at: number): number {
  return little ? b.readInt32LE(at) : b.readInt32BE(at);
}
export function cString(b: Buffer): string {
  const end = b.indexOf(0);
  return b.toString('utf8', 0, end < 0 ? b.length : end);
}

function errnoName(errno: number): string {
  return ERRNO[errno] ?? `E${errno}`;
}

/** Those that netlink gives, by number: the same on every architecture that Node runs on. */
const ERRNO: Record<number, string> = {
  1: 'EPERM',
  2: 'ENOENT',
  3: 'ESRCH',
  5: 'EIO',
  6: 'ENXIO',
  7: 'E2BIG',
  9: 'EBADF',
  11: 'EAGAIN',
  12: 'ENOMEM',
  13: 'EACCES',
  14: 'EFAULT',
  16: 'EBUSY',
  17: 'EEXIST',
  19: 'ENODEV',
  22: 'EINVAL',
  23: 'ENFILE',
  24: 'EMFILE',
  28: 'ENOSPC',
  33: 'EDOM',
  34: 'ERANGE',
  40: 'ELOOP',
  93: 'EPROTONOSUPPORT',
  95: 'EOPNOTSUPP',
  97: 'EAFNOSUPPORT',
  98: 'EADDRINUSE',
  99: 'EADDRNOTAVAIL',
  100: 'ENETDOWN',
  101: 'ENETUNREACH',
  105: 'ENOBUFS',
  110: 'ETIMEDOUT',
  113: 'EHOSTUNREACH',
};
