import type { HostFiles } from './host-files.js';

export interface ElfLibrary {
  bits: 32 | 64;
  /** e_machine: 62 x86-64, 3 i386, 183 aarch64, 40 arm. */
  machine: number;
  soname: string | undefined;
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_STRTAB = 5;
const DT_SONAME = 14;

/**
 * Class, machine and soname of a shared library, from a few small reads; undefined where the file isn't a
 * little-endian ELF shared object.
 * @see elf(5)
 */
export function readElf(files: HostFiles, file: string): ElfLibrary | undefined {
  // The headers of a library lie in its first page nearly always: one read.
  const head = view(files.readBytes(file, 0, 4096));
  if (head.byteLength < 52 || head.getUint32(0) !== 0x7f454c46 || head.getUint8(5) !== 1) return undefined;
  const bits = head.getUint8(4) === 2 ? 64 : 32;
  const machine = head.getUint16(18, true);
  if (head.getUint16(16, true) !== 3) return undefined;
  return { bits, machine, soname: readSoname(files, file, head, bits) };
}

function readSoname(files: HostFiles, file: string, head: DataView, bits: 32 | 64): string | undefined {
  const wide = bits === 64;
  const word = (v: DataView, at: number) => (wide ? Number(v.getBigUint64(at, true)) : v.getUint32(at, true));
  const table = word(head, wide ? 32 : 28);
  const size = head.getUint16(wide ? 54 : 42, true);
  const count = head.getUint16(wide ? 56 : 44, true);
  const headers = view(files.readBytes(file, table, size * count));
  const loads: { offset: number; address: number; size: number }[] = [];
  let dynamic: { offset: number; size: number } | undefined;
  for (let at = 0; at + size <= headers.byteLength && size >= (wide ? 56 : 32); at += size) {
    const type = headers.getUint32(at, true);
    const offset = word(headers, at + (wide ? 8 : 4));
    const bytes = word(headers, at + (wide ? 32 : 16));
    if (type === PT_LOAD) loads.push({ offset, address: word(headers, at + (wide ? 16 : 8)), size: bytes });
    if (type === PT_DYNAMIC) dynamic = { offset, size: bytes };
  }
  if (!dynamic) return undefined;
  const entries = view(files.readBytes(file, dynamic.offset, Math.min(dynamic.size, 64 * 1024)));
  const step = wide ? 16 : 8;
  let strings: number | undefined;
  let name: number | undefined;
  for (let at = 0; at + step <= entries.byteLength; at += step) {
    const tag = word(entries, at);
    if (tag === 0) break;
    if (tag === DT_STRTAB) strings = word(entries, at + step / 2);
    if (tag === DT_SONAME) name = word(entries, at + step / 2);
  }
  if (strings === undefined || name === undefined) return undefined;
  const address = strings;
  const load = loads.find((l) => address >= l.address && address < l.address + l.size);
  if (!load) return undefined;
  const text = files.readBytes(file, load.offset + (address - load.address) + name, 256);
  if (!text) return undefined;
  const end = text.indexOf(0);
  return Buffer.from(text.subarray(0, end < 0 ? text.length : end)).toString('latin1');
}

function view(bytes: Uint8Array | undefined): DataView {
  return bytes
    ? new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new DataView(new ArrayBuffer(0));
}
