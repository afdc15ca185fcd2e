import { closeSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { type Context, fromErrno, InvalidError, isErrno } from '../base/index.js';
import { openOverlay } from '../kernel/index.js';
import type { ContainerRequest, ImageConfig, MountRequest, ResolvedMount } from '../spec/index.js';
import type { MountPoint } from './records.js';
import { openVolumes, type VolumeRecord, type Volumes } from './volumes.js';

/**
 * Resolves what was asked to be mounted, at creation: volumes are made (those the image declares get anonymous ones),
 * missing bind sources made for -v and refused for --mount.
 * @throws InvalidError, in Docker's words
 */
export async function resolveMounts(
  ctx: Context,
  request: ContainerRequest,
  image: ImageConfig | undefined,
  container?: string | undefined,
): Promise<MountPoint[]> {
  const volumes = openVolumes(ctx);
  const owner = container === undefined ? undefined : { container, remove: request.autoRemove };
  const points: MountPoint[] = [];
  for (const mount of request.mounts) points.push(await resolveOne(volumes, mount, owner));
  const covered = new Set(points.map((p) => path.posix.normalize(p.destination)));
  for (const target of Object.keys(image?.config?.Volumes ?? {})) {
    if (covered.has(path.posix.normalize(target))) continue;
    const volume = await volumes.create({ owner });
    points.push({
      type: 'volume',
      name: volume.name,
      source: volume.mountpoint,
      destination: target,
      mode: '',
      rw: true,
      propagation: '',
      anonymous: true,
    });
  }
  return points;
}

async function resolveOne(
  volumes: Volumes,
  mount: MountRequest,
  owner: VolumeRecord['owner'],
): Promise<MountPoint> {
  const common = { destination: mount.target, rw: !mount.readonly, mode: mount.readonly ? 'ro' : '' };
  if (mount.type === 'tmpfs') return { type: 'tmpfs', source: '', ...common, propagation: '' };
  if (mount.type === 'bind') {
    bindSource(mount.source!, mount.createSource);
    return { type: 'bind', source: mount.source!, ...common, propagation: mount.propagation ?? 'rprivate' };
  }
  const volume = await volumes.create({
    name: mount.source,
    labels: mount.volumeLabels,
    options: mount.volumeDriverOptions,
    owner,
  });
  return {
    type: 'volume',
    name: volume.name,
    source: volume.mountpoint,
    ...common,
    mode: mount.readonly ? 'ro' : 'z',
    propagation: '',
    anonymous: !mount.source,
  };
}

function bindSource(source: string, create: boolean): void {
  try {
    statSync(source);
  } catch (error) {
    if (!isErrno(error, 'ENOENT'))
      throw fromErrno(`look up the bind source ${source}`, error, { path: source });
    if (!create) {
      throw new InvalidError(
        `invalid mount config for type "bind": bind source path does not exist: ${source}`,
        { path: source, hint: 'make it first, or use -v, which makes a directory' },
      );
    }
    try {
      mkdirSync(source, { recursive: true, mode: 0o755 });
    } catch (cause) {
      throw fromErrno(`make the bind source ${source}`, cause, { path: source });
    }
  }
}

/** Layers of the container's image, to fill volumes from. */
export interface VolumeSource {
  /** Lowest first. */
  layers: string[];
}

/**
 * Mount points → mounts of the spec, at start: a volume that is mounted for the first time is filled from the image.
 */
export async function mountsForStart(
  ctx: Context,
  points: readonly MountPoint[],
  request: ContainerRequest,
  source: VolumeSource | undefined,
): Promise<ResolvedMount[]> {
  const volumes = openVolumes(ctx);
  const out: ResolvedMount[] = [];
  for (const point of points) {
    const asked = request.mounts.find((m) => m.target === point.destination);
    if (point.type === 'tmpfs') {
      out.push({ type: 'tmpfs', target: point.destination, readonly: !point.rw, tmpfs: asked?.tmpfs });
      continue;
    }
    if (point.type === 'volume') {
      await prepareVolume(volumes, point, source, asked?.noCopy ?? false);
    } else {
      bindSource(point.source, false);
    }
    out.push({
      type: 'bind',
      source: point.source,
      target: point.destination,
      readonly: !point.rw,
      propagation: asked?.propagation,
      nonRecursive: asked?.nonRecursive,
    });
  }
  return out;
}

async function prepareVolume(
  volumes: Volumes,
  point: MountPoint,
  source: VolumeSource | undefined,
  noCopy: boolean,
): Promise<void> {
  // A volume that was removed behind the container's back comes back empty, as with Docker.
  const volume = volumes.find(point.name!) ?? (await volumes.create({ name: point.name }));
  if (volume.used) return;
  if (noCopy || !source || source.layers.length === 0) {
    await volumes.prepare(volume.name);
    return;
  }
  const rootFd = openOverlay({ lowers: source.layers });
  try {
    await volumes.prepare(volume.name, { rootFd, path: point.destination });
  } finally {
    closeSync(rootFd);
  }
}
