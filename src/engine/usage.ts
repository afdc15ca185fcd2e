import path from 'node:path';
import type { Context } from '../base/index.js';
import { isActive, listContainers } from './containers.js';
import { directorySize } from './disk-usage.js';
import { containerPaths } from './paths.js';
import { stateOf } from './ps.js';
import { volumeUsers } from './remove.js';
import { openVolumes } from './volumes.js';

/** How much one kind of thing takes, in bytes. */
export interface UsageOf {
  total: number;
  /** In use by a container (or running). */
  active: number;
  size: number;
  /** What prune could give back. */
  reclaimable: number;
}

export interface ContainerUsage {
  id: string;
  name: string;
  image: string;
  /** Program and arguments. */
  command: string[];
  /** How many volumes it has. */
  volumes: number;
  state: ReturnType<typeof stateOf>;
  created: string;
  size: number;
  active: boolean;
}

export interface VolumeUsage {
  name: string;
  users: number;
  size: number;
}

export interface SystemUsage {
  containers: UsageOf;
  volumes: UsageOf;
  containerList: ContainerUsage[];
  volumeList: VolumeUsage[];
}

/** What containers and volumes take below the root; images are measured by the image store. */
export function systemUsage(ctx: Context): SystemUsage {
  const containerList = listContainers(ctx).map((record): ContainerUsage => {
    const state = stateOf(ctx, record);
    return {
      id: record.id,
      name: record.name,
      image: record.image?.reference ?? record.request.rootfs ?? '',
      command: record.argv,
      volumes: record.mounts.filter((m) => m.type === 'volume').length,
      state,
      created: record.created,
      size: directorySize(path.join(containerPaths(ctx, record.id).data), 'disk'),
      active: isActive(state),
    };
  });
  const volumeList = openVolumes(ctx)
    .list()
    .map(
      (volume): VolumeUsage => ({
        name: volume.name,
        users: volumeUsers(ctx, volume.name).length,
        size: directorySize(volume.mountpoint, 'disk'),
      }),
    );
  return {
    containers: sum(containerList, (c) => c.active),
    volumes: sum(volumeList, (v) => v.users > 0),
    containerList,
    volumeList,
  };
}

function sum<T extends { size: number }>(list: readonly T[], active: (item: T) => boolean): UsageOf {
  const sizes = (items: readonly T[]) => items.reduce((total, item) => total + item.size, 0);
  return {
    total: list.length,
    active: list.filter(active).length,
    size: sizes(list),
    reclaimable: sizes(list.filter((item) => !active(item))),
  };
}

/** Number of images in the store. */
export async function countImages(ctx: Context): Promise<number> {
  const { openImageStore } = await import('../image/index.js');
  return (await openImageStore(ctx).list()).length;
}

export interface ImageUsage {
  sum: UsageOf;
  list: {
    id: string;
    repository: string;
    tag: string;
    created: string;
    size: number;
    /** Bytes of layers that another image has too. */
    shared: number;
    users: number;
  }[];
}

/** What images take, and by how many containers each is used. */
export async function imageUsage(ctx: Context): Promise<ImageUsage> {
  const { openImageStore } = await import('../image/index.js');
  const images = await openImageStore(ctx).list();
  const users = (id: string) => listContainers(ctx).filter((c) => c.image?.id === id).length;
  // Layers that images share are on disk once.
  const layers = new Map<string, { size: number; used: boolean; images: number }>();
  for (const image of images) {
    const used = users(image.id) > 0;
    for (const layer of new Map(image.layers.map((l) => [l.chainId, l])).values()) {
      const known = layers.get(layer.chainId);
      layers.set(layer.chainId, {
        size: layer.size,
        used: used || (known?.used ?? false),
        images: (known?.images ?? 0) + 1,
      });
    }
  }
  const list = images.map((image) => {
    const name = image.repoTags[0] ?? '<none>:<none>';
    const colon = name.lastIndexOf(':');
    const shared = image.layers.filter((l) => (layers.get(l.chainId)?.images ?? 0) > 1);
    return {
      id: image.id,
      repository: name.slice(0, colon),
      tag: name.slice(colon + 1),
      created: image.created,
      size: image.size,
      shared: shared.reduce((total, layer) => total + layer.size, 0),
      users: users(image.id),
    };
  });
  return {
    sum: {
      ...sum([...layers.values()], (l) => l.used),
      total: list.length,
      active: list.filter((i) => i.users > 0).length,
    },
    list,
  };
}

/** The container that has an image, for whoever wants to remove it. */
export function imageUser(ctx: Context): (imageId: string) => string | undefined {
  return (imageId) => listContainers(ctx).find((c) => c.image?.id === imageId)?.id;
}

/** The running container that has an image, for whoever wants to change its files. */
export function runningImageUser(ctx: Context): (imageId: string) => string | undefined {
  return (imageId) =>
    listContainers(ctx).find((c) => c.image?.id === imageId && isActive(stateOf(ctx, c)))?.id;
}
