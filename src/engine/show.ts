import path from 'node:path';
import { type Context, newId } from '../base/index.js';
import type { LaunchPlan } from '../plan/index.js';
import {
  type ContainerRequest,
  type MountRequest,
  needsHostIds,
  processArgs,
  type ResolvedMount,
} from '../spec/index.js';
import { useImage } from './create.js';
import { ownFileMounts } from './own-files.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';
import { factsOf } from './sandbox.js';
import { groupPathFor } from './scope.js';
import { prepareLaunch } from './start.js';

/**
 * The plan that `run` would carry out, without making anything: the id, its range and the paths below it are those of
 * a container that never was.
 */
export async function showPlan(ctx: Context, request: ContainerRequest): Promise<LaunchPlan> {
  const host = factsOf(ctx);
  const image = request.image === undefined ? undefined : await useImage(ctx, request.image, request);
  const id = newId();
  const ownIds = needsHostIds(request) === undefined && host.userns.available;
  const record: ContainerRecord = {
    version: 1,
    id,
    name: request.name ?? 'example',
    created: new Date().toISOString(),
    request: { ...request, autoRemove: false },
    image: image?.image,
    idRange: ownIds ? { start: host.ids.ranges.start, size: host.ids.ranges.size } : undefined,
    mounts: [],
    argv: processArgs(request, image?.config),
    cgroup: groupPathFor(id, request),
  };
  const anonymous: MountRequest[] = Object.keys(image?.config.config?.Volumes ?? {})
    .filter((target) => !request.mounts.some((m) => m.target === target))
    .map((target) => ({ type: 'volume', target, readonly: false, createSource: false }));
  const mounts = [...request.mounts, ...anonymous].map((m): ResolvedMount => {
    if (m.type === 'tmpfs') return { type: 'tmpfs', target: m.target, readonly: m.readonly, tmpfs: m.tmpfs };
    const source =
      m.type === 'bind' ? m.source : path.join(ctx.root, 'volumes', m.source ?? '<new>', '_data');
    return { type: 'bind', source, target: m.target, readonly: m.readonly, propagation: m.propagation };
  });
  const { plan } = await prepareLaunch(
    ctx,
    record,
    {
      image,
      mounts,
      files: ownFileMounts(containerPaths(ctx, id).data),
      join: {},
      shm: undefined,
    },
    { explain: true },
  );
  return plan;
}
