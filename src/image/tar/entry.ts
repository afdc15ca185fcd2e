/** One member of a tar archive, whatever dialect it was written in. Names are bytes. */
export interface TarEntry {
  type: 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';
  /** As in the archive: may be absolute, hold `..` or end in a slash. Never empty. */
  path: Buffer;
  /** Text of a symlink, or the archive path that a hard link is to. */
  linkPath: Buffer;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the file once unpacked. */
  size: number;
  mtime: { sec: number; nsec: number };
  devMajor: number;
  devMinor: number;
  /** Extended attributes by name, values as they were. */
  xattrs: Map<string, Buffer> | undefined;
  /** Where the data of a sparse file goes, in order; undefined for a plain one. */
  sparse: SparsePart[] | undefined;
}

/** Bytes of data and their place in the file. */
export interface SparsePart {
  offset: number;
  length: number;
}

/**
 * Receives what a TarReader reads, in order and synchronously: entry, its data in pieces, end; and again.
 * A chunk handed to `data` may be reused afterwards.
 */
export interface TarHandler {
  entry(entry: TarEntry): void;
  /** Bytes of the last entry; `offset` is their place in the (maybe sparse) file. */
  data(chunk: Buffer, offset: number): void;
  end(): void;
  /**
   * Offered what begins with a member's first header: may deal with whole members by itself.
   * @returns their bytes; 0 leaves the first to `entry`
   */
  plain?(chunk: Buffer, at: number): number;
}
