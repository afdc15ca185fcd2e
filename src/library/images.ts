import path from 'node:path';
import type { Context } from '../base/index.js';
import { listContainers } from '../engine/index.js';
import { type Image, openImageStore } from '../image/index.js';

export type { Image, ImageLayer } from '../image/index.js';

import { contextOf } from './sandbox.js';

/** Where the store is; NSBOX_ROOT and NSBOX_STATE, /var/lib/nsbox and /run/nsbox unless told. */
export interface StoreOptions {
  root?: string;
  state?: string;
}

/** Which container uses an image: it can't go while one does. */
function inUse(ctx: Context): (imageId: string) => string | undefined {
  const users = listContainers(ctx);
  return (imageId) => users.find((c) => c.image?.id === imageId)?.name;
}

/**
 * The images of the store that `run` and `create` take.
 *
 *     await images.load('busybox.tar');
 *     const [newest] = await images.list();
 */
export const images = {
  /** All images, the youngest first. */
  async list(options: StoreOptions = {}): Promise<Image[]> {
    return openImageStore(contextOf(options)).list();
  },

  /** One image by name, digest, id or a unique beginning of its id. @throws NotFoundError */
  async get(reference: string, options: StoreOptions = {}): Promise<Image> {
    return openImageStore(contextOf(options)).resolve(reference);
  },

  /**
   * Brings the images of a docker-archive, oci-archive or OCI layout directory.
   * @throws NotFoundError, ImageError where it is damaged or holds none
   */
  async load(file: string, options: StoreOptions = {}): Promise<Image[]> {
    const loaded = await openImageStore(contextOf(options)).load({ path: path.resolve(file) });
    return loaded.map(({ image }) => image);
  },

  /** Makes an image of one layer from the tar or directory of a root filesystem. @throws NotFoundError, ImageError */
  async import(source: string, name: string, options: StoreOptions = {}): Promise<Image> {
    return openImageStore(contextOf(options)).import({ path: path.resolve(source) }, { reference: name });
  },

  /** Fetches an image from its registry. @throws NotFoundError, ImageError REGISTRY */
  async pull(reference: string, options: StoreOptions & { platform?: string } = {}): Promise<Image> {
    return openImageStore(contextOf(options)).pull(reference, { platform: options.platform });
  },

  /** Gives an image another name. @throws NotFoundError */
  async tag(reference: string, name: string, options: StoreOptions = {}): Promise<void> {
    await openImageStore(contextOf(options)).tag(reference, name);
  },

  /** Removes a name, and with the last one the image. @throws ConflictError while a container uses it */
  async remove(reference: string, options: StoreOptions & { force?: boolean } = {}): Promise<void> {
    const ctx = contextOf(options);
    await openImageStore(ctx).remove(reference, { force: options.force, inUse: inUse(ctx) });
  },
};
