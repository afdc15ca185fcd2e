import { ImageError, isErrno } from '../../base/index.js';
import type { Descriptor } from '../types.js';
import { type Registry, sleep } from './client.js';

const TRIES = 5;

/**
 * Sends a blob that the registry lacks: mounted from another repository of it where one is known to have it, else
 * uploaded in one request. An upload that is cut off, or refused for now, begins again.
 * @param open the content from its beginning
 * @param from repositories of the same registry that have it
 * @throws ImageError REGISTRY
 */
export async function uploadBlob(
  registry: Registry,
  blob: Descriptor,
  open: () => AsyncIterable<Buffer>,
  options: {
    from?: string | undefined;
    signal?: AbortSignal | undefined;
    progress?: ((status: string, current?: number) => void) | undefined;
  } = {},
): Promise<void> {
  const progress = options.progress ?? (() => {});
  const there = await registry.send(`blobs/${blob.digest}`, { method: 'HEAD' });
  there.body.resume();
  if (there.status === 200) return progress('Layer already exists');
  let refused = 0;
  for (let tries = 1; ; tries++) {
    const location = await begin(registry, blob, tries === 1 ? options.from : undefined);
    if (location === undefined) return progress(`Mounted from ${options.from}`);
    let failure: unknown;
    let sent = 0;
    const pieces = async function* () {
      for await (const piece of open()) {
        sent += piece.length;
        progress('Pushing', sent);
        yield piece;
      }
    };
    try {
      const done = await registry.send(location, {
        method: 'PUT',
        headers: { 'content-type': 'application/octet-stream', 'content-length': String(blob.size) },
        body: pieces(),
      });
      if (done.status === 401 && refused++ === 0) {
        // The token ended while the blob was on its way.
        done.body.resume();
        await registry.authenticate(done);
        continue;
      }
      if (tries < TRIES && (await registry.passes(done, tries))) continue;
      await registry.expect(done, [201, 202, 204], `the blob ${blob.digest}`);
      done.body.resume();
      return progress('Pushed', blob.size);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!isErrno(error, 'ECONNRESET', 'EPIPE', 'ETIMEDOUT')) throw error;
      failure = error;
    }
    if (tries >= TRIES) throw failure;
    await sleep(Math.min(4000, 200 * 2 ** tries), options.signal);
  }
}

/** @returns where to send the content; undefined where the registry had it elsewhere and mounted it */
async function begin(
  registry: Registry,
  blob: Descriptor,
  from: string | undefined,
): Promise<string | undefined> {
  const query = from === undefined ? '' : `?mount=${blob.digest}&from=${encodeURIComponent(from)}`;
  const begun = await registry.send(`blobs/uploads/${query}`, {
    method: 'POST',
    headers: { 'content-length': '0' },
  });
  if (begun.status === 201) {
    begun.body.resume();
    return undefined;
  }
  if (from !== undefined && begun.status >= 400 && begun.status < 500) {
    // A registry may know no mounts, or not let us read the other repository.
    begun.body.resume();
    return begin(registry, blob, undefined);
  }
  await registry.expect(begun, [202], 'an upload');
  begun.body.resume();
  const location = begun.headers.location;
  if (location === undefined)
    throw new ImageError('the registry names no place for an upload', { code: 'REGISTRY' });
  const url = new URL(location, begun.url);
  url.searchParams.set('digest', blob.digest);
  return url.href;
}

/** Sends a manifest or index under a tag or its digest. @throws ImageError REGISTRY */
export async function putRemoteManifest(
  registry: Registry,
  tagOrDigest: string,
  data: Buffer,
  mediaType: string,
): Promise<void> {
  const response = await registry.send(`manifests/${tagOrDigest}`, {
    method: 'PUT',
    headers: { 'content-type': mediaType, 'content-length': String(data.length) },
    body: data,
  });
  await registry.expect(response, [200, 201, 202], 'the manifest');
  response.body.resume();
}
