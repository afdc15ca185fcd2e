import type { TarEntry } from './entry.js';

const BLOCK = 512;
const OCTAL_12 = 0o77777777777;
const TYPES: Record<TarEntry['type'], string> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

/** What a header is made from: an entry without what only readers need. */
export type HeaderInput = Omit<TarEntry, 'sparse'>;

/**
 * The header blocks of one member: ustar, led by a PAX header where ustar can't say it (long or non-ASCII names, large
 * numbers, fractions of seconds, xattrs). xattr values go in as raw bytes under SCHILY.xattr, as GNU tar, Docker and
 * podman write and read them.
 * @see POSIX.1-2024, pax, "ustar Interchange Format"
 */
export function tarHeader(e: HeaderInput): Buffer {
  const records: Buffer[] = [];
  const pax = (key: string, value: Buffer | string) => records.push(paxRecord(key, Buffer.from(value)));
  const [prefix, name] = splitName(e.path);
  if (name === undefined) pax('path', e.path);
  if (e.linkPath.length > 100 || !isAscii(e.linkPath)) pax('linkpath', e.linkPath);
  if (e.size > OCTAL_12) pax('size', String(e.size));
  if (e.uid > 0o7777777) pax('uid', String(e.uid));
  if (e.gid > 0o7777777) pax('gid', String(e.gid));
  if (e.mtime.nsec !== 0 || e.mtime.sec < 0 || e.mtime.sec > OCTAL_12) pax('mtime', timeText(e.mtime));
  for (const [key, value] of e.xattrs ?? []) pax(`SCHILY.xattr.${key}`, value);
  const main = block(e, name ?? e.path.subarray(0, 100), prefix, TYPES[e.type]);
  if (records.length === 0) return main;
  const body = Buffer.concat(records);
  const lead = block(
    {
      ...e,
      type: 'file',
      size: body.length,
      linkPath: Buffer.alloc(0),
      mode: 0o644,
      mtime: { sec: 0, nsec: 0 },
      uid: 0,
      gid: 0,
    },
    Buffer.concat([Buffer.from('PaxHeaders/'), e.path.subarray(-80)]).subarray(0, 100),
    Buffer.alloc(0),
    'x',
  );
  return Buffer.concat([lead, body, tarPadding(body.length), main]);
}

/** The header of a plain file of root's, without a time: what archives of images are made of. */
export function fileHeader(name: string, size: number): Buffer {
  return tarHeader({
    type: 'file',
    path: Buffer.from(name),
    linkPath: Buffer.alloc(0),
    mode: 0o644,
    uid: 0,
    gid: 0,
    size,
    mtime: { sec: 0, nsec: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: undefined,
  });
}

/** Zeros that fill the last block of `size` bytes. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** The two blocks that end an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

function block(e: HeaderInput, name: Buffer, prefix: Buffer, type: string): Buffer {
  const b = Buffer.alloc(BLOCK);
  name.copy(b, 0, 0, 100);
  octal(b, 100, 8, e.mode);
  octal(b, 108, 8, Math.min(e.uid, 0o7777777));
  octal(b, 116, 8, Math.min(e.gid, 0o7777777));
  octal(b, 124, 12, Math.min(e.size, OCTAL_12));
  octal(b, 136, 12, Math.max(0, Math.min(e.mtime.sec, OCTAL_12)));
  b.write(type, 156, 'latin1');
  e.linkPath.copy(b, 157, 0, Math.min(100, e.linkPath.length));
  b.write('ustar\x0000', 257, 'latin1');
  octal(b, 329, 8, e.devMajor);
  octal(b, 337, 8, e.devMinor);
  prefix.copy(b, 345, 0, 155);
  b.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of b) sum += byte;
  b.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return b;
}

function octal(b: Buffer, at: number, length: number, value: number): void {
  b.write(value.toString(8).padStart(length - 1, '0'), at, length - 1, 'latin1');
}

/** Prefix and name for the ustar fields; no name where they can't hold it. */
function splitName(path: Buffer): [Buffer, Buffer | undefined] {
  const none = Buffer.alloc(0);
  if (!isAscii(path)) return [none, undefined];
  if (path.length <= 100) return [none, path];
  // The rightmost slash that leaves a name of at most 100 bytes and a prefix of at most 155.
  for (
    let at = path.indexOf(0x2f, path.length - 101);
    at >= 0 && at <= 155;
    at = path.indexOf(0x2f, at + 1)
  ) {
    if (at > 0 && at < path.length - 1) return [path.subarray(0, at), path.subarray(at + 1)];
  }
  return [none, undefined];
}

function isAscii(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte > 126 || byte < 32) return false;
  return true;
}

/** The record's length counts its own digits. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function timeText(t: { sec: number; nsec: number }): string {
  if (t.nsec === 0) return String(t.sec);
  // Seconds before 1970 with a fraction: -1 s + 0.25 s is written -0.75.
  const [sign, sec, nsec] = t.sec < 0 ? ['-', -t.sec - 1, 1_000_000_000 - t.nsec] : ['', t.sec, t.nsec];
  return `${sign}${sec}.${String(nsec).padStart(9, '0').replace(/0+$/, '')}`;
}
