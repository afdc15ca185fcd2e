import { chownSync, existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import {
  type Context,
  fromErrno,
  InvalidError,
  NotFoundError,
  newId,
  UnsupportedError,
} from '../base/index.js';
import { planCgroup } from '../cgroup/index.js';
import {
  type ContainerRequest,
  type ImageConfig,
  mergeHealthcheck,
  needsHostIds,
  processArgs,
} from '../spec/index.js';
import { acquireLock, ensureDirectory } from '../state/index.js';
import { claimIds, claimName, claimRandomName, release } from './claims.js';
import { findContainer, writeContainer } from './containers.js';
import { emitEvent } from './emit.js';
import { keepConfig } from './keep.js';
import { resolveMounts } from './mounts.js';
import { containerPaths, idsDirectory, namesDirectory } from './paths.js';
import type { ContainerRecord, ImageOfContainer } from './records.js';
import { layersReader } from './rootfs-reader.js';
import { factsOf } from './sandbox.js';
import { groupPathFor, withManager } from './scope.js';
import { specOf } from './spec-of.js';
import { checkStorageOptions, limitLayer } from './storage-opt.js';
import { openVolumes } from './volumes.js';

/** An image as the engine needs it: who it is, its config and its unpacked layers. */
export interface UsableImage {
  image: ImageOfContainer;
  config: ImageConfig;
  /** Unpacked layer directories, lowest first. */
  layers: string[];
}

/** Finds (pulls, where the request says so) and unpacks an image. */
export async function useImage(
  ctx: Context,
  reference: string,
  request: Pick<ContainerRequest, 'pull' | 'platform'>,
): Promise<UsableImage> {
  const { openImageStore } = await import('../image/index.js');
  const store = openImageStore(ctx);
  const image = await store.obtain(reference, { pull: request.pull, platform: request.platform });
  await store.unpack(image);
  return {
    image: { id: image.id, reference, chain: image.layers.map((l) => l.chainId) },
    config: image.config,
    layers: store.layerPaths(image),
  };
}

/** Layers and config of the image that a container was made from; they can't go while it exists. */
export async function imageOf(ctx: Context, record: ContainerRecord): Promise<UsableImage | undefined> {
  if (!record.image) return undefined;
  const { openImageStore } = await import('../image/index.js');
  const store = openImageStore(ctx);
  const image = await store.resolve(record.image.id);
  await store.unpack(image);
  return { image: record.image, config: image.config, layers: store.layerPaths(image) };
}

/**
 * Makes a container: a name, an id range, a writable layer and a record. Nothing runs yet. What a crash leaves is
 * undone by recover(), which finds the directory without a record and its lock free.
 * @throws InvalidError, NotFoundError, ConflictError
 */
export async function createContainer(
  ctx: Context,
  asked: ContainerRequest,
  options: {
    /** It is started at once, which finds what can't be; the caller removes it then. */
    startsNow?: boolean;
  } = {},
): Promise<ContainerRecord> {
  const host = factsOf(ctx);
  const request = withManager(ctx, asked, host);
  checkStorageOptions(request, host);
  const image = request.image === undefined ? undefined : await useImage(ctx, request.image, request);
  if (request.rootfs !== undefined && !isDirectory(request.rootfs)) {
    throw new NotFoundError('path', request.rootfs, { hint: '--rootfs takes a directory' });
  }
  checkJoins(ctx, request);
  const healthcheck = mergeHealthcheck(request.healthcheck, image?.config.config?.Healthcheck);

  const id = newId();
  const paths = containerPaths(ctx, id);
  ensureDirectory(paths.state);
  // Someone may look at it (isHeld) at this very moment: wait for that.
  using _making = await acquireLock(paths.lock);
  let name = '';
  let idRange: { start: number; size: number } | undefined;
  let anonymous: string[] = [];
  try {
    makeDirectory(paths.data);
    if (request.name) claimName(ctx, request.name, id);
    name = request.name ?? claimRandomName(ctx, id);
    idRange = ownIdRange(ctx, request, id);
    makeLayer(paths, idRange);
    const project = limitLayer(request, id, [paths.upper, paths.work]);
    const mounts = await resolveMounts(ctx, request, image?.config, id);
    anonymous = mounts.filter((m) => m.anonymous).map((m) => m.name!);
    const record: ContainerRecord = {
      version: 1,
      id,
      name,
      created: new Date().toISOString(),
      request,
      image: image?.image,
      idRange,
      mounts,
      argv: processArgs(request, image?.config),
      ...(healthcheck ? { healthcheck, shell: image?.config.config?.Shell } : {}),
      cgroup: groupPathFor(id, request),
      project,
    };
    if (!options.startsNow) await check(ctx, record, image);
    // With --rm nothing outlives a power loss: no need to wait for the disk.
    writeContainer(ctx, record, !request.autoRemove);
    emitEvent(ctx, 'create', record);
    return record;
  } catch (error) {
    rmSync(paths.data, { recursive: true, force: true });
    rmSync(paths.state, { recursive: true, force: true });
    if (name) release(path.join(namesDirectory(ctx), name), id);
    if (idRange) release(path.join(idsDirectory(ctx), String(idRange.start)), id);
    if (anonymous.length > 0) await openVolumes(ctx).removeAnonymous(anonymous, () => []);
    throw error;
  }

  /** What can be refused is refused now, not at the first start. */
  async function check(
    context: Context,
    record: ContainerRecord,
    used: UsableImage | undefined,
  ): Promise<void> {
    keepConfig(context, record, used?.config, { oomFiles: [], foreground: false });
    const { spec } = await specOf(context, {
      id,
      request,
      image: used?.config,
      host,
      rootfs: paths.upper,
      read: layersReader(used ? [...used.layers].reverse() : [request.rootfs!]),
      idRange,
      mounts: record.mounts.map((m) => ({
        type: m.type === 'tmpfs' ? ('tmpfs' as const) : ('bind' as const),
        source: m.source || undefined,
        target: m.destination,
      })),
      cgroupsPath: record.cgroup,
      join: {},
    });
    planCgroup(spec.linux?.resources, record.cgroup, host, {
      onUnenforceable: request.resources.forceLimits,
    });
  }
}

function isDirectory(directory: string): boolean {
  try {
    return statSync(directory).isDirectory();
  } catch {
    return false;
  }
}

/** `container:<ref>` of a namespace option. */
export function joinedContainer(value: string | undefined): string | undefined {
  return value?.startsWith('container:') ? value.slice('container:'.length) : undefined;
}

/** References to other containers whose namespaces this one shares. */
export function joinedContainers(request: ContainerRequest): string[] {
  const n = request.namespaces;
  return [n.pid, n.ipc, ...request.networks.map((x) => x.network)].flatMap((v) => joinedContainer(v) ?? []);
}

function checkJoins(ctx: Context, request: ContainerRequest): void {
  const owners = new Set(
    joinedContainers(request).map((reference) => findContainer(ctx, reference).idRange?.start ?? 0),
  );
  if (owners.size > 1) {
    throw new UnsupportedError(
      'the containers whose namespaces are to be shared have different user namespaces',
      {
        hint: 'start them with --userns=host, or share the namespaces of one container only',
      },
    );
  }
}

/** The id range: its own, that of the container it joins, or none where it needs the host's ids. */
function ownIdRange(
  ctx: Context,
  request: ContainerRequest,
  id: string,
): { start: number; size: number } | undefined {
  const host = factsOf(ctx);
  const joined = joinedContainers(request)[0];
  if (joined !== undefined) return findContainer(ctx, joined).idRange;
  const reason = needsHostIds(request);
  if (reason) return undefined;
  if (!host.userns.available) {
    ctx.warn(
      `no user namespace: ${host.userns.reason ?? 'the kernel has none'}; root inside is root outside`,
    );
    return undefined;
  }
  if (request.image !== undefined && !host.features.idmappedOverlay.have) {
    ctx.warn(
      `no user namespace: overlayfs on this kernel (${host.kernel.release}) takes no idmapped layers; root inside is root outside`,
    );
    return undefined;
  }
  return claimIds(ctx, host, id);
}

function makeDirectory(directory: string): void {
  if (existsSync(directory)) throw new InvalidError(`${directory} exists already`);
  ensureDirectory(path.dirname(directory), 0o711);
  try {
    mkdirSync(directory, 0o711);
  } catch (error) {
    throw fromErrno(`create ${directory}`, error, { path: directory });
  }
}

function makeLayer(paths: { upper: string; work: string }, idRange: { start: number } | undefined): void {
  mkdirSync(paths.upper, 0o755);
  mkdirSync(paths.work, 0o700);
  if (!idRange) return;
  chownSync(paths.upper, idRange.start, idRange.start);
  chownSync(paths.work, idRange.start, idRange.start);
}
