import { type Context, ImageError, InvalidError, NotFoundError } from '../base/index.js';
import type { ArchiveSource } from './archive.js';
import { blobSize, repairHint, verifiedBlob } from './blobs.js';
import { ensureHello, isHello } from './hello.js';
import { isLanded, type LayerJob, landLayers, layerFs, makeDurable } from './layer/index.js';
import { storePaths } from './paths.js';
import {
  allImages,
  allTags,
  findImage,
  type ImageRecord,
  lockRecords,
  namesIn,
  readImage,
  toImage,
  writeIndex,
  writeTag,
} from './records.js';
import { canonical, familiar, parseReference } from './reference.js';
import type { CopyOptions } from './transfer/index.js';
import { type Place, parsePlace } from './transfer/transport.js';
import type { Image, Progress } from './types.js';

export interface PullOptions {
  platform?: string | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** In place of what config.json has. */
  credentials?: { username: string; password: string } | undefined;
}

/** How old a layer gets before a later command writes it out, so that it counts after a reboot. */
const WRITE_OUT_AFTER_MS = 60_000;

/** The images of one root directory. Every method may be called from several processes at once. */
export class ImageStore {
  readonly #ctx: Context;
  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  /**
   * Finds an image by name, digest, id or a unique beginning of its id. `hello` is made where it is missing.
   * @throws NotFoundError image
   */
  async resolve(refOrId: string): Promise<Image> {
    return this.#show(await this.#find(refOrId));
  }

  async #find(refOrId: string): Promise<ImageRecord> {
    try {
      return findImage(this.#ctx, refOrId).record;
    } catch (error) {
      const hello =
        error instanceof NotFoundError && isHello(refOrId) ? await ensureHello(this.#ctx) : undefined;
      if (hello) return hello;
      throw error;
    }
  }

  /** Finds an image, pulling it as the policy says: `missing` (default), `always`, `never`. */
  async obtain(
    refOrId: string,
    options: PullOptions & { pull?: 'always' | 'missing' | 'never' | undefined } = {},
  ): Promise<Image> {
    const policy = options.pull ?? 'missing';
    if (policy === 'always') return this.pull(refOrId, options);
    try {
      const image = await this.resolve(refOrId);
      const { platformMismatch } = await import('./platform.js');
      const mismatch = platformMismatch(image.config, options.platform);
      if (!mismatch) return image;
      if (policy === 'never')
        throw new InvalidError(`image ${refOrId} is for ${mismatch}, not ${options.platform}`);
    } catch (error) {
      if (policy === 'never' || !(error instanceof NotFoundError)) throw error;
      // What can only be an id is in no registry.
      if (/^(sha256:)?[0-9a-f]{64}$/.test(refOrId)) throw error;
    }
    return this.pull(refOrId, options);
  }

  /**
   * Fetches an image from its registry and unpacks it, or from where its transport says (`oci:DIR:TAG`, `dir:DIR`…).
   * @throws NotFoundError, ImageError
   */
  async pull(reference: string, options: PullOptions = {}): Promise<Image> {
    await this.#writeOut();
    const place = parsePlace(this.#ctx, reference);
    if (place.transport !== 'store' && place.transport !== 'docker')
      return (await this.#loadPlace(place, options))[0]!.image;
    const { pullImage } = await import('./registry/index.js');
    return this.#show(await pullImage(this.#ctx, place.reference, options));
  }

  /** Fetches every tag of a repository. */
  async pullAll(reference: string, options: PullOptions = {}): Promise<Image[]> {
    const { pullAllTags } = await import('./registry/index.js');
    return (await pullAllTags(this.#ctx, reference, options)).map((record) => this.#show(record));
  }

  /**
   * Sends an image to the registry that its name says, or to another name or place.
   * @param to a name in a registry, or a place by its transport
   * @throws NotFoundError, ImageError REGISTRY
   */
  async push(
    reference: string,
    options: import('./registry/index.js').PushRequest & CopyOptions = {},
    to = reference,
  ): Promise<{ digest: string; tag: string }> {
    const own = parsePlace(this.#ctx, reference);
    const image = await this.#find(own.transport === 'docker' ? own.reference : reference);
    const place = parsePlace(this.#ctx, to);
    if (place.transport === 'store' || place.transport === 'docker') {
      const { pushImage } = await import('./registry/index.js');
      return pushImage(this.#ctx, image, place.reference, options);
    }
    return { digest: await this.copyTo(image.id, place, options), tag: to };
  }

  /** Writes an image as files. @returns digest of the manifest there */
  async copyTo(
    reference: string,
    place: Extract<Place, { path: string }>,
    options: CopyOptions = {},
  ): Promise<string> {
    const { copyImage } = await import('./transfer/index.js');
    const { id } = await this.#find(reference);
    return copyImage(this.#ctx, { transport: 'store', reference: id }, place, options);
  }

  /**
   * Copies an image between two places, each one of ours or by its transport, see parsePlace and copyImage. Between two
   * foreign places nothing comes into the store.
   * @returns digest of the manifest that is there afterwards
   */
  async copy(source: string, destination: string, options: CopyOptions = {}): Promise<string> {
    const [from, to] = [parsePlace(this.#ctx, source), parsePlace(this.#ctx, destination)];
    if (to.transport !== 'store') {
      if (from.transport === 'store') return (await this.push(source, options, destination)).digest;
      const { copyImage } = await import('./transfer/index.js');
      return copyImage(this.#ctx, from, to, options);
    }
    if (options.all) throw new InvalidError('--all: nsbox keeps one platform of an image');
    const rename = to.reference;
    if (parseReference(rename).digest) throw new InvalidError(`cannot name an image by a digest: ${rename}`);
    if (from.transport === 'store') {
      await this.tag(from.reference, rename);
    } else if (from.transport === 'docker') {
      await this.#writeOut();
      const { pullImage } = await import('./registry/index.js');
      await pullImage(this.#ctx, from.reference, { ...options, rename });
    } else {
      await this.#loadPlace(from, { ...options, rename });
    }
    return (await this.#find(rename)).manifest.digest;
  }

  #loadPlace(
    place: Exclude<Place, { reference: string }>,
    options: Pick<import('./load.js').LoadOptions, 'platform' | 'rename' | 'signal'>,
  ) {
    const select = place.transport === 'dir' ? undefined : place.reference;
    const { platform, rename, signal } = options;
    return this.load({ path: place.path }, { platform, signal, select, rename });
  }

  /** Checks credentials with a registry and stores them where Docker does. @returns where */
  async login(server: string | undefined, username: string, password: string): Promise<string> {
    const { login } = await import('./registry/index.js');
    return login(this.#ctx, server, username, password);
  }

  async logout(server: string | undefined) {
    const { logout } = await import('./registry/index.js');
    return logout(this.#ctx, server);
  }

  /** Sees to it that every layer of an image is unpacked; a no-op where they are. */
  async unpack(image: Image): Promise<void> {
    const ctx = this.#ctx;
    if (image.layers.every((layer) => isLanded(ctx, layer.chainId))) return;
    for (const layer of image.layers) {
      if (!isLanded(ctx, layer.chainId) && blobSize(ctx, layer.digest) === undefined) {
        throw new ImageError(
          `the store lacks the blob ${layer.digest} of image ${image.repoTags[0] ?? image.id}`,
          {
            hint: repairHint,
          },
        );
      }
    }
    await landLayers(
      ctx,
      image.layers.map(
        (layer): LayerJob => ({
          chainId: layer.chainId,
          diffId: layer.diffId,
          blobSize: layer.blobSize,
          open: () => verifiedBlob(ctx, layer.digest),
        }),
      ),
    );
  }

  /** Directories of the unpacked layers in overlayfs's format, the LOWEST first. */
  layerPaths(image: Image): string[] {
    return image.layers.map((layer) => layerFs(this.#ctx, layer.chainId));
  }

  /** All images, the youngest first. */
  async list(): Promise<Image[]> {
    await ensureHello(this.#ctx);
    const tags = allTags(this.#ctx);
    return allImages(this.#ctx)
      .map((record) => toImage(record, tags))
      .sort((a, b) => (a.created < b.created ? 1 : a.created > b.created ? -1 : 0));
  }

  /** `docker image inspect`'s object. */
  async inspect(refOrId: string): Promise<Record<string, unknown>> {
    const record = await this.#find(refOrId);
    const { inspectImage } = await import('./inspect.js');
    return inspectImage(this.#ctx, this.#show(record), record.added);
  }

  async history(refOrId: string) {
    const { imageHistory } = await import('./inspect.js');
    return imageHistory(await this.resolve(refOrId));
  }

  /** Gives an image another name, taking it from the image that had it. */
  async tag(refOrId: string, name: string): Promise<void> {
    const ref = parseReference(name);
    if (ref.digest) throw new InvalidError(`cannot tag an image with a digest: ${name}`);
    const record = await this.#find(refOrId);
    using _lock = await lockRecords(this.#ctx);
    if (!readImage(this.#ctx, record.id)) throw new NotFoundError('image', refOrId);
    writeTag(this.#ctx, canonical(ref), record.id);
    writeIndex(this.#ctx);
  }

  /** Brings images from an archive or directory, see loadImages. Gives them with the names each got. */
  async load(source: ArchiveSource, options: import('./load.js').LoadOptions = {}) {
    await this.#writeOut();
    const { loadImages } = await import('./load.js');
    const loaded = await loadImages(this.#ctx, source, options);
    return loaded.map(({ record, names }) => ({ image: this.#show(record), names: names.map(familiar) }));
  }

  /** Makes an image from the tar or directory of a root filesystem. */
  async import(source: ArchiveSource, options: import('./import.js').ImportOptions = {}): Promise<Image> {
    await this.#writeOut();
    const { importImage } = await import('./import.js');
    return this.#show(await importImage(this.#ctx, source, options));
  }

  /** Writes images as one archive, see saveImages. */
  async save(names: readonly string[], format: import('./save.js').ArchiveFormat = 'docker-archive') {
    if (names.some(isHello)) await ensureHello(this.#ctx);
    const { saveImages } = await import('./save.js');
    return saveImages(this.#ctx, names, format);
  }

  /** Makes an image of a base and a container's changes. `base` is an image's id. */
  async commit(
    options: Omit<import('./commit.js').CommitOptions, 'base'> & { base?: string | undefined },
  ): Promise<Image> {
    await this.#writeOut();
    const { commitImage } = await import('./commit.js');
    const base = options.base === undefined ? undefined : await this.#find(options.base);
    return this.#show(await commitImage(this.#ctx, { ...options, base }));
  }

  /** Reads blobs and layers again, see verifyImages. Without names: all images. */
  async verify(
    names: readonly string[] = [],
    options: Omit<import('./verify.js').VerifyOptions, 'images'> = {},
  ) {
    const { verifyImages } = await import('./verify.js');
    const images = names.length === 0 ? undefined : await Promise.all(names.map((name) => this.#find(name)));
    return verifyImages(this.#ctx, { ...options, images });
  }

  /** Mounts an image's filesystem read-only. @returns the mount point */
  async mount(refOrId: string): Promise<string> {
    const record = await this.#find(refOrId);
    await this.unpack(this.#show(record));
    const { mountImage } = await import('./mounts.js');
    return mountImage(this.#ctx, record);
  }

  /** Takes a mount back, see unmountImage. @returns the image's id */
  async unmount(refOrId: string, force = false): Promise<string> {
    const { id } = await this.#find(refOrId);
    const { unmountImage } = await import('./mounts.js');
    await unmountImage(this.#ctx, id, force);
    return id;
  }

  /** What `mount` mounted, with the images' names. */
  async mounts(): Promise<{ id: string; names: string[]; directory: string }[]> {
    const { imageMounts } = await import('./mounts.js');
    const tags = allTags(this.#ctx);
    return (await imageMounts(this.#ctx)).map(({ id, directory }) => {
      const record = readImage(this.#ctx, id);
      return { id, directory, names: record ? toImage(record, tags).repoTags : [] };
    });
  }

  /** Removes a name or an image, see removeImage. */
  async remove(refOrId: string, options: Parameters<typeof import('./remove.js').removeImage>[2]) {
    const { removeImage } = await import('./remove.js');
    return removeImage(this.#ctx, refOrId, options);
  }

  /** Removes images nobody needs, and everything that no image needs. */
  async prune(options: Parameters<typeof import('./remove.js').pruneImages>[1]) {
    const { pruneImages } = await import('./remove.js');
    return pruneImages(this.#ctx, options);
  }

  async #writeOut(): Promise<void> {
    await makeDurable(this.#ctx, namesIn(storePaths.layers(this.#ctx)), WRITE_OUT_AFTER_MS);
  }

  #show(record: ImageRecord): Image {
    return toImage(record, allTags(this.#ctx));
  }
}

/** Opens the images of a root directory. Costs nothing until it is used. */
export function openImageStore(ctx: Context): ImageStore {
  return new ImageStore(ctx);
}
