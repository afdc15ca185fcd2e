import path from 'node:path';
import type { Context } from '../base/index.js';
import { createHash } from '../base/index.js';

/**
 * The image store on disk, all below the root:
 *
 *   blobs/sha256/<hex>          content by digest, whole or absent (an OCI layout together with the next two)
 *   oci-layout, index.json      view for other programs, written again after each change
 *   ingest/<hex>.part           a download under way or cut off; its lock is held while someone works on it
 *   ingest/tmp-…                the same without a digest known beforehand
 *   images/<hex>.json           ImageRecord
 *   tags/<name>.json            TagRecord
 *   layers/<chain hex>/fs       an unpacked layer
 *   layers/<chain hex>/layer.json
 *   layers/….tmp                being unpacked, or left by a crash
 *   locks/                      flocks; the files mean nothing
 */
export const storePaths = {
  blobs: (ctx: Context) => path.join(ctx.root, 'blobs/sha256'),
  blob: (ctx: Context, digest: string) => path.join(ctx.root, 'blobs', digest.replace(':', '/')),
  ingest: (ctx: Context) => path.join(ctx.root, 'ingest'),
  images: (ctx: Context) => path.join(ctx.root, 'images'),
  image: (ctx: Context, id: string) => path.join(ctx.root, 'images', `${hexOf(id)}.json`),
  tags: (ctx: Context) => path.join(ctx.root, 'tags'),
  tag: (ctx: Context, name: string) => path.join(ctx.root, 'tags', `${fileNameOf(name)}.json`),
  layers: (ctx: Context) => path.join(ctx.root, 'layers'),
  layer: (ctx: Context, chainId: string) => path.join(ctx.root, 'layers', hexOf(chainId)),
  /** <id hex>.json and the mount point <id hex>/ of each image that `image mount` mounted; gone with the boot. */
  mounts: (ctx: Context) => path.join(ctx.state, 'image-mounts'),
  lock: (ctx: Context, name: string) => path.join(ctx.root, 'locks', name),
};

/** The hexadecimal part of a digest. */
export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** A reference as a file name: escaped, or hashed where that gets too long for a name. */
function fileNameOf(name: string): string {
  const escaped = encodeURIComponent(name);
  return escaped.length <= 200 ? escaped : createHash('sha256').update(name).digest('hex');
}
