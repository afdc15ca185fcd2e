import { malformed } from './numbers.js';

/** Records of a PAX header: keyword → value, as bytes. An empty value withdraws a global record. */
export type PaxRecords = Map<string, Buffer>;

/**
 * Parses the body of a PAX extended header: `LENGTH KEYWORD=VALUE\n`, LENGTH counting the whole record in bytes. Values
 * are bytes (`SCHILY.xattr.security.capability` is binary and may hold newlines), keywords UTF-8.
 * @param into records are added to this map, later ones winning; `repeated` gets those that form a list
 * @see POSIX.1-2024, pax, "pax Extended Header"
 */
export function parsePax(body: Buffer, into: PaxRecords, repeated?: [string, Buffer][]): void {
  for (let at = 0; at < body.length; ) {
    if (body[at] === 0) return; // padding that some writers count in
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? '' : body.toString('latin1', at, space);
    if (!/^\d{1,10}$/.test(digits)) throw malformed('a PAX record has no length');
    const end = at + Number(digits);
    if (end <= space + 1 || end > body.length || body[end - 1] !== 0x0a) {
      throw malformed('a PAX record has a wrong length');
    }
    const equals = body.indexOf(0x3d, space + 1);
    if (equals < 0 || equals >= end) throw malformed('a PAX record has no value');
    const key = body.toString('utf8', space + 1, equals);
    const value = Buffer.from(body.subarray(equals + 1, end - 1));
    // GNU's sparse format 0.0 repeats these two, in order.
    if (repeated && (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes'))
      repeated.push([key, value]);
    else into.set(key, value);
    at = end;
  }
}

const SCHILY = 'SCHILY.xattr.';
const LIBARCHIVE = 'LIBARCHIVE.xattr.';

/**
 * Extended attributes among PAX records. Where a writer (bsdtar) gives an attribute in both spellings, the raw bytes of
 * SCHILY's win over libarchive's base64; its name is then escaped in both.
 */
export function paxXattrs(records: PaxRecords): Map<string, Buffer> | undefined {
  let out: Map<string, Buffer> | undefined;
  for (const [key, value] of records) {
    if (key.startsWith(SCHILY)) {
      out ??= new Map();
      const name = key.slice(SCHILY.length);
      out.set(records.has(LIBARCHIVE + name) ? safeDecode(name) : name, value);
    } else if (key.startsWith(LIBARCHIVE)) {
      const escaped = key.slice(LIBARCHIVE.length);
      const name = safeDecode(escaped);
      if (records.has(SCHILY + name) || records.has(SCHILY + escaped)) continue;
      out ??= new Map();
      out.set(name, Buffer.from(value.toString('latin1'), 'base64'));
    }
  }
  return out;
}

function safeDecode(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
