import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { TarReader } from '../../src/image/index.js';
import { LayerExtractor } from '../../src/image/layer/index.js';
import { type Member, makeTar, TestStore, treeFacts, treeLines } from '../support/images.js';

/** An ACL as the kernel keeps it: version 2, then tag, permissions and id of each entry. @see linux/posix_acl_xattr.h */
function acl(...entries: [tag: number, permissions: number, id: number][]): Buffer {
  const out = Buffer.alloc(4 + entries.length * 8);
  out.writeUInt32LE(2, 0);
  for (const [i, [tag, permissions, id]] of entries.entries()) {
    out.writeUInt16LE(tag, 4 + i * 8);
    out.writeUInt16LE(permissions, 6 + i * 8);
    out.writeUInt32LE(id, 8 + i * 8);
  }
  return out;
}

const NOBODY = 0xffffffff;
const defaults = acl(
  [0x01, 7, NOBODY],
  [0x02, 7, 1000],
  [0x04, 5, NOBODY],
  [0x10, 7, NOBODY],
  [0x20, 4, NOBODY],
);

/** Files and symlinks of all modes and owners, as they lie in a directory. */
function members(directory: string, attributes: Partial<Member>): Member[] {
  const time = { sec: 1_500_000_000, nsec: 123_456_789 };
  const out: Member[] = [{ path: directory, type: 'directory', mode: 0o755, mtime: time, ...attributes }];
  for (const mode of [0, 0o400, 0o644, 0o666, 0o777, 0o1777, 0o2755, 0o4755, 0o6711]) {
    for (const [uid, gid] of [
      [0, 0],
      [0, 50],
      [1000, 0],
      [65_534, 1_000_000],
    ] as const) {
      const path = `${directory}${mode.toString(8)}-${uid}-${gid}`;
      out.push({ path, mode, uid, gid, mtime: time, content: path });
      out.push({ path: `${path}-link`, type: 'symlink', linkPath: path, uid, gid, mtime: time });
    }
  }
  // A name twice, and over a symlink: the later one counts.
  out.push({ path: `${directory}644-0-0`, mode: 0o600, content: 'again', mtime: time });
  out.push({ path: `${directory}644-0-0-link`, content: 'no longer a link', mtime: time });
  return out;
}

test('members made natively are as those made one by one, whatever umask, group and ACL of the directory', () => {
  using store = new TestStore();
  const tar = makeTar([
    ...members('plain/', {}),
    ...members('setgid/', { mode: 0o2775, gid: 50 }),
    ...members('acl/', { xattrs: new Map([['system.posix_acl_default', defaults]]) }),
  ]);
  const unpack = (name: string, plain: boolean): { lines: string[]; native: number } => {
    mkdirSync(store.file(name));
    const fd = openSync(store.file(name), 'r');
    let native = 0;
    try {
      using extractor = new LayerExtractor(fd);
      const reader = new TarReader({
        entry: (e) => extractor.entry(e),
        data: (chunk, at) => extractor.data(chunk, at),
        end: () => extractor.end(),
        plain(chunk, at) {
          const n = plain ? extractor.plain(chunk, at) : 0;
          native += n;
          return n;
        },
      });
      reader.write(tar);
      reader.end();
      extractor.finish();
    } finally {
      closeSync(fd);
    }
    return { lines: treeLines(treeFacts(store.file(name))), native };
  };
  const before = process.umask();
  try {
    for (const umask of [0, 0o022, 0o077, 0o777]) {
      process.umask(umask);
      const quick = unpack(`quick-${umask}`, true);
      const slow = unpack(`slow-${umask}`, false);
      assert.deepEqual(quick.lines, slow.lines, `umask ${umask.toString(8)}`);
      assert.ok(quick.native > tar.length * 0.8, `${quick.native} of ${tar.length} bytes`);
      assert.equal(slow.native, 0);
    }
  } finally {
    process.umask(before);
  }
});
