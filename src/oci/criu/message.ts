/**
 * criu's RPC messages: the few of them that a runtime sends and reads, in the protocol buffers encoding.
 * Field numbers are those of criu's images/rpc.proto, which are stable.
 * @see https://criu.org/RPC
 */

/** `criu_req_type`. */
export const REQUEST = {
  dump: 1,
  restore: 2,
  preDump: 4,
  notify: 6,
  featureCheck: 9,
  version: 10,
} as const;
export type RequestName = keyof typeof REQUEST;

/** `criu_cg_mode`, by the names that command lines use; '' is criu's own default. */
export const CGROUP_MODES: Record<string, number> = { ignore: 0, soft: 3, full: 4, strict: 5, '': 6 };

/** `criu_opts`. Fds are numbers in this process: criu opens them below /proc/PID/fd. */
export interface CriuOptions {
  imagesDirFd: number;
  workDirFd?: number | undefined;
  pid?: number | undefined;
  leaveRunning?: boolean;
  extUnixSk?: boolean;
  tcpEstablished?: boolean;
  tcpSkipInFlight?: boolean;
  evasiveDevices?: boolean;
  shellJob?: boolean;
  fileLocks?: boolean;
  linkRemap?: boolean;
  logLevel?: number;
  logFile?: string;
  pageServer?: { address: string; port: number } | undefined;
  notifyScripts?: boolean;
  root?: string;
  parentImage?: string | undefined;
  trackMem?: boolean;
  autoDedup?: boolean;
  lazyPages?: boolean;
  statusFd?: number | undefined;
  /** A process that is restored is criu's sibling: a child of criu's parent. */
  restoreSibling?: boolean;
  inheritFds?: { key: string; fd: number }[];
  cgroupRoots?: { controller: string; path: string }[];
  manageCgroups?: boolean;
  manageCgroupsMode?: number;
  freezeCgroup?: string | undefined;
  external?: string[];
  /** CLONE_NEW… bits of namespaces that come back empty. */
  emptyNamespaces?: number;
  joinNamespaces?: { kind: string; file: string }[];
  orphanPtsMaster?: boolean;
  configFile?: string | undefined;
  lsmProfile?: string | undefined;
  lsmMountContext?: string | undefined;
}

export interface CriuRequest {
  type: RequestName;
  options?: CriuOptions;
  /** Answer to a notification. */
  notifySuccess?: boolean;
  features?: { memTrack?: boolean; lazyPages?: boolean };
}

/** `criu_resp`. */
export interface CriuResponse {
  type: number;
  success: boolean;
  errno: number;
  message: string;
  /** Of the restored process. */
  pid: number | undefined;
  notify: { script: string; pid: number } | undefined;
  features: { memTrack: boolean; lazyPages: boolean } | undefined;
  /** As criu counts: major * 10000 + minor * 100 + patch. */
  version: number | undefined;
}

class Fields {
  readonly #parts: Buffer[] = [];

  /** int32, uint32, bool, enum; undefined is left out. */
  int(field: number, value: number | boolean | undefined): this {
    if (value === undefined) return this;
    this.#varint(field * 8);
    this.#varint(Number(value));
    return this;
  }
  str(field: number, value: string | undefined): this {
    return value === undefined ? this : this.#bytes(field, Buffer.from(value));
  }
  message(field: number, value: Fields): this {
    return this.#bytes(field, value.finish());
  }
  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #bytes(field: number, bytes: Buffer): this {
    this.#varint(field * 8 + 2);
    this.#varint(bytes.length);
    this.#parts.push(bytes);
    return this;
  }
  #varint(value: number): void {
    const out: number[] = [];
    // A negative number is written as 64 bits.
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest > 127n) {
      out.push(Number(rest & 127n) | 128);
      rest >>= 7n;
    }
    out.push(Number(rest));
    this.#parts.push(Buffer.from(out));
  }
}

function optionFields(o: CriuOptions): Fields {
  const f = new Fields()
    .int(1, o.imagesDirFd)
    .int(2, o.pid)
    .int(3, o.leaveRunning)
    .int(4, o.extUnixSk)
    .int(5, o.tcpEstablished)
    .int(6, o.evasiveDevices)
    .int(7, o.shellJob)
    .int(8, o.fileLocks)
    .int(9, o.logLevel)
    .str(10, o.logFile);
  if (o.pageServer) f.message(11, new Fields().str(1, o.pageServer.address).int(2, o.pageServer.port));
  f.int(12, o.notifyScripts)
    .str(13, o.root)
    .str(14, o.parentImage)
    .int(15, o.trackMem)
    .int(16, o.autoDedup)
    .int(17, o.workDirFd)
    .int(18, o.linkRemap)
    .int(24, o.manageCgroups);
  for (const r of o.cgroupRoots ?? []) f.message(25, new Fields().str(1, r.controller).str(2, r.path));
  f.int(26, o.restoreSibling);
  for (const i of o.inheritFds ?? []) f.message(27, new Fields().str(1, i.key).int(2, i.fd));
  f.int(34, o.manageCgroupsMode);
  for (const e of o.external ?? []) f.str(37, e);
  f.int(38, o.emptyNamespaces);
  for (const n of o.joinNamespaces ?? []) f.message(39, new Fields().str(1, n.kind).str(2, n.file));
  return f
    .str(44, o.freezeCgroup)
    .int(46, o.tcpSkipInFlight)
    .int(48, o.lazyPages)
    .int(49, o.statusFd)
    .int(50, o.orphanPtsMaster)
    .str(51, o.configFile)
    .str(53, o.lsmProfile)
    .str(63, o.lsmMountContext);
}

/** A request as criu reads it. */
export function encodeRequest(request: CriuRequest): Buffer {
  const f = new Fields().int(1, REQUEST[request.type]);
  if (request.options) f.message(2, optionFields(request.options));
  f.int(3, request.notifySuccess);
  if (request.features) {
    f.message(5, new Fields().int(1, request.features.memTrack).int(2, request.features.lazyPages));
  }
  return f.finish();
}

type Value = number | Buffer;

/** Fields of a message by number; the last of several wins. @throws RangeError for bytes that are no message */
function decodeFields(bytes: Buffer): Map<number, Value> {
  const out = new Map<number, Value>();
  let at = 0;
  const varint = (): number => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(BigInt.asIntN(64, value));
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    switch (tag & 7) {
      case 0:
        out.set(field, varint());
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        const size = varint();
        if (size < 0 || at + size > bytes.length) throw new RangeError('criu: a message that ends early');
        out.set(field, bytes.subarray(at, at + size));
        at += size;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw new RangeError(`criu: a message with wire type ${tag & 7}`);
    }
  }
  return out;
}

/** @throws RangeError for bytes that are no response */
export function decodeResponse(bytes: Buffer): CriuResponse {
  const f = decodeFields(bytes);
  const number = (v: Value | undefined) => (typeof v === 'number' ? v : 0);
  const text = (v: Value | undefined) => (Buffer.isBuffer(v) ? v.toString() : '');
  const inner = (field: number) => {
    const v = f.get(field);
    return Buffer.isBuffer(v) ? decodeFields(v) : undefined;
  };
  const restore = inner(4);
  const notify = inner(5);
  const features = inner(8);
  const version = inner(10);
  return {
    type: number(f.get(1)),
    success: number(f.get(2)) !== 0,
    errno: number(f.get(7)),
    message: text(f.get(9)),
    pid: restore ? number(restore.get(1)) : undefined,
    notify: notify ? { script: text(notify.get(1)), pid: number(notify.get(2)) } : undefined,
    features: features
      ? { memTrack: number(features.get(1)) !== 0, lazyPages: number(features.get(2)) !== 0 }
      : undefined,
    version: version
      ? number(version.get(1)) * 10000 + number(version.get(2)) * 100 + number(version.get(4))
      : undefined,
  };
}
