import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { fromErrno, isErrno, NsboxError } from '../base/index.js';

let counter = 0;

export interface WriteOptions {
  /** fsync the file and its directory, so that the record survives a power loss. Default true. */
  durable?: boolean;
  /** Permission bits. Default 0o600. */
  mode?: number;
}

/**
 * Writes a file so that a reader, or a crash at any instant, sees the old content or the new, never a part:
 * temporary name, fsync, rename, fsync of the directory.
 * @throws NsboxError NO_SPACE, PERMISSION, SYSCALL
 */
export function writeFileAtomic(file: string, data: string | Uint8Array, options: WriteOptions = {}): void {
  const durable = options.durable ?? true;
  const temporary = `${file}.tmp.${process.pid}.${counter++}`;
  let fd: number | undefined;
  try {
    fd = openSync(temporary, 'wx', options.mode ?? 0o600);
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    if (durable) fsyncSync(fd);
    closeSync(fd);
    fd = undefined;
    renameSync(temporary, file);
    if (durable) fsyncDirectory(path.dirname(file));
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    rmSync(temporary, { force: true });
    throw fromErrno(`write ${file}`, error, { path: file });
  }
}

/** Makes the names in a directory durable. */
export function fsyncDirectory(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Writes one small JSON record, see writeFileAtomic. */
export function writeRecord(file: string, value: unknown, options?: WriteOptions): void {
  writeFileAtomic(file, `${JSON.stringify(value)}\n`, options);
}

/**
 * Reads a JSON record; undefined where there is none.
 * @throws NsboxError INTERNAL where the file isn't JSON
 */
export function readRecord<T>(file: string): T | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw fromErrno(`read ${file}`, error, { path: file });
  }
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new NsboxError('INTERNAL', `the record ${file} is not valid JSON`, {
      cause,
      path: file,
      hint: 'it was changed by something other than nsbox; remove it or restore it',
    });
  }
}

/** mkdir -p with mode 0o700 unless told. */
export function ensureDirectory(directory: string, mode = 0o700): void {
  try {
    mkdirSync(directory, { recursive: true, mode });
  } catch (error) {
    throw fromErrno(`create the directory ${directory}`, error, { path: directory });
  }
}
