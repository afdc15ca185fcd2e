import { type Context, isErrno, NotFoundError, NsboxError } from '../base/index.js';
import { findContainer } from './containers.js';
import { inspectContainer } from './inspect.js';
import type { ContainerRecord } from './records.js';
import { volumeUsers } from './remove.js';
import { openVolumes, type Volume } from './volumes.js';

export const INSPECT_TYPES: readonly string[] = ['container', 'image', 'volume', 'network'];

export interface InspectAnyOptions {
  /** One of INSPECT_TYPES; absent: the first kind that has the name. */
  type?: string | undefined;
  size?: boolean | undefined;
}

/**
 * What `inspect` shows of a container, image, volume or network.
 * @throws NotFoundError: `No such object: x`
 */
export async function inspectAny(
  ctx: Context,
  name: string,
  options: InspectAnyOptions = {},
): Promise<unknown> {
  const kinds: Record<string, () => Promise<unknown>> = {
    container: () => inspectRecord(ctx, findContainer(ctx, name), options.size ?? false),
    image: () => inspectImage(ctx, name),
    volume: async () => inspectVolume(ctx, openVolumes(ctx).get(name)),
    network: () => inspectNetwork(ctx, name),
  };
  if (options.type !== undefined) return kinds[options.type]!();
  for (const kind of INSPECT_TYPES) {
    try {
      return await kinds[kind]!();
    } catch (error) {
      if (!(error instanceof NsboxError) || error.code !== 'NOT_FOUND') throw error;
    }
  }
  throw new NsboxError('NOT_FOUND', `No such object: ${name}`);
}

/** A container with what its image says about it. */
export async function inspectRecord(ctx: Context, record: ContainerRecord, size: boolean): Promise<object> {
  return inspectContainer(ctx, record, { size, image: await imageFacts(ctx, record) });
}

async function imageFacts(ctx: Context, record: ContainerRecord) {
  if (!record.image) return undefined;
  const { openImageStore } = await import('../image/index.js');
  try {
    const image = await openImageStore(ctx).resolve(record.image.id);
    return { config: image.config, size: image.size };
  } catch (error) {
    if (error instanceof NotFoundError || isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function inspectImage(ctx: Context, name: string): Promise<unknown> {
  const { openImageStore } = await import('../image/index.js');
  return openImageStore(ctx).inspect(name);
}

async function inspectNetwork(ctx: Context, name: string): Promise<unknown> {
  const { openNetworks } = await import('../network/index.js');
  return openNetworks(ctx).inspect(name);
}

/** A volume in the shape of Docker's `volume inspect`. */
export function inspectVolume(ctx: Context, volume: Volume): object {
  return {
    CreatedAt: volume.created,
    Driver: 'local',
    Labels: Object.keys(volume.labels).length > 0 ? volume.labels : null,
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: null,
    Scope: 'local',
    UsedBy: volumeUsers(ctx, volume.name),
  };
}
