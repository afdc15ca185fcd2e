import { type Context, InvalidError } from '../base/index.js';
import { cgroupPathFor, checkSystemd, type ScopeName, scopeFor, scopeGroup } from '../cgroup/index.js';
import type { ContainerRequest } from '../spec/index.js';
import type { ContainerRecord } from './records.js';
import { factsOf } from './sandbox.js';

/**
 * Who makes the groups of a new container: what it asks for, else NSBOX_CGROUP_MANAGER, else we ourselves.
 * @throws InvalidError for another word; UnsupportedError where there is no systemd to ask
 */
export function cgroupManagerFor(ctx: Context, request: ContainerRequest): 'cgroupfs' | 'systemd' {
  const name = request.cgroupManager ?? ctx.env['NSBOX_CGROUP_MANAGER'] ?? 'cgroupfs';
  if (name !== 'cgroupfs' && name !== 'systemd') {
    throw new InvalidError(`unknown cgroup manager specified: ${name}`, { hint: 'cgroupfs or systemd' });
  }
  if (name === 'systemd') checkSystemd(factsOf(ctx).cgroup);
  return name;
}

/** The scope of a container whose groups systemd makes. */
export function scopeOf(record: Pick<ContainerRecord, 'id' | 'request'>): ScopeName | undefined {
  const { request, id } = record;
  return request.cgroupManager === 'systemd' ? scopeFor(id, request.cgroupParent) : undefined;
}

/** Path of a container's own group below the root of the hierarchies. */
export function groupPathFor(id: string, request: ContainerRequest): string {
  const scope = scopeOf({ id, request });
  return scope ? scopeGroup(scope) : cgroupPathFor(id, request.cgroupParent);
}
