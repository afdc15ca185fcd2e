import { type Context, ImageError } from '../../base/index.js';
import { blobSize, readBlob, verifiedBlob } from '../blobs.js';
import { type ImageRecord, lockRecords, readImage, writeImage } from '../records.js';
import { canonical, parseReference, repositoryOf } from '../reference.js';
import type { Descriptor, Progress } from '../types.js';
import { Registry } from './client.js';

export interface PushRequest {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

const AT_A_TIME = 3;

/**
 * Sends an image to its registry: blobs that it lacks (mounted from another repository of it where one is known to have
 * them), then config, then manifest.
 * @returns digest of the manifest
 * @throws ImageError REGISTRY
 */
export async function pushImage(
  ctx: Context,
  image: ImageRecord,
  reference: string,
  options: PushRequest = {},
): Promise<{ digest: string; size: number; tag: string }> {
  const ref = parseReference(reference);
  const sibling = image.repoDigests
    .map((name) => parseReference(name))
    .find((other) => other.domain === ref.domain && other.path !== ref.path)?.path;
  const registry = new Registry(ctx, ref, {
    actions: 'pull,push',
    alsoPull: sibling,
    signal: options.signal,
  });
  const said = (id: string, status: string, current?: number, total?: number) =>
    options.onProgress?.({ id, status, current, total });
  const manifestData = readBlob(ctx, image.manifest.digest);
  const blobs = new Map<string, Descriptor>();
  for (const layer of image.layers) {
    blobs.set(layer.digest, { digest: layer.digest, size: layer.blobSize, mediaType: layer.mediaType });
  }
  const queue = [...blobs.values()];
  const worker = async () => {
    for (let blob = queue.shift(); blob; blob = queue.shift()) {
      await pushBlob(ctx, registry, blob, sibling, (status, n) =>
        said(blob!.digest.slice(7, 19), status, n, blob!.size),
      );
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  const config = { digest: image.id, size: blobSize(ctx, image.id) ?? 0, mediaType: '' };
  await pushBlob(ctx, registry, config, sibling, () => {});
  const tag = ref.tag ?? ref.digest ?? 'latest';
  const response = await registry.send(`manifests/${tag}`, {
    method: 'PUT',
    headers: { 'content-type': image.manifest.mediaType, 'content-length': String(manifestData.length) },
    body: manifestData,
  });
  await registry.expect(response, [200, 201, 202], 'the manifest');
  response.body.resume();
  using _lock = await lockRecords(ctx);
  const now = readImage(ctx, image.id);
  const name = `${repositoryOf(ref)}@${image.manifest.digest}`;
  if (now && !now.repoDigests.includes(name))
    writeImage(ctx, { ...now, repoDigests: [...now.repoDigests, name] }, []);
  said('', `${tag}: digest: ${image.manifest.digest} size: ${manifestData.length}`);
  return { digest: image.manifest.digest, size: manifestData.length, tag: canonical(ref) };
}

async function pushBlob(
  ctx: Context,
  registry: Registry,
  blob: Descriptor,
  sibling: string | undefined,
  progress: (status: string, current?: number) => void,
): Promise<void> {
  const there = await registry.send(`blobs/${blob.digest}`, { method: 'HEAD' });
  there.body.resume();
  if (there.status === 200) return progress('Layer already exists');
  if (blobSize(ctx, blob.digest) === undefined)
    throw new ImageError(`the store lacks the blob ${blob.digest}`);
  const query = sibling ? `?mount=${blob.digest}&from=${encodeURIComponent(sibling)}` : '';
  const begun = await registry.send(`blobs/uploads/${query}`, {
    method: 'POST',
    headers: { 'content-length': '0' },
  });
  if (begun.status === 201) {
    begun.body.resume();
    return progress(`Mounted from ${sibling}`);
  }
  await registry.expect(begun, [202], 'an upload');
  begun.body.resume();
  const location = begun.headers.location;
  if (location === undefined)
    throw new ImageError('the registry names no place for an upload', { code: 'REGISTRY' });
  const url = new URL(location, begun.url);
  url.searchParams.set('digest', blob.digest);
  let sent = 0;
  const pieces = async function* () {
    for await (const piece of verifiedBlob(ctx, blob.digest)) {
      sent += piece.length;
      progress('Pushing', sent);
      yield piece;
    }
  };
  const done = await registry.send(url.href, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(blob.size) },
    body: pieces(),
  });
  await registry.expect(done, [201, 202, 204], `the blob ${blob.digest}`);
  done.body.resume();
  progress('Pushed', blob.size);
}
