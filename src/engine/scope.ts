import { type Context, InvalidError } from '../base/index.js';
import { cgroupPathFor, checkSystemd, type ScopeName, scopeFor, scopeGroup } from '../cgroup/index.js';
import type { HostFacts } from '../host/index.js';
import type { ContainerRequest } from '../spec/index.js';

/**
 * A request that says who makes the container's groups: as asked, else by NSBOX_CGROUP_MANAGER, else nsbox itself.
 * @throws InvalidError for another word; UnsupportedError where there is no systemd to ask
 */
export function withManager(ctx: Context, request: ContainerRequest, host: HostFacts): ContainerRequest {
  const name = request.cgroupManager ?? ctx.env['NSBOX_CGROUP_MANAGER'] ?? 'cgroupfs';
  if (name !== 'cgroupfs' && name !== 'systemd') {
    throw new InvalidError(`unknown cgroup manager specified: ${name}`, { hint: 'cgroupfs or systemd' });
  }
  if (name === 'cgroupfs') return request;
  checkSystemd(host.cgroup);
  return { ...request, cgroupManager: name };
}

/** The scope of a container whose groups systemd makes. */
export function scopeOf(record: { id: string; request: ContainerRequest }): ScopeName | undefined {
  const { request, id } = record;
  return request.cgroupManager === 'systemd' ? scopeFor(id, request.cgroupParent) : undefined;
}

/** Path of a container's own group below the root of the hierarchies. */
export function groupPathFor(id: string, request: ContainerRequest): string {
  const scope = scopeOf({ id, request });
  return scope ? scopeGroup(scope) : cgroupPathFor(id, request.cgroupParent);
}
