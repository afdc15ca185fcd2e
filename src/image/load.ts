import { type Context, ImageError, NotFoundError } from '../base/index.js';
import { type ArchiveFiles, type ArchiveSource, openArchive } from './archive.js';
import { blobSize, putBlob, sha256, storing } from './blobs.js';
import {
  CONFIG_LIMIT,
  isIndex,
  MANIFEST_LIMIT,
  parseConfig,
  parseDockerArchive,
  parseIndex,
  parseManifest,
} from './documents.js';
import { compressionOf, type LayerJob, landLayers } from './layer/index.js';
import { Lease } from './lease.js';
import { choosePlatform, wantedPlatform } from './platform.js';
import type { ImageRecord } from './records.js';
import { canonical, parseReference } from './reference.js';
import { chainOf, layerMediaType, putConfig, putManifest, register } from './register.js';
import { refuseForeign } from './transfer/manifest.js';
import { type Descriptor, type ImageConfig, type Manifest, MEDIA } from './types.js';

export interface LoadOptions {
  /** `os[/arch[/variant]]` where an archive has several. */
  platform?: string | undefined;
  /** Only this name of an archive; or the name for an image without one. */
  reference?: string | undefined;
  /** Only this image of several: a tag or name within a layout, a name or `@index` within a docker-archive. */
  select?: string | undefined;
  /** The name to give, whatever the archive says. */
  rename?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** An image that was loaded, with the names it got (canonical). */
export interface Loaded {
  record: ImageRecord;
  names: string[];
}

/**
 * Brings images from a docker-archive, an oci-archive, an OCI layout directory or skopeo's `dir:`, layers plain, gzip
 * or zstd, and unpacks them. Nothing is visible before all of it is there and checked.
 * @throws ImageError where the archive is damaged or has no image; NotFoundError path
 */
export async function loadImages(
  ctx: Context,
  source: ArchiveSource,
  options: LoadOptions = {},
): Promise<Loaded[]> {
  using files = await openArchive(ctx, source);
  // `docker save` of 25 and later writes both forms; the OCI one keeps digests.
  if (files.has('index.json') && !files.has('manifest.json')) return await loadLayout(ctx, files, options);
  if (files.has('oci-layout') && files.has('index.json')) {
    const fromIndex = await loadLayout(ctx, files, options, true);
    if (fromIndex) return fromIndex;
  }
  if (files.has('manifest.json')) {
    const data = files.read('manifest.json', MANIFEST_LIMIT);
    if (data.toString('latin1', 0, 64).trimStart().startsWith('{'))
      return await loadDir(ctx, files, data, options);
    return await loadDocker(ctx, files, data, options);
  }
  throw new ImageError('this archive holds no image: it has neither manifest.json nor index.json', {
    hint: 'for the tar of a root filesystem use `nsbox import`',
  });
}

async function loadDocker(
  ctx: Context,
  files: ArchiveFiles,
  data: Buffer,
  options: LoadOptions,
): Promise<Loaded[]> {
  const out: Loaded[] = [];
  const list = await parseDockerArchive(data);
  for (const item of options.select === undefined && options.rename === undefined
    ? list
    : [chooseDocker(list, options.select)]) {
    const configData = files.read(item.Config, CONFIG_LIMIT);
    const config = await parseConfig(configData, item.Config);
    checkCount(config, item.Layers.length);
    const names = named(item.RepoTags ?? [], options);
    if (names === undefined) continue;
    const chain = chainOf(config);
    const blobs: Descriptor[] = [];
    using lease = await Lease.take(ctx, [...chain, ...config.rootfs.diff_ids]);
    const jobs = item.Layers.map((name, i): LayerJob => {
      const compression = compressionOf(files.head(name));
      const size = files.size(name);
      const diffId = config.rootfs.diff_ids[i]!;
      // What isn't compressed has its own digest in the config.
      const digest = compression === 'none' ? diffId : undefined;
      const open = () =>
        storing(ctx, files.stream(name), { digest, size, claim: (d) => lease.add(d) }, (stored, bytes) => {
          blobs[i] = { mediaType: layerMediaType(compression), digest: stored, size: bytes };
        });
      return job(ctx, { chainId: chain[i]!, diffId, blobSize: size, open }, digest, () => {
        blobs[i] = { mediaType: layerMediaType(compression), digest: digest!, size };
      });
    });
    await landLayers(ctx, jobs, options);
    const descriptor = await putConfig(ctx, lease, configData);
    const manifest = await putManifest(ctx, lease, descriptor, blobs);
    const record = await register(ctx, { id: descriptor.digest, manifest, config, blobs }, names);
    out.push({ record, names });
  }
  return nonEmpty(out, options);
}

/** A job whose blob may have to be stored even where the layer is unpacked already. */
function job(
  ctx: Context,
  base: Omit<LayerJob, 'present'>,
  digest: string | undefined,
  known: () => void,
): LayerJob {
  return {
    ...base,
    async present() {
      if (digest !== undefined && blobSize(ctx, digest) !== undefined) known();
      else for await (const _ of base.open()) void _;
    },
  };
}

async function loadLayout(ctx: Context, files: ArchiveFiles, options: LoadOptions): Promise<Loaded[]>;
async function loadLayout(
  ctx: Context,
  files: ArchiveFiles,
  options: LoadOptions,
  optional: true,
): Promise<Loaded[] | undefined>;
async function loadLayout(
  ctx: Context,
  files: ArchiveFiles,
  options: LoadOptions,
  optional = false,
): Promise<Loaded[] | undefined> {
  const out: Loaded[] = [];
  const entries = await layoutEntries(files, options.select);
  if (entries.size === 0 && options.select !== undefined)
    throw new NotFoundError('image', options.select, { hint: 'index.json names no such image' });
  if (entries.size > 1 && options.rename !== undefined)
    throw new ImageError(`the archive holds ${entries.size} images: name one`);
  for (const { descriptor, names: given } of entries.values()) {
    const names = named(given.filter(isFullName), options);
    if (names === undefined) continue;
    if (optional && !files.has(blobName(descriptor.digest))) return undefined;
    const manifest = await imageManifest(files, descriptor, options);
    if (!manifest) continue;
    out.push(await loadManifest(ctx, manifest, (digest) => fileOf(files, digest), names, options));
  }
  return nonEmpty(out, options);
}

/**
 * Images of a layout by digest, with their names: one image under several names has several entries.
 * @param select only what has this tag or name
 */
export async function layoutEntries(
  files: ArchiveFiles,
  select: string | undefined,
): Promise<Map<string, { descriptor: Descriptor; names: string[] }>> {
  const index = await parseIndex(files.read('index.json', MANIFEST_LIMIT), 'index.json');
  const byDigest = new Map<string, { descriptor: Descriptor; names: string[] }>();
  for (const descriptor of index.manifests) {
    const tag = descriptor.annotations?.['org.opencontainers.image.ref.name'];
    const full = descriptor.annotations?.['io.containerd.image.name'];
    if (select !== undefined && tag !== select && full !== select) continue;
    const entry = byDigest.get(descriptor.digest) ?? { descriptor, names: [] };
    const name = full ?? tag;
    if (name) entry.names.push(name);
    byDigest.set(descriptor.digest, entry);
  }
  return byDigest;
}

type DockerItem = Awaited<ReturnType<typeof parseDockerArchive>>[number];

/**
 * One image of a docker-archive.
 * @param select a name of it, or `@2` for the third; not needed where there is only one
 * @throws NotFoundError, ImageError where there are several
 */
export function chooseDocker(list: readonly DockerItem[], select: string | undefined): DockerItem {
  if (select === undefined) {
    if (list.length === 1) return list[0]!;
    throw new ImageError(`the archive holds ${list.length} images`, {
      hint: `name one after a colon: ${list.flatMap((item) => item.RepoTags ?? []).join(', ')}`,
    });
  }
  const index = /^@(\d+)$/.exec(select)?.[1];
  const item =
    index === undefined
      ? list.find((i) => i.RepoTags?.some((tag) => sameName(tag, select)))
      : list[Number(index)];
  if (item) return item;
  throw new NotFoundError('image', select, { hint: 'the archive has no such image' });
}

function sameName(a: string, b: string): boolean {
  return canonical(parseReference(a)) === canonical(parseReference(b));
}

/** In a layout, `latest` alone is a tag of nothing known; a name with a slash or colon is one. */
function isFullName(name: string): boolean {
  return /[/:]/.test(name);
}

/** skopeo's `dir:`: manifest.json is the image's manifest, blobs lie beside it by the hex of their digest. */
async function loadDir(
  ctx: Context,
  files: ArchiveFiles,
  data: Buffer,
  options: LoadOptions,
): Promise<Loaded[]> {
  const name = options.rename ?? options.reference;
  const names = name === undefined ? [] : [canonical(parseReference(name))];
  const found = { data, mediaType: undefined };
  const blob = (digest: string): BlobFile => {
    const name = digest.replace(/^sha256:/, '');
    return {
      size: files.size(name),
      stream: () => files.stream(name),
      read: (limit) => files.read(name, limit),
    };
  };
  return [await loadManifest(ctx, found, blob, names, options)];
}

interface BlobFile {
  size: number;
  stream(): AsyncIterable<Buffer>;
  read(limit: number): Buffer;
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function fileOf(files: ArchiveFiles, digest: string): BlobFile {
  const name = blobName(digest);
  return {
    size: files.size(name),
    stream: () => files.stream(name),
    read: (limit) => files.read(name, limit),
  };
}

function readChecked(file: BlobFile, digest: string, limit: number): Buffer {
  const data = file.read(limit);
  if (sha256(data) !== digest) {
    throw new ImageError(`digest mismatch: expected ${digest}, received ${sha256(data)}`, {
      hint: 'the archive is damaged; nothing of it was kept',
    });
  }
  return data;
}

/** Follows indexes to the manifest of this platform; undefined for what is no image (signatures, attestations). */
async function imageManifest(
  files: ArchiveFiles,
  descriptor: Descriptor,
  options: LoadOptions,
): Promise<{ data: Buffer; mediaType: string | undefined } | undefined> {
  let at = descriptor;
  for (let depth = 0; depth < 4; depth++) {
    const data = readChecked(fileOf(files, at.digest), at.digest, MANIFEST_LIMIT);
    if (!isIndex(at.mediaType, data)) return isArtifact(data) ? undefined : { data, mediaType: at.mediaType };
    const index = await parseIndex(data, at.digest);
    at = choosePlatform(index.manifests, wantedPlatform(options.platform), 'the archive');
  }
  throw new ImageError('the archive nests indexes too deeply');
}

/** A manifest whose config is of a kind of its own: a signature, a chart; what is no JSON is left to the parser. */
function isArtifact(data: Buffer): boolean {
  try {
    const type = (JSON.parse(data.toString()) as { config?: { mediaType?: unknown } }).config?.mediaType;
    return typeof type === 'string' && type !== MEDIA.ociConfig && type !== MEDIA.dockerConfig;
  } catch {
    return false;
  }
}

/** Loads one image by its manifest, which is kept as it is: its digest is the one that others know. */
async function loadManifest(
  ctx: Context,
  found: { data: Buffer; mediaType: string | undefined },
  blob: (digest: string) => BlobFile,
  names: string[],
  options: LoadOptions,
): Promise<Loaded> {
  const digest = sha256(found.data);
  const manifest: Manifest = await parseManifest(found.data, digest);
  const configData = readChecked(blob(manifest.config.digest), manifest.config.digest, CONFIG_LIMIT);
  const config = await parseConfig(configData, manifest.config.digest);
  checkCount(config, manifest.layers.length);
  const chain = chainOf(config);
  const all = [digest, manifest.config.digest, ...manifest.layers.map((l) => l.digest), ...chain];
  using _lease = await Lease.take(ctx, all);
  const jobs = manifest.layers.map((layer, i): LayerJob => {
    let file: BlobFile;
    try {
      file = blob(layer.digest);
    } catch (error) {
      // It may be one that is not handed on.
      refuseForeign(layer);
      throw error;
    }
    const open = () => storing(ctx, file.stream(), { digest: layer.digest, size: layer.size });
    const base = { chainId: chain[i]!, diffId: config.rootfs.diff_ids[i]!, blobSize: layer.size, open };
    return job(ctx, base, layer.digest, () => {});
  });
  await landLayers(ctx, jobs, options);
  await putBlob(ctx, configData);
  await putBlob(ctx, found.data);
  const mediaType = found.mediaType ?? manifest.mediaType ?? MEDIA.ociManifest;
  const record = await register(
    ctx,
    {
      id: manifest.config.digest,
      manifest: { mediaType, digest, size: found.data.length },
      config,
      blobs: manifest.layers,
    },
    names,
  );
  return { record, names };
}

/** Canonical names to give; undefined where the caller asked for another one. */
function named(given: readonly string[], options: LoadOptions): string[] | undefined {
  if (options.rename !== undefined) return [canonical(parseReference(options.rename))];
  const names = given.map((name) => canonical(parseReference(name)));
  if (options.reference === undefined) return names;
  const wanted = canonical(parseReference(options.reference));
  if (names.length === 0 || names.includes(wanted)) return [wanted];
  return undefined;
}

export function checkCount(config: ImageConfig, layers: number): void {
  if (config.rootfs.diff_ids.length === layers) return;
  throw new ImageError(
    `the image's config has ${config.rootfs.diff_ids.length} layers where its manifest has ${layers}`,
  );
}

function nonEmpty(out: Loaded[], options: LoadOptions): Loaded[] {
  if (out.length > 0) return out;
  throw new ImageError(
    options.reference === undefined
      ? 'the archive holds no image'
      : `the archive holds no image named ${options.reference}`,
  );
}
