import { type Context, InvalidError } from '../base/index.js';
import { findGroups, freeze, thaw } from '../cgroup/index.js';
import { hostFacts } from '../host/index.js';
import { emitEvent } from './emit.js';
import { containerPaths } from './paths.js';
import { stateOf } from './ps.js';
import type { ContainerRecord } from './records.js';

export interface CommitOptions {
  /** Name of the new image. */
  reference?: string | undefined;
  author?: string | undefined;
  message?: string | undefined;
  /** Dockerfile instructions applied to its config. */
  changes?: readonly string[] | undefined;
  /** Freeze a running container meanwhile. */
  pause: boolean;
}

/**
 * Makes an image of what a container changed, on top of its own image. Volumes and mounts aren't part of it.
 * @returns the id of the image
 * @throws InvalidError for a container without an image, or a wrong name or change
 */
export async function commitContainer(
  ctx: Context,
  record: ContainerRecord,
  options: CommitOptions,
): Promise<string> {
  if (!record.image) {
    throw new InvalidError(`container ${record.name} was made from a directory, not from an image`, {
      hint: 'nsbox import makes an image of a directory',
    });
  }
  const { openImageStore } = await import('../image/index.js');
  const store = openImageStore(ctx);
  const base = await store.resolve(record.image.id);
  const { request } = record;
  const own = base.config.config ?? {};
  const groups = findGroups(hostFacts(ctx).cgroup, record.cgroup);
  const frozen = options.pause && stateOf(ctx, record).status === 'running';
  if (frozen) await freeze(groups);
  try {
    const image = await store.commit({
      upper: containerPaths(ctx, record.id).upper,
      idShift: record.idRange?.start,
      base: base.id,
      config: {
        ...own,
        Env: [...(own.Env ?? []), ...request.env],
        ...(request.command.length > 0 ? { Cmd: request.command } : {}),
        ...(request.entrypoint === undefined ? {} : { Entrypoint: request.entrypoint }),
        ...(request.workdir === undefined ? {} : { WorkingDir: request.workdir }),
        ...(request.user === undefined ? {} : { User: request.user }),
        ...(record.healthcheck ? { Healthcheck: record.healthcheck } : {}),
        Labels: { ...own.Labels, ...request.labels },
      },
      changes: options.changes,
      reference: options.reference,
      author: options.author,
      message: options.message,
      createdBy: record.argv.join(' '),
    });
    emitEvent(ctx, 'commit', record, { imageID: image.id });
    return image.id;
  } finally {
    if (frozen) await thaw(groups);
  }
}
